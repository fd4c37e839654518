"""A clock that stands still. A sleep on it returns at once, having moved it."""

from __future__ import annotations

import threading


class FakeClock:
    """For `clock=` of clients and verifiers."""

    def __init__(self, at: float) -> None:
        self._at = float(at)
        self._slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._at

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._at += seconds
            self._slept.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._at += seconds

    def take(self) -> list[float]:
        """What was slept since the last time."""
        with self._lock:
            slept, self._slept = self._slept, []
        return slept
