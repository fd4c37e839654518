"""Masks what a request carried in what is said about its answer: a server, or a proxy before
it, may repeat a secret in its error, and errors end up in logs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from urllib.parse import unquote_plus

import httpx

from marque._secret import MASK, Secret

_SECRET_MEMBERS = ("client_secret", "token", "api_key")
_SHORTEST = 6  # what is shorter is no secret, and would mask half of each text


def masker(request: httpx.Request, body: Mapping[str, object] | None) -> Callable[[str], str]:
    """A function that masks the credentials of a request in a text."""
    secrets = [Secret(text) for text in _of_header(request.headers.get("authorization", ""))]
    for name, value in (body or {}).items():
        if isinstance(value, Secret) or (name in _SECRET_MEMBERS and isinstance(value, str)):
            secrets.append(Secret(value))

    def mask(text: str) -> str:
        for secret in secrets:
            if len(secret.reveal()) >= _SHORTEST:
                text = text.replace(secret.reveal(), MASK)
        return text

    return mask


def _of_header(value: str) -> list[str]:
    scheme, _, credential = value.partition(" ")
    if scheme != "Basic":
        return [credential]
    _, _, password = base64.b64decode(credential).decode("utf-8", "replace").partition(":")
    return [credential.rstrip("="), password, unquote_plus(password)]
