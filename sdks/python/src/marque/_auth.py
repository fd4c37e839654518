"""Signs in at other APIs: `httpx.Client(auth=client.auth(resource=...))`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from ipaddress import ip_address

import httpx

from marque._errors import ConfigurationError
from marque._token_source import AsyncTokenSource, TokenSource
from marque._tokens import Want


def _check(request: httpx.Request) -> None:
    """A token is sent over TLS only, or within this machine."""
    if request.url.scheme == "https":
        return
    host = request.url.host
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise ConfigurationError(f"a token is not sent to {host} in the clear: use https")


def _replayable(request: httpx.Request) -> bool:
    # Anything else is a stream, of which the first attempt has left nothing.
    return isinstance(request.stream, httpx.ByteStream)


class BearerAuth(httpx.Auth):
    """Adds a token to each request of an `httpx.Client`.

    A 401 drops that token, and the request is sent once more with another one if its body can
    be sent twice. Following redirects, httpx keeps the token to the origin it was meant for.
    """

    def __init__(self, tokens: TokenSource, want: Want, timeout: float) -> None:
        self._tokens = tokens
        self._want = want
        self._timeout = timeout

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        _check(request)
        replayable = _replayable(request)
        token = self._tokens.get(self._want, self._timeout)
        request.headers["authorization"] = token.header()
        response = yield request
        if response.status_code == 401:
            self._tokens.drop(self._want, token)
            if replayable:
                another = self._tokens.get(self._want, self._timeout)
                request.headers["authorization"] = another.header()
                yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        raise ConfigurationError("use AsyncMarque's auth() with an httpx.AsyncClient")
        yield request  # makes this a generator


class AsyncBearerAuth(httpx.Auth):
    """The same for an `httpx.AsyncClient`."""

    def __init__(self, tokens: AsyncTokenSource, want: Want, timeout: float) -> None:
        self._tokens = tokens
        self._want = want
        self._timeout = timeout

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        raise ConfigurationError("use Marque's auth() with an httpx.Client")
        yield request  # makes this a generator

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        _check(request)
        replayable = _replayable(request)
        token = await self._tokens.get(self._want, self._timeout)
        request.headers["authorization"] = token.header()
        response = yield request
        if response.status_code == 401:
            self._tokens.drop(self._want, token)
            if replayable:
                another = await self._tokens.get(self._want, self._timeout)
                request.headers["authorization"] = another.header()
                yield request
