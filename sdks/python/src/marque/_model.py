"""What generated models have in common, and how values travel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marque._response import Response

Wire = Mapping[str, Any]
"""A JSON object as it was received."""


class Model:
    """The base of generated models. It remembers the response that a model came in."""

    __slots__ = ("_response",)


def remember(model: object, response: Response) -> None:
    """Ties a model to its response; anything that is not a model is left alone."""
    if isinstance(model, Model):
        object.__setattr__(model, "_response", response)


def response_of(model: Model) -> Response | None:
    """The response that a model came in: its request id, its ETag, its headers.

    `None` for a model that did not come as the answer to a call of its own: an item
    of a list, a copy, or one that you made.
    """
    return getattr(model, "_response", None)


def parse_time(text: str) -> datetime:
    """Reads an RFC 3339 timestamp. The result has a time zone."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a timestamp without a time zone")
    return time


def format_time(time: datetime) -> str:
    """Writes an RFC 3339 timestamp in UTC, in whole seconds where it has no fraction."""
    if time.utcoffset() is None:
        raise ValueError(
            "the time has no time zone: use datetime.now(timezone.utc), or replace(tzinfo=...)"
        )
    utc = time.astimezone(timezone.utc).replace(tzinfo=None)
    unit = "microseconds" if utc.microsecond else "seconds"
    return utc.isoformat(timespec=unit) + "Z"


__all__ = ["Model", "Wire", "format_time", "parse_time", "remember", "response_of"]
