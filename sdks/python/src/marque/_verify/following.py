"""What a follower of the feed of revocations knows, and how it decides; it sends nothing itself.

- It takes a snapshot, then follows the feed from the snapshot's position, and resumes from the
  position of the last event when the stream ends.
- `reset`, and any event that cannot be understood, lead to another snapshot. What was known to
  be revoked before stays so: a node that is behind another one revives nothing.
- Only a heartbeat says that what is known is up to date, and for the beginning the first
  snapshot. After `stale_after` seconds without one, nothing is known any more.
- A stream that has brought no heartbeat for half of that time is given up, for another one.
- A stream that ends with its token is opened again at once, with another token; after any other
  good end when the server said so; after a failure within 0.5 s, then 1 s, up to 8 s.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from marque._clock import Clock
from marque._errors import MarqueError, ProtocolError, RevocationsStaleError, VerificationError
from marque._events import Event
from marque._retry import FIRST_DELAY, LONGEST_DELAY, LONGEST_RETRY_AFTER
from marque._verify.revoked import RevokedSet, Snapshot, UnknownKind, behind, position_of

if TYPE_CHECKING:
    from marque._verify.claims import Principal

_RETRY_AFTER: Final = 5.0


@dataclass(frozen=True, slots=True)
class FollowerState:
    """How well a follower is doing, for a health check."""

    position: str | None
    """In the order of all changes; `None` before the first snapshot."""
    heard_at: datetime | None
    """When it was last known to be up to date."""
    stale: bool
    revoked: int
    """How many revocations are held."""
    error: MarqueError | None
    """Why it is not connected, or was not accepted; `None` when all is well."""


class ResetError(ProtocolError):
    """The server does not know the position that was reached any more."""


class Following:
    """What followers for threads and for asyncio have in common."""

    def __init__(
        self,
        clock: Clock,
        stale_after: float,
        fail_open: bool,
        logger: logging.Logger | None,
        random: Callable[[], float],
    ) -> None:
        self._clock: Final = clock
        self._stale_after: Final = stale_after
        self._fail_open: Final = fail_open
        self._logger: Final = logger
        self._random: Final = random
        self._revoked: RevokedSet | None = None
        self._heard: tuple[float, float] | None = None
        self.heartbeat = 0.0
        self._failures = 0
        self._failure: MarqueError | None = None
        self._is_closed = False
        self.position: str | None = None
        self.anew = True
        """Whether a snapshot is due."""
        self.settled: Final = threading.Event()
        """Set when the first snapshot has come, or never will."""

    # What verifiers ask.

    def check(self, principal: Principal, kid: str) -> None:
        """Raises for a token that is not to be used: `VerificationError` where it is revoked,
        `RevocationsStaleError` where that is not known."""
        if self._revoked is not None and self._revoked.stops(principal, kid):
            raise VerificationError("revoked", "the token is refused: it was revoked")
        if not self._fail_open and self.is_stale():
            why = f": {self._failure.message}" if self._failure is not None else ""
            raise RevocationsStaleError(
                f"it is not known what has been revoked lately{why}", retry_after=_RETRY_AFTER
            )

    def revoked(self, principal: Principal) -> bool:
        """Whether a token is to be refused, because it is revoked or because that is not known.
        `Verifier` and `AsyncVerifier` tell the two apart."""
        try:
            self.check(principal, "")
        except MarqueError:
            return True
        return False

    def is_stale(self) -> bool:
        """Whether it is not known what has been revoked lately."""
        return self._heard is None or self._is_closed or self.too_old(self._heard)

    def state(self) -> FollowerState:
        """How well it goes."""
        heard = self._heard
        return FollowerState(
            position=self.position,
            heard_at=None if heard is None else datetime.fromtimestamp(heard[0], timezone.utc),
            stale=self.is_stale(),
            revoked=0 if self._revoked is None else len(self._revoked),
            error=self._failure,
        )

    # What the thread or task does.

    def moment(self) -> tuple[float, float]:
        """Now by both clocks: one can be set back, and the other stands still while the machine
        sleeps."""
        return self._clock.now(), time.monotonic()

    def too_old(self, moment: tuple[float, float]) -> bool:
        now, steady = self.moment()
        return max(now - moment[0], steady - moment[1]) >= self._stale_after

    @property
    def silence(self) -> float:
        """Seconds without a heartbeat after which a stream is given up."""
        return max(self._stale_after / 2, 2 * self.heartbeat)

    def take_snapshot(self, snapshot: Snapshot, asked_at: tuple[float, float]) -> None:
        first = self._revoked is None
        if self._revoked is not None:
            snapshot.revoked.add_all(self._revoked)
        snapshot.revoked.forget(asked_at[0])
        self._revoked = snapshot.revoked
        self.position, self.anew = snapshot.position, False
        # A later one is no heartbeat: the node that gave it may have missed what others know.
        if first:
            self._heard = asked_at
            self.settled.set()

    def begin(self) -> Stream:
        """A stream that is opened now."""
        assert self.position is not None
        return Stream(self, self.position)

    def failed(self, error: MarqueError) -> float:
        """Seconds after which to try again."""
        if isinstance(error, ResetError) and self._failures == 0:
            self._failures = 1  # the next one in a row waits
            self._warn("marque revocations are read anew: %s", error.message)
            return 0.0
        self._failures += 1
        self._failure = error
        limit = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures - 1, 10))
        wait = max(limit * self._random(), min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
        self._warn(
            "marque revocations are not followed position=%s failures=%d wait=%.3f: %s",
            self.position,
            self._failures,
            wait,
            error.message,
        )
        return wait

    def ended(self, stream: Stream, retry: float | None, token_ends: float) -> float:
        """Seconds after which to go on, when the server has ended the stream in good order."""
        if stream.welcomed and self._clock.now() >= token_ends:
            return 0.0  # it has ended with its token, and there is another one
        wait = min(retry or 0.0, LONGEST_RETRY_AFTER)
        if not stream.alive:
            return max(wait, self.failed(ProtocolError("the server has ended the stream")))
        if self._logger is not None:
            self._logger.debug("marque revocations: the stream has ended, wait=%.3f", wait)
        return wait

    def silent(self) -> MarqueError:
        """The error of a stream that is given up."""
        return ProtocolError("the stream of revocations brings no heartbeat", retryable=True)

    def _warn(self, message: str, *values: object) -> None:
        if self._logger is not None:
            self._logger.warning(message, *values)

    def beat(self, position: str, moment: tuple[float, float]) -> None:
        self.advance(position)
        self._heard, self._failures, self._failure = moment, 0, None
        if self._revoked is not None:
            self._revoked.forget(moment[0])

    def advance(self, position: str) -> None:
        if self.position is None or behind(self.position, position):
            self.position = position

    def revoke(self, entry: object) -> None:
        assert self._revoked is not None
        try:
            self._revoked.add_entry(entry)
        except UnknownKind as unknown:
            self._warn(
                "marque revocations of the kind %.32r are not known to this release", str(unknown)
            )


class Stream:
    """One connection to the feed."""

    def __init__(self, following: Following, sent: str) -> None:
        self._following: Final = following
        self.sent: Final = sent
        """The position that it is to go on from."""
        self.welcomed = False
        """Whether it goes on from there."""
        self.alive = False
        """Whether a heartbeat has come."""
        self._at = following.moment()

    def take(self, event: Event) -> MarqueError | None:
        """Applies one event; the error that ends the stream."""
        if event.name not in ("hello", "revoked", "heartbeat", "reset"):
            return None  # of a later release
        following = self._following
        if event.name == "reset":
            following.anew = True
            return ResetError("the server does not know the position that was reached any more")
        try:
            return self._apply(event, json.loads(event.data))
        except (ValueError, KeyError, TypeError, RecursionError):
            return self.malformed(f"the event {event.name} is not what the contract says")

    def malformed(self, why: str) -> MarqueError:
        """What was to be told is not known, so that everything is read anew."""
        self._following.anew = True
        return ProtocolError(f"the feed of revocations: {why}", retryable=True)

    def _apply(self, event: Event, said: dict[str, object]) -> MarqueError | None:
        following = self._following
        if event.name == "hello":
            position, heartbeat = position_of(said["position"]), said["heartbeat"]
            if type(heartbeat) is not int or heartbeat <= 0:
                raise ValueError("no heartbeat")
            following.heartbeat = float(heartbeat)
            # One that announces a reset has no id. Else it repeats what was asked for: another
            # position means that the header was lost on the way, and with it what was revoked
            # in between.
            if event.id and (event.id != self.sent or position != self.sent):
                return self.malformed(
                    "it does not go on from the position that was asked for: "
                    "is there a proxy that drops Last-Event-ID?"
                )
            self.welcomed, self._at = bool(event.id), following.moment()
            return None
        if not self.welcomed:
            return self.malformed("it does not begin with hello")
        position = position_of(event.id)
        if event.name == "revoked":
            following.revoke(said)
            following.advance(position)
            return None
        if position_of(said["position"]) != position or behind(position, following.position or "0"):
            raise ValueError("another position")
        # What comes out of a connection after so long a silence may have waited in it: it does
        # not say how things are now.
        if following.too_old(self._at):
            return following.silent()
        self.alive, self._at = True, following.moment()
        following.beat(position, self._at)
        return None
