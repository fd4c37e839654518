"""How an API answers a request that does not get in (RFC 6750 section 3), for any middleware."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from marque._errors import KeyFetchError, RevocationsStaleError, VerificationError

_TITLES: Final = {
    400: "The request is not valid",
    401: "A token is needed",
    403: "A permission is missing",
    503: "The service cannot answer right now",
}


class MalformedRequest(Exception):
    """A request that carries its token in a way that RFC 6750 section 2 rules out."""


class NoTokenError(VerificationError):
    """There is no token at all, so the challenge names no error (RFC 6750 section 3.1)."""

    def __init__(self) -> None:
        super().__init__("malformed", "the request has no token: send Authorization: Bearer")
        self.code = "unauthenticated"

    @property
    def www_authenticate(self) -> str:
        return "Bearer"


Refused = MalformedRequest | VerificationError | KeyFetchError | RevocationsStaleError
REFUSALS: Final = (MalformedRequest, VerificationError, KeyFetchError, RevocationsStaleError)


class Refusal(NamedTuple):
    """The answer."""

    status: int
    title: str
    headers: list[tuple[str, str]]
    body: bytes


def token_of(authorization: Sequence[str], query: str) -> str:
    """The token in the headers `Authorization` of a request; raises where it has none."""
    if any(part.partition("=")[0] == "access_token" for part in query.split("&")):
        raise MalformedRequest("a token does not go into the query, where logs keep it")
    if len(authorization) > 1:
        raise MalformedRequest("the request has more than one Authorization header")
    scheme, _, token = "".join(authorization).partition(" ")
    if scheme.lower() != "bearer":
        raise NoTokenError
    return token.strip(" ")


def refusal_of(error: Refused) -> Refusal:
    """The answer to a request. Why a token is refused is not in it: a forger would learn."""
    match error:
        case KeyFetchError() | RevocationsStaleError():
            status, code = 503, "unavailable"
            header = ("Retry-After", str(max(1, math.ceil(error.retry_after or 1))))
        case VerificationError():
            status, code = error.status or 401, error.code or "invalid_token"
            header = ("WWW-Authenticate", error.www_authenticate)
        case _:
            status, code = 400, "invalid_request"
            header = ("WWW-Authenticate", 'Bearer error="invalid_request"')
    title = _TITLES[status]
    problem = {
        "type": f"urn:marque:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
    }
    body = json.dumps(problem).encode()
    headers = [
        header,
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    return Refusal(status, title, headers, body)
