"""When to try again, and after how long."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from marque._errors import MarqueError

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 8.0
LONGEST_RETRY_AFTER: Final = 60.0
"""Seconds. A server that asks for more gets no retry: the caller is told instead."""


def retry_delay(failure: MarqueError, retry: int, random: Callable[[], float]) -> float | None:
    """Seconds to wait before the retry of that number, from 0; `None` for no retry.

    Doubles from 0.5 s to 8 s, each between half of that and all of it, so that clients that
    failed together do not come back together.
    """
    if not failure.retryable:
        return None
    if failure.retry_after is not None:
        return failure.retry_after if failure.retry_after <= LONGEST_RETRY_AFTER else None
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2**retry)
    return delay * (0.5 + random() / 2)


def retry_after(headers: httpx.Headers, now: float) -> float | None:
    """Retry-After in seconds, from either of its forms (RFC 9110 section 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
