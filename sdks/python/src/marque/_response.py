"""An answer as it came, before it was decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers and body of an answer. Its `repr` shows neither headers nor body."""

    status: int
    headers: httpx.Headers = field(repr=False)
    """Names are compared without regard to case."""
    body: bytes = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The server's name for the request: quote it when you ask about it."""
        return self.headers.get("x-request-id")

    @property
    def etag(self) -> str | None:
        """The version of the resource, for `if_match` (RFC 9110 section 8.8.3)."""
        return self.headers.get("etag")
