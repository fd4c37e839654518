"""Whom to trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from marque._errors import ConfigurationError


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to trust: the authorities in the file alone, else those that httpx trusts."""
    if ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        reason = "it holds no certificate in PEM form"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise ConfigurationError(f"the CA file {ca_file} is of no use: {reason}")
