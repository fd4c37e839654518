"""The keys of an issuer, held in memory.

- A key set is good for the max-age of its answer, but at most 10 min and at least 1 s. Then
  it is fetched anew before it is used, in one request whoever waits; where that fails, the
  keys that are held serve on.
- A key id that is not in the set leads to one fetch, and for 30 s to no other: anybody can
  write any key id.
- After a failure, 5 s pass before the next try, and nobody waits for it who has a key.
- A key that is no longer published is gone with the next fetch.
"""

from __future__ import annotations

import re
import threading
from typing import Final, NamedTuple

import httpx

from marque._answer import decode_answer, failure_of
from marque._clock import Clock
from marque._errors import KeyFetchError, MarqueError
from marque._flight import TaskFlight, ThreadFlight
from marque._response import Response
from marque._send import AsyncSender, Outcome, Sender
from marque._settings import USER_AGENT
from marque._verify.keys import PublicKey, parse_key_set

LONGEST_AGE: Final = 600.0
DEFAULT_AGE: Final = 300.0
SHORTEST_AGE: Final = 1.0
UNKNOWN_PAUSE: Final = 30.0
FAILURE_PAUSE: Final = 5.0
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,9})", re.ASCII)
_NOT_KEPT: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.ASCII)


def age_of(headers: httpx.Headers) -> float:
    """For how many seconds an answer is fresh (RFC 9111 section 4.2)."""
    control = headers.get("cache-control", "").lower()
    if _NOT_KEPT.search(control):
        return SHORTEST_AGE
    said = _MAX_AGE.search(control)
    age = float(said.group(1)) if said else DEFAULT_AGE
    spent = headers.get("age", "").strip()
    if spent.isascii() and spent.isdigit() and len(spent) < 10:
        age -= int(spent)
    return min(LONGEST_AGE, max(SHORTEST_AGE, age))


class _Plan(NamedTuple):
    fetch: bool
    wait: bool


class _Keys:
    """What both caches hold, and the decisions that both take."""

    def __init__(self, issuer: str, clock: Clock, timeout: float) -> None:
        self._url: Final = issuer.rstrip("/") + "/.well-known/jwks.json"
        self._now: Final = clock.now
        self._timeout: Final = timeout
        self._keys: dict[str, PublicKey] = {}
        self._fresh_until = 0.0
        self._quiet_until = 0.0
        self._unknown_until = 0.0
        self._failure: str | None = None

    def peek(self, kid: str) -> PublicKey | None:
        """The key, where nothing needs to be fetched to be sure of it."""
        return self._keys.get(kid) if self._now() < self._fresh_until else None

    def _plan(self, kid: str, flying: bool) -> _Plan:
        now = self._now()
        known, stale = kid in self._keys, now >= self._fresh_until
        if known and not stale:
            return _Plan(fetch=False, wait=False)
        if not flying:
            if now < self._quiet_until or (not stale and now < self._unknown_until):
                return _Plan(fetch=False, wait=False)
            if not stale:
                self._unknown_until = now + UNKNOWN_PAUSE
        return _Plan(fetch=not flying, wait=not known or self._failure is None)

    def _request(self) -> httpx.Request:
        headers = {
            "accept": "application/jwk-set+json, application/json",
            "accept-encoding": "identity",
            "user-agent": USER_AGENT,
        }
        timeout = httpx.Timeout(self._timeout).as_dict()
        return httpx.Request("GET", self._url, headers=headers, extensions={"timeout": timeout})

    def _settle(self, outcome: Outcome) -> None:
        now = self._now()
        keys: dict[str, PublicKey] = {}
        failure = outcome if isinstance(outcome, MarqueError) else failure_of(outcome, now, str)
        if isinstance(outcome, Response) and failure is None:
            try:
                # Read from the bytes: the strict reader is to see them as they came.
                keys = decode_answer(outcome, lambda _: parse_key_set(outcome.body))
            except MarqueError as error:
                failure = error
            else:
                self._fresh_until = now + age_of(outcome.headers)
        if failure is not None:
            self._failure = failure.message
            self._quiet_until = now + FAILURE_PAUSE
            return
        # An unchanged key stays the same object: what it has verified stays verified.
        for kid, key in keys.items():
            before = self._keys.get(kid)
            if before is not None and before.source == key.source:
                keys[kid] = before
        self._keys, self._failure, self._quiet_until = keys, None, 0.0

    def _found(self, kid: str, late: bool) -> PublicKey | None:
        """The key; `None` where there is none. It raises where that cannot be told."""
        key = self._keys.get(kid)
        if key is None and (late or self._failure is not None):
            why = self._failure or f"no answer in {self._timeout:g} s"
            retry_after = max(1.0, self._quiet_until - self._now())
            raise KeyFetchError(f"the issuer's keys cannot be had: {why}", retry_after=retry_after)
        return key


class KeyCache(_Keys):
    """For threads."""

    def __init__(self, issuer: str, clock: Clock, timeout: float, sender: Sender) -> None:
        super().__init__(issuer, clock, timeout)
        self._sender: Final = sender
        self._lock: Final = threading.Lock()
        self._flight: ThreadFlight[None] | None = None

    def find(self, kid: str) -> PublicKey | None:
        """The key of that id, fetched if need be."""
        with self._lock:
            plan = self._plan(kid, self._flight is not None)
            if plan.fetch:
                self._flight = ThreadFlight(lambda _: self._fetch(), self._landed)
                self._flight.start()
            flight = self._flight
        late = plan.wait and flight is not None and not flight.land(self._timeout)
        return self._found(kid, late)

    def _fetch(self) -> None:
        outcome = self._sender.attempt(self._request(), self._timeout)
        with self._lock:
            self._settle(outcome)

    def _landed(self) -> None:
        with self._lock:
            self._flight = None

    def close(self, seconds: float) -> None:
        """Lets what is in flight land, for so long."""
        with self._lock:
            flight = self._flight
        if flight is not None:
            flight.land(seconds)


class AsyncKeyCache(_Keys):
    """For one event loop."""

    def __init__(self, issuer: str, clock: Clock, timeout: float, sender: AsyncSender) -> None:
        super().__init__(issuer, clock, timeout)
        self._sender: Final = sender
        self._flight: TaskFlight[None] | None = None

    async def find(self, kid: str) -> PublicKey | None:
        """The key of that id, fetched if need be."""
        plan = self._plan(kid, self._flight is not None)
        if plan.fetch:
            self._flight = TaskFlight(lambda _: self._fetch(), self._landed)
        flight = self._flight
        late = plan.wait and flight is not None and not await flight.land(self._timeout)
        return self._found(kid, late)

    async def _fetch(self) -> None:
        self._settle(await self._sender.attempt(self._request(), self._timeout))

    def _landed(self) -> None:
        self._flight = None

    async def aclose(self, seconds: float) -> None:
        """Lets what is in flight land, for so long; then it is cancelled."""
        flight = self._flight
        if flight is not None and not await flight.land(seconds):
            flight.cancel()
