"""Verifies tokens for an API, by itself: no call to the issuer but for its keys."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from hashlib import sha256
from types import TracebackType
from typing import Final, Protocol, Self

import httpx

from marque._chain import Given, Resolved, resolve
from marque._clock import Clock, SystemClock
from marque._errors import ConfigurationError, VerificationError
from marque._flight import LANDING
from marque._send import AsyncSender, Sender
from marque._settings import DEFAULT_TOKEN_TIMEOUT, check_seconds
from marque._tls import trust
from marque._verify.claims import (
    MAX_AHEAD,
    Principal,
    Verified,
    check_scopes,
    judge,
    read_claims,
)
from marque._verify.following import Following
from marque._verify.jws import MAX_TOKEN, Header, Parts, check_signature, refuse, split
from marque._verify.key_cache import AsyncKeyCache, KeyCache
from marque._verify.keys import PublicKey

ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a media type (RFC 9068 section 2.1)
DEFAULT_CACHE_SIZE: Final = 4096


class Revocations(Protocol):
    """Tells which tokens have been stopped since they were issued: what
    `Marque.follow_revocations` gives is one.

    Asked at each verification, so it answers from memory. What it says while its own state is
    out of date is its decision: true fails closed, false fails open.
    """

    def revoked(self, principal: Principal) -> bool:
        """Whether this token is to be refused."""
        ...


class _Verification:
    """What both verifiers do with a token, once its key is there."""

    def __init__(
        self,
        issuer: str,
        clock: Clock,
        leeway: float,
        cache_size: int,
        accept_bound: bool,
        revocations: Revocations | None,
        logger: logging.Logger | None,
    ) -> None:
        self.issuer: Final = issuer
        """The issuer whose tokens are good."""
        if leeway < 0:
            raise ConfigurationError("leeway must be 0 s or more")
        self._now: Final = clock.now
        self._leeway: Final = leeway
        self._accept_bound: Final = accept_bound
        self._revocations: Final = revocations
        self._logger: Final = logger
        self._size: Final = cache_size
        self._seen: Final[dict[bytes, Verified]] = {}
        self._headers: Final[dict[str, Header]] = {}
        self._lock: Final = threading.Lock()

    def _digest(self, token: object) -> bytes | None:
        # Not the token itself: what is kept in memory must be of no use to who reads it.
        if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
            return None
        return sha256(token.encode("ascii")).digest()

    def _recall(self, digest: bytes | None, keys: KeyCache | AsyncKeyCache) -> Verified | None:
        """What is known of a token that was seen before, if its key is still the same."""
        verified = self._seen.get(digest) if digest is not None else None
        if verified is None or keys.peek(verified.key.kid) is not verified.key:
            return None
        return verified

    def _open(self, token: object) -> Parts:
        parts = split(token, self._headers)
        # Another kind of token of the same issuer is none for an API (RFC 9068 section 4).
        if parts.header.type != ACCESS_TOKEN:
            raise refuse("type", f"its typ is not {ACCESS_TOKEN}")
        return parts

    def _check(self, parts: Parts, key: PublicKey | None, digest: bytes | None) -> Verified:
        if key is None:
            raise refuse("key_unknown", "its issuer has no such key")
        verified = read_claims(check_signature(parts, key), key, self.issuer)
        if digest is not None and self._size > 0:
            with self._lock:
                if len(self._seen) >= self._size:
                    del self._seen[next(iter(self._seen))]  # the oldest
                self._seen[digest] = verified
        return verified

    def _judge(self, verified: Verified, audience: str, scopes: Iterable[str]) -> Principal:
        principal = judge(verified, self._now(), audience, self._leeway)
        # A bound token without its proof of possession may be a stolen one (RFC 9449 7.1).
        if principal.confirmation is not None and not self._accept_bound:
            raise refuse("type", "it is bound to a key and no bearer token")
        if isinstance(self._revocations, Following):
            self._revocations.check(principal, verified.key.kid)
        elif self._revocations is not None and self._revocations.revoked(principal):
            raise refuse("revoked", "it was revoked")
        check_scopes(principal, scopes.split() if isinstance(scopes, str) else scopes)
        return principal

    def _log(self, error: VerificationError) -> None:
        if self._logger is not None:
            self._logger.debug("marque token refused reason=%s: %s", error.reason, error.message)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(issuer={self.issuer!r})"


def _check_audience(audience: str) -> None:
    if not audience:
        raise ConfigurationError("the audience is empty: name your API's identifier")


class Verifier(_Verification):
    """A verifier for threads. One is enough for a process; it may be used from any thread."""

    def __init__(
        self,
        issuer: str | None = None,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        timeout: float = DEFAULT_TOKEN_TIMEOUT,
        leeway: float = MAX_AHEAD,
        cache_size: int = DEFAULT_CACHE_SIZE,
        accept_bound: bool = False,
        revocations: Revocations | None = None,
        http_client: httpx.Client | None = None,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`timeout`: seconds for a fetch of keys. `leeway`: seconds that a token may be dated
        ahead, for clocks differ; there is none for its end. `cache_size`: how many verified
        tokens are remembered, 0 for none; time, audience, key and revocation are judged anew
        each time. `accept_bound`: take tokens that are bound to a key, because the caller
        compares `confirmation` with the proof in the request."""
        found = _resolve(issuer, ca_file, profile)
        clock = clock or SystemClock()
        super().__init__(found.issuer, clock, leeway, cache_size, accept_bound, revocations, logger)
        self._own_http: Final = http_client is None
        self._http: Final = http_client or httpx.Client(verify=trust(found.ca_file))
        check_seconds("timeout", timeout)
        self._keys: Final = KeyCache(found.issuer, clock, timeout, Sender(self._http))

    def verify(self, token: str, *, audience: str, scopes: Iterable[str] = ()) -> Principal:
        """Who calls. `audience` is the identifier of the API that the token was presented to;
        `scopes` are permissions that it must have.

        Raises `VerificationError` for a token that is not good here, and `KeyFetchError` or
        `RevocationsStaleError` where that cannot be told.
        """
        _check_audience(audience)
        try:
            digest = self._digest(token)
            verified = self._recall(digest, self._keys)
            if verified is None:
                kid = (parts := self._open(token)).header.kid
                key = self._keys.peek(kid) or self._keys.find(kid)
                verified = self._check(parts, key, digest)
            return self._judge(verified, audience, scopes)
        except VerificationError as error:
            self._log(error)
            raise

    def close(self) -> None:
        """Closes the connections."""
        self._keys.close(LANDING)
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


class AsyncVerifier(_Verification):
    """A verifier for asyncio. It belongs to the event loop on which it is first used."""

    def __init__(
        self,
        issuer: str | None = None,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        timeout: float = DEFAULT_TOKEN_TIMEOUT,
        leeway: float = MAX_AHEAD,
        cache_size: int = DEFAULT_CACHE_SIZE,
        accept_bound: bool = False,
        revocations: Revocations | None = None,
        http_client: httpx.AsyncClient | None = None,
        logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        """As with `Verifier`."""
        found = _resolve(issuer, ca_file, profile)
        clock = clock or SystemClock()
        super().__init__(found.issuer, clock, leeway, cache_size, accept_bound, revocations, logger)
        self._own_http: Final = http_client is None
        self._http: Final = http_client or httpx.AsyncClient(verify=trust(found.ca_file))
        check_seconds("timeout", timeout)
        self._keys: Final = AsyncKeyCache(found.issuer, clock, timeout, AsyncSender(self._http))

    async def verify(self, token: str, *, audience: str, scopes: Iterable[str] = ()) -> Principal:
        """As with `Verifier`."""
        _check_audience(audience)
        try:
            digest = self._digest(token)
            verified = self._recall(digest, self._keys)
            if verified is None:
                kid = (parts := self._open(token)).header.kid
                key = self._keys.peek(kid) or await self._keys.find(kid)
                verified = self._check(parts, key, digest)
            return self._judge(verified, audience, scopes)
        except VerificationError as error:
            self._log(error)
            raise

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._keys.aclose(LANDING)
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


def _resolve(
    issuer: str | None, ca_file: str | os.PathLike[str] | None, profile: str | None
) -> Resolved:
    # A verifier needs no credential, so what is wrong with one is none of its business.
    known = ("MARQUE_ISSUER", "MARQUE_CA_FILE", "MARQUE_PROFILE", "XDG_CONFIG_HOME")
    environment = {name: os.environ[name] for name in known if name in os.environ}
    return resolve(Given(issuer=issuer, ca_file=ca_file, profile=profile), environment)
