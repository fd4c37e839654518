"""A stream of server-sent events (WHATWG HTML, section 9.2.6), from bytes as they come."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_EVENT: Final = 64 << 10
"""Bytes, far more than any event of Marque has."""

_LINE_END: Final = re.compile(rb"[\r\n]")


class Event(NamedTuple):
    """One event."""

    id: str
    """Empty where the event has none of its own."""
    name: str
    data: str


class EventTooLong(Exception):
    """An event is longer than any of Marque's."""


class EventParser:
    """Takes bytes in pieces of any size; lines may end in any of the three ways."""

    def __init__(self) -> None:
        self.retry: float | None = None
        """Seconds after which to come back, as last said."""
        self._pending = bytearray()
        self._after_cr = False
        self._begun = False
        self._size = 0
        self._id = self._name = ""
        self._data: list[str] | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are whole by now."""
        self._pending += chunk
        events: list[Event] = []
        while self._pending:
            if self._after_cr and self._pending[0] == 0x0A:
                del self._pending[0]
                self._after_cr = False
                continue
            end = _LINE_END.search(self._pending)
            if end is None:
                break
            line = bytes(self._pending[: end.start()])
            self._after_cr = end.group() == b"\r"
            del self._pending[: end.end()]
            if (event := self._line(line)) is not None:
                events.append(event)
        if len(self._pending) + self._size > MAX_EVENT:
            raise EventTooLong
        return events

    def _line(self, octets: bytes) -> Event | None:
        line = octets.decode("utf-8", "replace")
        if not self._begun:
            self._begun, line = True, line.removeprefix("\ufeff")
        self._size += len(octets)
        if self._size > MAX_EVENT:
            raise EventTooLong
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data = [*(self._data or []), value]
        elif name == "id":
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 10:
            self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._id, self._name, "\n".join(self._data or []))
        something = self._data is not None or bool(self._name)
        self._id, self._name, self._data, self._size = "", "", None, 0
        return event if something else None
