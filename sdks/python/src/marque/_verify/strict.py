"""Text that has one spelling: base64url and JSON, read more strictly than their libraries do."""

from __future__ import annotations

import binascii
import json
from typing import Any, Final, NoReturn, cast

MAX_MEMBERS: Final = 64
_MAX_NUMBER: Final = 32

# The characters that a group may end with so that its unused bits are zero.
_ENDS: Final = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}


def decode_base64url(text: str) -> bytes:
    """Reads base64url without padding (RFC 7515 section 2) in its one canonical spelling.

    The caller has checked the alphabet. With other unused bits than zero a signature would
    have 16 spellings, and a denylist of texts 15 holes.
    """
    rest = len(text) % 4
    if rest == 1 or (rest and text[-1] not in _ENDS[rest]):
        raise ValueError("not canonical base64url")
    plain = text.replace("-", "+").replace("_", "/")
    return binascii.a2b_base64(plain + "===="[rest or 4 :])


def parse_object(text: bytes, depth: int) -> dict[str, Any]:
    """Reads a JSON object (RFC 8259); ValueError for anything that parsers disagree about.

    Refused are: other encodings than UTF-8, names that stand twice or differ only in case,
    more than 64 members, long numbers, NaN and infinities, lone surrogates, and nesting deeper
    than `depth` levels.
    """
    try:
        value: Any = _DECODER.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if type(value) is not dict:
        raise ValueError("not an object")
    members = cast("dict[str, Any]", value)
    # As many brackets as levels cannot nest deeper, wherever they stand.
    if text.count(b"{") + text.count(b"[") > depth:
        _check_depth(members, depth)
    # Only an escape can bring in a surrogate, since the text was valid UTF-8.
    if b"\\u" in text:
        json.dumps(members, ensure_ascii=False).encode("utf-8")
    return members


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs) or len(pairs) > MAX_MEMBERS:
        raise ValueError("a name stands twice, or there are too many")
    # Distinct names that folding leaves as they are, as most do, stay distinct.
    names = "\0".join(members)
    if names.casefold() != names and len({n.casefold() for n in members}) != len(pairs):
        raise ValueError("names differ only in case")
    return members


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise ValueError("too long a number")
    return int(text)


def _float(text: str) -> float:
    if len(text) > _MAX_NUMBER:
        raise ValueError("too long a number")
    return float(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError("not a JSON number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_refuse
)


def _check_depth(value: dict[str, Any] | list[Any], depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deeply")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _check_depth(cast("dict[str, Any] | list[Any]", item), depth - 1)
