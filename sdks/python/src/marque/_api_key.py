"""Signs in by an API key: no client id is needed, for the server knows whose the key is."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

from marque._credentials import read_secret
from marque._errors import ConfigurationError
from marque._secret import Secret

_PREFIX: Final = "mqk_"
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY: Final = 43
_CHECKSUM: Final = 6


class APIKeyCredential:
    """An API key. It is good for one thing, to get a token: calls carry that."""

    __slots__ = ("_key", "source")

    def __init__(self, key: str | Secret | Path, *, source: str = "the constructor") -> None:
        """A `Path` is a file, read again at each use, so that a rotated key is picked up."""
        self.source = source
        if not isinstance(key, Path):
            # In place of the text, which a trace that shows locals would show.
            key = Secret(Secret(key).reveal().strip())
            _check(key, source)
        self._key = key

    def key(self) -> Secret:
        """The key as it is now."""
        if isinstance(self._key, Secret):
            return self._key
        return _check(read_secret(self._key, self.source), f"{self.source}, {self._key},")

    def __repr__(self) -> str:
        return f"APIKeyCredential(source={self.source!r})"


def _check(key: Secret, source: str) -> Secret:
    """Refuses what cannot be right before it is sent anywhere. No part of it is repeated."""
    if (fault := _fault(key.reveal())) is not None:
        raise ConfigurationError(f"the API key from {source} {fault}")
    return key


def _fault(text: str) -> str | None:
    """What makes a text no API key, which is a prefix, 43 characters and a CRC-32 as 6 more."""
    if not text:
        return "is empty"
    if text.startswith("mqs_"):
        return "is a client secret: give it as client_secret, together with a client_id"
    if not text.startswith(_PREFIX):
        return f"does not begin with {_PREFIX}"
    rest, body = text[len(_PREFIX) :], text[:-_CHECKSUM]
    whole = len(rest) == _BODY + _CHECKSUM and all(c in _BASE62 for c in rest)
    if not whole or _checksum(body) != text[len(body) :]:
        return "is cut off or mistyped: its checksum does not fit. Copy it once more, whole"
    return None


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
