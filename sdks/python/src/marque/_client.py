"""The client for threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakSet

import httpx

from marque._auth import BearerAuth
from marque._chain import SignIn, resolve_client
from marque._clock import Clock, SystemClock
from marque._generated.resources import Resources
from marque._hooks import Hooks
from marque._secret import Secret
from marque._send import Sender
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
from marque._token_source import TokenSource
from marque._tokens import Token, Want
from marque._transport import Transport

if TYPE_CHECKING:
    from marque._follower import RevocationFollower


class Marque(Resources):
    """A client for threads. One is enough for a process; it may be used from any thread.

    Issuer and credential come from the constructor, else from the environment
    (`MARQUE_ISSUER`, `MARQUE_CA_FILE`; `MARQUE_CLIENT_ID` with `MARQUE_CLIENT_SECRET_FILE` or
    `MARQUE_CLIENT_SECRET`, or `MARQUE_API_KEY_FILE` or `MARQUE_API_KEY` alone), else from a
    profile (`MARQUE_PROFILE`, or the current one of `~/.config/marque/config.json`).
    Make it after a fork, not before one.
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
        http_client: httpx.Client | None = None,
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
        self._http: Final = http_client or httpx.Client(verify=trust(found.ca_file))
        self._sender: Final = Sender(self._http)
        self._tokens: Final = TokenSource(self._settings, its_credential, self._sender)
        self._transport: Final = Transport(self._settings, self._sender, self._tokens)
        self._followers: Final[WeakSet[RevocationFollower]] = WeakSet()
        super().__init__(self._transport)

    @property
    def issuer(self) -> str:
        """The issuer that this client talks to."""
        return self._settings.issuer

    def token(
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
        return self._tokens.get(Want(resource, scopes), self._wait(timeout))

    def _wait(self, timeout: float | None) -> float:
        return self._settings.timeout if timeout is None else check_seconds("timeout", timeout)

    def auth(self, *, resource: str | None = None, scopes: Iterable[str] = ()) -> BearerAuth:
        """Signs the requests of any `httpx.Client` in at the API `resource`."""
        return BearerAuth(self._tokens, Want(resource, scopes), self._settings.timeout)

    def follow_revocations(
        self,
        *,
        audience: str | None = None,
        stale_after: float = STALE_AFTER,
        fail_open: bool = False,
        wait: float | None = None,
    ) -> RevocationFollower:
        """Begins to follow what is revoked, for verifiers: `Verifier(revocations=...)`. The
        account needs the permission `revocations:read`.

        `audience`: the identifier of the only API whose tokens are verified; tokens that are
        revoked and known to be for others are then not told of. `stale_after`: for how many
        seconds what is known counts without a heartbeat. After that, and before the first
        snapshot, tokens are refused with `RevocationsStaleError`, which is a 503;
        `fail_open=True` has them accepted instead, so that a stop takes effect only when the
        server can be reached again. `wait`: return
        when it is known what is revoked, or raise after so many seconds. Closing the client
        closes it too. Make it after a fork.
        """
        from marque._follower import RevocationFollower

        followed = RevocationFollower(
            self._settings,
            self._sender,
            self._tokens,
            self._transport,
            audience=audience,
            stale_after=stale_after,
            fail_open=fail_open,
        )
        self._followers.add(followed)
        if wait is not None:
            try:
                followed.wait_ready(wait)
            except BaseException:
                followed.close()
                raise
        return followed

    def close(self) -> None:
        """Closes the connections."""
        for followed in list(self._followers):
            followed.close()
        self._tokens.close()
        if self._own_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Marque(issuer={self.issuer!r})"
