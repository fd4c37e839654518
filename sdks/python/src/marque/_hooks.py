"""A look at each attempt, for traces, metrics and logs. No secret can be seen from here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from marque._errors import MarqueError


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request on the wire, or about to be."""

    operation: str
    """As in the contract: `service_accounts.create`; `tokens.issue` for the token source."""
    method: str
    path: str
    """The template of the path, without ids: it may label a metric."""
    number: int
    """From 1."""
    status: int | None = None
    """Of the answer; `None` before it, and where there was none."""
    request_id: str | None = None
    error: MarqueError | None = None
    """What the attempt ended with, where it did not succeed."""
    seconds: float | None = None
    """From the begin of the attempt to its end."""
    retry_in: float | None = None
    """Seconds until the next attempt; `None` when this was the last one."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that are called around each attempt, in the thread or task that makes it.

    They return at once; what they raise reaches the caller.
    """

    before: Callable[[Attempt], Mapping[str, str] | None] | None = None
    """May return headers to add, such as `traceparent`."""
    after: Callable[[Attempt], None] | None = None


def log_attempt(logger: logging.Logger | None, attempt: Attempt) -> None:
    """One line per attempt, at DEBUG, or at INFO when another one follows."""
    if logger is None:
        return
    level = logging.DEBUG if attempt.retry_in is None else logging.INFO
    outcome = attempt.status if attempt.error is None else attempt.error.kind
    logger.log(
        level,
        "marque %s attempt=%d outcome=%s status=%s request_id=%s seconds=%.3f retry_in=%s",
        attempt.operation,
        attempt.number,
        outcome,
        attempt.status,
        attempt.request_id,
        attempt.seconds or 0.0,
        attempt.retry_in,
    )
