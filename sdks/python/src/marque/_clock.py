"""Time as an argument, so that nothing that waits has to be waited for in a test.

asyncio is imported where it is used, here and elsewhere: it would be a quarter of the time
that the import of the client for threads takes, which has no use for it.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the package knows of time. One clock serves threads and asyncio alike.

    It is the wall clock: a machine that slept must see that its tokens have expired.
    """

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def sleep(self, seconds: float) -> None:
        """Returns after so many seconds."""
        ...

    async def sleep_async(self, seconds: float) -> None:
        """The same, without holding up the event loop."""
        ...


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    now = staticmethod(time.time)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)
