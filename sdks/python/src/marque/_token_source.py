"""The token source: one written policy, for threads and for asyncio.

1. A token is held for each audience and set of permissions. A fresh one is given out
   without a lock. In the advisory window it is still given out, while one request in the
   background fetches the next; after a failure there, 5 s pass before the next try. In the
   mandatory window, and where none is held, callers wait for the one request in flight, and
   fail if it fails.
2. There is one request in flight for each token, in a thread or task and with a timeout of
   its own. Each caller waits up to a deadline of its own, and a caller that gives up or is
   cancelled never fails the others.
3. Expired tokens, types other than Bearer and answers over 1 MiB are refused.
4. `invalid_client`, `invalid_grant` and `unauthorized_client` are not tried again, nor is an
   API key that was refused. 5xx and 429 are, with jitter, but only where a caller waits.
5. A 401 from an API drops exactly the token that it was given to: a newer one stays.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final

import httpx

from marque._api_key import APIKeyCredential
from marque._chain import SignIn
from marque._errors import ConfigurationError
from marque._flight import LANDING, TaskFlight, ThreadFlight
from marque._send import AsyncSender, Sender
from marque._settings import Settings
from marque._tokens import Stage, Token, TokenExchange, Want, stage_of

BACK_OFF: Final = 5.0
"""Seconds between two tries in the background, the first of which failed."""


class _Held:
    """What both sources keep, and the one decision that both take."""

    def __init__(self, settings: Settings, credential: SignIn) -> None:
        self._settings: Final = settings
        self._credential: Final = credential
        self._now: Final = settings.clock.now
        self._tokens: Final[dict[Hashable, Token]] = {}
        self._not_before: Final[dict[Hashable, float]] = {}

    @property
    def only_by_token(self) -> bool:
        """Whether calls can be signed in no other way: an API key is good for a token only."""
        return isinstance(self._credential, APIKeyCredential)

    def sign_in(self) -> httpx.Headers:
        """The headers by which the client itself authenticates."""
        if isinstance(self._credential, APIKeyCredential):
            raise ConfigurationError(
                "this operation takes a client id with a client secret, and the client has an "
                "API key: call token(), or tokens.login()"
            )
        return self._credential.headers()

    def _may_refresh(self, want: Want, now: float) -> bool:
        return now >= self._not_before.get(want, 0.0)

    def _keep(self, want: Want, token: Token) -> Token:
        self._tokens[want] = token
        self._not_before.pop(want, None)
        return token

    def _failed(self, want: Want) -> None:
        self._not_before[want] = self._now() + BACK_OFF

    def _drop(self, want: Want, token: Token) -> None:
        if self._tokens.get(want) is token:
            del self._tokens[want]


class TokenSource(_Held):
    """Tokens for callers in any thread."""

    def __init__(self, settings: Settings, credential: SignIn, sender: Sender) -> None:
        super().__init__(settings, credential)
        self._sender: Final = sender
        self._lock: Final = threading.Lock()
        self._flights: Final[dict[Want, ThreadFlight[Token]]] = {}

    def get(self, want: Want, timeout: float) -> Token:
        """A token that is good now; waits for one at most `timeout` seconds."""
        held = self._tokens.get(want)
        if held is not None and self._now() < held.advisory_at:
            return held
        return self._get(want, timeout)

    def _get(self, want: Want, timeout: float) -> Token:
        with self._lock:
            held, now = self._tokens.get(want), self._now()
            stage = stage_of(held, now)
            flight = self._flights.get(want)
            if flight is None and (
                stage is Stage.MANDATORY
                or (stage is Stage.ADVISORY and self._may_refresh(want, now))
            ):
                flight = self._flights[want] = ThreadFlight(
                    lambda flight: self._fetch(want, flight), lambda: self._landed(want)
                )
                flight.waited = stage is Stage.MANDATORY
                flight.start()
            if held is not None and stage is not Stage.MANDATORY:
                return held
            assert flight is not None
            flight.waited = True
        return flight.wait(timeout)

    def _fetch(self, want: Want, flight: ThreadFlight[Token]) -> Token:
        exchange = TokenExchange(self._settings, self._credential, want)
        try:
            while True:
                outcome = self._sender.attempt(exchange.begin(), self._settings.token_timeout)
                step = exchange.settle(outcome, waited=flight.waited)
                if isinstance(step, Token):
                    # Under the lock, so that a drop of the old one cannot take the new one.
                    with self._lock:
                        return self._keep(want, step)
                self._settings.clock.sleep(step)
        except BaseException:
            self._failed(want)
            raise

    def _landed(self, want: Want) -> None:
        with self._lock:
            self._flights.pop(want, None)

    def drop(self, want: Want, token: Token) -> None:
        """Forgets exactly this token, which an API has refused."""
        with self._lock:
            self._drop(want, token)

    def close(self) -> None:
        """Lets what is in flight land, for a moment."""
        with self._lock:
            flights = list(self._flights.values())
        for flight in flights:
            flight.land(LANDING)


class AsyncTokenSource(_Held):
    """Tokens for callers on one event loop, where nothing needs a lock."""

    def __init__(self, settings: Settings, credential: SignIn, sender: AsyncSender) -> None:
        super().__init__(settings, credential)
        self._sender: Final = sender
        self._flights: Final[dict[Want, TaskFlight[Token]]] = {}

    async def get(self, want: Want, timeout: float) -> Token:
        """A token that is good now; waits for one at most `timeout` seconds."""
        held, now = self._tokens.get(want), self._now()
        if held is not None and now < held.advisory_at:
            return held
        stage = stage_of(held, now)
        flight = self._flights.get(want)
        if flight is None and (
            stage is Stage.MANDATORY or (stage is Stage.ADVISORY and self._may_refresh(want, now))
        ):
            flight = self._flights[want] = TaskFlight(
                lambda flight: self._fetch(want, flight), lambda: self._landed(want)
            )
        if held is not None and stage is not Stage.MANDATORY:
            return held
        assert flight is not None
        flight.waited = True
        return await flight.wait(timeout)

    async def _fetch(self, want: Want, flight: TaskFlight[Token]) -> Token:
        exchange = TokenExchange(self._settings, self._credential, want)
        try:
            while True:
                outcome = await self._sender.attempt(exchange.begin(), self._settings.token_timeout)
                step = exchange.settle(outcome, waited=flight.waited)
                if isinstance(step, Token):
                    return self._keep(want, step)
                await self._settings.clock.sleep_async(step)
        except BaseException:
            self._failed(want)
            raise

    def _landed(self, want: Want) -> None:
        self._flights.pop(want, None)

    def drop(self, want: Want, token: Token) -> None:
        """Forgets exactly this token, which an API has refused."""
        self._drop(want, token)

    async def aclose(self) -> None:
        """Lets what is in flight land, for a moment; then it is cancelled."""
        for flight in list(self._flights.values()):
            if not await flight.land(LANDING):
                flight.cancel()
