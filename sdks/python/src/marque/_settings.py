"""What one client works with, in one value."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx

from marque._clock import Clock, SystemClock
from marque._errors import ConfigurationError
from marque._hooks import Hooks
from marque._version import __version__

USER_AGENT: Final = f"marque-python/{__version__}"
MANAGEMENT: Final = "urn:marque:management"
"""The audience of Marque's own API."""

DEFAULT_TIMEOUT: Final = 30.0
DEFAULT_TOKEN_TIMEOUT: Final = 10.0
DEFAULT_RETRIES: Final = 2
STALE_AFTER: Final = 30.0
"""Seconds for which what is known to be revoked counts without a heartbeat."""


@dataclass(frozen=True, slots=True)
class RefreshWindows:
    """How many seconds before its end a token is refreshed.

    In the advisory window the token is still given out while a new one is fetched in the
    background; in the mandatory window a caller waits for the new one. Absent: min(120, a
    half of the lifetime) and min(30, a quarter of it).
    """

    advisory: float
    mandatory: float

    def __post_init__(self) -> None:
        if not 0 <= self.mandatory <= self.advisory:
            raise ConfigurationError(
                "refresh windows must satisfy 0 <= mandatory <= advisory, in seconds"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but the connection and the credential."""

    issuer: str
    timeout: float = DEFAULT_TIMEOUT
    token_timeout: float = DEFAULT_TOKEN_TIMEOUT
    retries: int = DEFAULT_RETRIES
    windows: RefreshWindows | None = None
    clock: Clock = field(default_factory=SystemClock)
    random: Callable[[], float] = random.random
    hooks: Hooks = field(default_factory=Hooks)
    logger: logging.Logger | None = None

    def __post_init__(self) -> None:
        check_seconds("timeout", self.timeout)
        check_seconds("token_timeout", self.token_timeout)
        if self.retries < 0:
            raise ConfigurationError("retries must be 0 or more")

    def url(self, path: str) -> str:
        """The address of a path below the issuer."""
        return self.issuer.rstrip("/") + path


def check_seconds(name: str, seconds: float) -> float:
    """Refuses what cannot be a timeout."""
    if not 0 < seconds < 86_400:
        raise ConfigurationError(f"{name} must be more than 0 seconds and less than a day")
    return seconds


def check_issuer(issuer: str, source: str) -> str:
    """Refuses what cannot be an issuer (RFC 8414 section 2): an https URL without a query."""
    said = f"the issuer from {source}"
    try:
        parts = urlsplit(issuer)
        port_ok = parts.port != 0
        httpx.URL(issuer)
    except (ValueError, httpx.InvalidURL):
        parts, port_ok = urlsplit(""), False
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{said} must not carry a user or a password")
    spelt = issuer.isascii() and issuer.isprintable() and " " not in issuer
    if parts.scheme != "https" or not parts.hostname or not port_ok or not spelt:
        raise ConfigurationError(
            f"{said} must be an https URL such as https://auth.example.com; it is {issuer!r}"
        )
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer:
        raise ConfigurationError(f"{said} must have neither a query nor a fragment: {issuer!r}")
    return issuer
