"""Work that many wait for and one does: a flight.

It belongs to none of those who wait. Each keeps a deadline of its own, and one that gives
up or is cancelled takes nothing from the others.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, Generic, TypeVar

from marque._errors import MarqueError, RequestTimeoutError

T = TypeVar("T")

LANDING: Final = 1.0
"""Seconds that a closing client gives to what it does in the background."""


def _gave_up(seconds: float) -> RequestTimeoutError:
    return RequestTimeoutError(
        f"what is fetched for this call and others has not arrived in {seconds:g} s: "
        "try again, or allow more with timeout"
    )


def _refreshed(error: BaseException) -> BaseException:
    # All who wait raise the same object: without this its trace would grow with each of them.
    return error.with_traceback(None) if isinstance(error, MarqueError) else error


class ThreadFlight(Generic[T]):
    """A flight in a thread of its own. `work` is told whether anybody waits for it."""

    def __init__(self, work: Callable[[ThreadFlight[T]], T], landed: Callable[[], None]) -> None:
        self.waited = False
        self._future: Future[T] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(work, landed), name="marque-flight", daemon=True
        )

    def start(self) -> None:
        """Begins. To be called once, when others can find the flight."""
        self._thread.start()

    def _run(self, work: Callable[[ThreadFlight[T]], T], landed: Callable[[], None]) -> None:
        try:
            value = work(self)
        except BaseException as error:  # noqa: BLE001 - those who wait must hear it
            landed()
            self._future.set_exception(error)
        else:
            landed()
            self._future.set_result(value)

    def wait(self, seconds: float) -> T:
        """The result, or what the work raised, or `RequestTimeoutError`."""
        try:
            error = self._future.exception(seconds)
        except FutureTimeoutError:
            error = _gave_up(seconds)
        if error is not None:
            raise _refreshed(error)
        return self._future.result()

    def land(self, seconds: float) -> bool:
        """Waits until it is over, but no longer than that: whether it is."""
        self._thread.join(seconds)
        return not self._thread.is_alive()


class TaskFlight(Generic[T]):
    """A flight in an asyncio task of its own."""

    def __init__(
        self, work: Callable[[TaskFlight[T]], Awaitable[T]], landed: Callable[[], None]
    ) -> None:
        import asyncio

        self.waited = False
        self._task = asyncio.ensure_future(self._run(work, landed))
        # Nobody may be waiting: then a failure has been seen by the hooks, and is no leak.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run(
        self, work: Callable[[TaskFlight[T]], Awaitable[T]], landed: Callable[[], None]
    ) -> T:
        try:
            return await work(self)
        finally:
            landed()

    async def wait(self, seconds: float) -> T:
        """The result, or what the work raised, or `RequestTimeoutError`."""
        if not await self.land(seconds):
            raise _gave_up(seconds)
        error = self._task.exception()
        if error is not None:
            raise _refreshed(error)
        return self._task.result()

    async def land(self, seconds: float) -> bool:
        """Waits until it is over, but no longer than that: whether it is."""
        import asyncio

        done, _ = await asyncio.wait([self._task], timeout=seconds)
        return bool(done)

    def cancel(self) -> None:
        """Ends it, for there is nobody left who could want what it fetches."""
        self._task.cancel()
