"""The value of a member that is absent, which is not the same as null."""

from __future__ import annotations

import enum
from typing import Final, Literal


class Unset(enum.Enum):
    """The type of `UNSET`; an enum of one member, so that type checkers narrow on `is`."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Absent: not sent in a request, not there in an answer. `None` stands for JSON's null."""
