"""A string that shows itself only to who asks for it by name."""

from __future__ import annotations

import hmac
from typing import Any, Final, NoReturn, final

MASK: Final = "***"


@final
class Secret:
    """A secret text. Printing, formatting, logging and `repr` give a mask.

    `reveal()` is the only way to the text. A secret cannot be pickled, and `json`
    refuses it, so that it cannot be written somewhere by accident.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret) -> None:
        self._text: Final = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # In constant time: what takes as long for any guess gives no hint.
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: call reveal() and keep the text where it is safe")
