"""The client for asyncio."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakSet

import httpx

from marque._auth import AsyncBearerAuth
from marque._chain import SignIn, resolve_client
from marque._clock import Clock, SystemClock
from marque._generated.async_resources import AsyncResources
from marque._hooks import Hooks
from marque._secret import Secret
from marque._send import AsyncSender
from marque._settings import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    DEFAULT_TOKEN_TIMEOUT,
    STALE_AFTER,
    RefreshWindows,
    Settings,
    check_seconds,
)
from marque._tls import trust
from marque._token_source import AsyncTokenSource
from marque._tokens import Token, Want
from marque._transport import AsyncTransport

if TYPE_CHECKING:
    from marque._follower import AsyncRevocationFollower


class AsyncMarque(AsyncResources):
    """A client for asyncio. It belongs to the event loop on which it is first used.

    Everything else is as with `Marque`.
    """

    def __init__(
        self,
        issuer: str | None = None,
        *,
        client_id: str | None = None,
        client_secret: str | Secret | None = None,
        client_secret_file: str | os.PathLike[str] | None = None,
        api_key: str | Secret | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        credential: SignIn | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        token_timeout: float = DEFAULT_TOKEN_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        refresh_windows: RefreshWindows | None = None,
        http_client: httpx.AsyncClient | None = None,
        hooks: Hooks | None = None,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`timeout` and `token_timeout` are seconds for each attempt. An `http_client` of your
        own brings its own trust and proxies, and stays open when this client is closed."""
        found, its_credential = resolve_client(
            issuer,
            client_id,
            client_secret,
            client_secret_file,
            api_key,
            api_key_file,
            credential,
            ca_file,
            profile,
        )
        self._settings: Final = Settings(
            issuer=found.issuer,
            timeout=timeout,
            token_timeout=token_timeout,
            retries=retries,
            windows=refresh_windows,
            clock=clock or SystemClock(),
            hooks=hooks or Hooks(),
            logger=logger,
        )
        self._own_http: Final = http_client is None
        self._http: Final = http_client or httpx.AsyncClient(verify=trust(found.ca_file))
        self._sender: Final = AsyncSender(self._http)
        self._tokens: Final = AsyncTokenSource(self._settings, its_credential, self._sender)
        self._transport: Final = AsyncTransport(self._settings, self._sender, self._tokens)
        self._followers: Final[WeakSet[AsyncRevocationFollower]] = WeakSet()
        super().__init__(self._transport)

    @property
    def issuer(self) -> str:
        """The issuer that this client talks to."""
        return self._settings.issuer

    async def token(
        self,
        *,
        resource: str | None = None,
        scopes: Iterable[str] = (),
        timeout: float | None = None,
    ) -> Token:
        """A token for an API, from memory where there is a good one.

        `resource` is the API's identifier; absent, the account's default one. `scopes` asks for
        less than the account's roles give. `timeout` is how many seconds this caller waits.
        """
        return await self._tokens.get(Want(resource, scopes), self._wait(timeout))

    def _wait(self, timeout: float | None) -> float:
        return self._settings.timeout if timeout is None else check_seconds("timeout", timeout)

    def auth(self, *, resource: str | None = None, scopes: Iterable[str] = ()) -> AsyncBearerAuth:
        """Signs the requests of any `httpx.AsyncClient` in at the API `resource`."""
        return AsyncBearerAuth(self._tokens, Want(resource, scopes), self._settings.timeout)

    def follow_revocations(
        self,
        *,
        audience: str | None = None,
        stale_after: float = STALE_AFTER,
        fail_open: bool = False,
    ) -> AsyncRevocationFollower:
        """Begins to follow what is revoked, for verifiers: `AsyncVerifier(revocations=...)`. The
        account needs the permission `revocations:read`.

        `audience`: the identifier of the only API whose tokens are verified; tokens that are
        revoked and known to be for others are then not told of. `stale_after`: for how many
        seconds what is known counts without a heartbeat. After that, and before the first
        snapshot, tokens are refused with `RevocationsStaleError`, which is a 503;
        `fail_open=True` has them accepted instead, so that a stop takes effect only when the
        server can be reached again. Closing the
        client closes it too.
        """
        from marque._follower import AsyncRevocationFollower

        followed = AsyncRevocationFollower(
            self._settings,
            self._sender,
            self._tokens,
            self._transport,
            audience=audience,
            stale_after=stale_after,
            fail_open=fail_open,
        )
        self._followers.add(followed)
        return followed

    async def aclose(self) -> None:
        """Closes the connections."""
        for followed in list(self._followers):
            await followed.aclose()
        await self._tokens.aclose()
        if self._own_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncMarque(issuer={self.issuer!r})"
