"""By what a client proves who it is, other than by an API key: see `_api_key`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Protocol
from urllib.parse import quote_plus

import httpx

from marque._errors import ConfigurationError
from marque._secret import Secret

_LONGEST_FILE = 64 << 10


class Credential(Protocol):
    """Proves at the token endpoint who the client is."""

    @property
    def client_id(self) -> str:
        """The id of the service account."""
        ...

    @property
    def source(self) -> str:
        """Where it came from, for errors: never the secret itself."""
        ...

    def headers(self) -> httpx.Headers:
        """What a request to an OAuth endpoint carries. Called for each request anew."""
        ...


class ClientSecretCredential:
    """A client id with its secret, sent by HTTP Basic (RFC 6749 section 2.3.1)."""

    __slots__ = ("_secret", "client_id", "source")

    def __init__(
        self, client_id: str, secret: str | Secret | Path, *, source: str = "the constructor"
    ) -> None:
        """A `Path` is a file, read again at each use, so that a rotated secret is picked up."""
        if not client_id:
            raise ConfigurationError(f"the client id from {source} is empty")
        self.client_id = client_id
        self.source = source
        self._secret = secret if isinstance(secret, Path) else Secret(secret)
        if isinstance(self._secret, Secret) and not self._secret:
            raise ConfigurationError(f"the client secret from {source} is empty")

    def headers(self) -> httpx.Headers:
        """Id and secret are form-encoded before they are joined."""
        text = self._secret
        secret = read_secret(text, self.source) if isinstance(text, Path) else text
        joined = Secret(f"{quote_plus(self.client_id)}:{quote_plus(secret.reveal())}")
        basic = base64.b64encode(joined.reveal().encode()).decode()
        return httpx.Headers({"authorization": f"Basic {basic}"})

    def __repr__(self) -> str:
        return f"ClientSecretCredential(client_id={self.client_id!r}, source={self.source!r})"


def read_secret(path: Path, source: str) -> Secret:
    """The secret in a file, without the line end that editors and shells add."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_FILE + 1)
        text = Secret(content.decode("utf-8").strip())
        reason = "it is empty" if not text else None
        if len(content) > _LONGEST_FILE or (text and not text.reveal().isprintable()):
            reason = "it is more than one line of text"
    except OSError as error:
        text, reason = Secret(""), error.strerror or type(error).__name__
    except UnicodeDecodeError:
        text, reason = Secret(""), "it is not UTF-8 text"
    if reason is not None:
        raise ConfigurationError(f"the secret file {path} from {source} is of no use: {reason}")
    return text
