"""From Python values to what travels: paths, queries, headers, bodies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote, urlencode

from marque._errors import ConfigurationError
from marque._model import Model, format_time
from marque._secret import Secret
from marque._unset import UNSET


def expand_path(template: str, values: Mapping[str, object]) -> str:
    """Fills in a path template. A value can neither leave its segment nor vanish."""
    path = template
    for name, value in values.items():
        # A dot segment would be taken away on the way, and another resource be meant.
        if not isinstance(value, str) or value in ("", ".", ".."):
            raise ConfigurationError(
                f"{name} must be an id, which is a non-empty string; it is {type(value).__name__}"
                + (f" {value!r}" if isinstance(value, str) else "")
            )
        path = path.replace("{" + name + "}", quote(value, safe=""))
    return path


def text_of(value: object) -> str:
    """A single value as a parameter."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return format_time(value)
        case Secret():
            return value.reveal()
        case str() | int() | float():
            return str(value)
        case _:
            raise ConfigurationError(f"{type(value).__name__} is no value of a parameter")


def pairs_of(values: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    """Drops what is absent and repeats the name for each item of a sequence."""
    pairs: list[tuple[str, str]] = []
    for name, value in values:
        if value is UNSET or value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str):
            pairs += [(name, text_of(item)) for item in cast("Sequence[object]", value)]
        else:
            pairs.append((name, text_of(value)))
    return pairs


def _wire(value: object) -> Any:
    """Encodes what `json` does not know."""
    match value:
        case Secret():
            return value.reveal()
        case datetime():
            return format_time(value)
        case Model():
            return cast("Any", value).to_wire()
        case Mapping():
            return dict(cast("Mapping[object, object]", value))
        case Sequence():
            return list(cast("Sequence[object]", value))
        case _:
            raise TypeError(f"{type(value).__name__} is no value of a body")


def encode_json(body: Mapping[str, object]) -> bytes:
    """JSON without the members that are absent; `None` is null."""
    present = {name: value for name, value in body.items() if value is not UNSET}
    try:
        return json.dumps(
            present, default=_wire, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode()
    except (TypeError, ValueError) as error:
        reason = str(error)
    raise ConfigurationError(f"the body cannot be encoded: {reason}")


def encode_form(body: Mapping[str, object]) -> bytes:
    """application/x-www-form-urlencoded without the members that are absent."""
    return urlencode(pairs_of(body.items())).encode()
