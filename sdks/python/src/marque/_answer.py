"""From an answer to a value or to an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from marque._errors import APIError, FieldError, InUse, InUseItem, MarqueError, ProtocolError
from marque._model import remember
from marque._response import Response
from marque._retry import retry_after

T = TypeVar("T")

MAX_BODY: Final = 1 << 20
"""Bytes of the largest answer that is read."""


def no_content(value: object) -> None:
    """The decoder of an answer whose body, if there is one, says nothing."""


def _media_type(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _described(response: Response) -> str:
    return f"{response.status} with {_media_type(response) or 'no content type'}"


def _json(response: Response) -> Any:
    """The body as JSON; ValueError when it is none."""
    media = _media_type(response)
    if media != "application/json" and not media.endswith("+json"):
        raise ValueError("not JSON")
    try:
        return json.loads(response.body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decode_answer(response: Response, decode: Callable[[Any], T]) -> T:
    """The value of a successful answer."""
    if decode is no_content:
        return decode(None)
    decoded = _decoded(response, decode)
    if isinstance(decoded, ProtocolError):
        raise decoded
    return decoded


def _decoded(response: Response, decode: Callable[[Any], T]) -> T | ProtocolError:
    # The error is returned: raised from here, its trace would hold this frame, and with it
    # the data, in which a secret may be.
    try:
        data = _json(response)
    except ValueError:
        return ProtocolError(
            f"the answer is {_described(response)} instead of JSON: "
            "is the issuer the address of Marque, and is there a proxy in between?",
            response=response,
        )
    try:
        value = decode(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # A KeyError names the member that is missing; others may quote a value.
        what = f"{error} is missing" if isinstance(error, KeyError) else type(error).__name__
        return ProtocolError(
            f"the answer is JSON of another shape than the contract's ({what}): "
            "is this package older than the server?",
            response=response,
        )
    remember(value, response)
    return value


def failure_of(response: Response, now: float, mask: Callable[[str], str]) -> MarqueError | None:
    """The error that an answer is, `None` for a success. `mask` goes over what it says."""
    if 200 <= response.status < 300:
        return None
    if 300 <= response.status < 400:
        return ProtocolError(
            f"the answer is a redirect ({response.status}), which is not followed, since it could "
            "lead the credential astray: set the issuer to the final address",
            response=response,
        )
    wait = retry_after(response.headers, now)
    try:
        data = _json(response)
    except ValueError:
        data = None
    failure = _told(response, cast("Any", data), wait, mask) if isinstance(data, Mapping) else None
    if failure is None:
        failure = ProtocolError(
            f"the answer is {_described(response)}, which is no error of Marque's: "
            "is the issuer the address of Marque, and is there a proxy in between?",
            response=response,
            retryable=response.status == 429 or response.status >= 500,
        )
        failure.retry_after = wait
    return failure


def _told(
    response: Response, data: Mapping[str, Any], wait: float | None, mask: Callable[[str], str]
) -> APIError | None:
    """An error that the server tells in one of its two forms; `None` for any other JSON."""

    def text(name: str) -> str | None:
        value = data.get(name)
        return mask(value) if isinstance(value, str) else None

    code = text("code") or text("error")
    if code is None:
        return None
    detail = text("detail") or text("error_description")
    findings = _findings(data.get("errors"), mask)
    message = f"{response.status} {code}: {detail or text('title') or 'no detail'}"
    for finding in findings:
        message += f"; {finding.pointer} {finding.detail}"
    if response.request_id is not None:
        message += f" (request {response.request_id})"
    return APIError(
        message,
        response=response,
        code=code,
        title=text("title"),
        detail=detail,
        permission=text("permission"),
        issued_id=text("id"),
        errors=findings,
        in_use=_in_use(data.get("in_use"), mask),
        retry_after=wait,
    )


def _findings(value: object, mask: Callable[[str], str]) -> list[FieldError]:
    found: list[FieldError] = []
    if isinstance(value, list):
        for item in cast("list[object]", value):
            if isinstance(item, Mapping):
                one = cast("Mapping[str, object]", item)
                pointer, detail = str(one.get("pointer", "")), str(one.get("detail", ""))
                found.append(FieldError(mask(pointer), mask(detail)))
    return found


def _in_use(value: object, mask: Callable[[str], str]) -> InUse | None:
    if not isinstance(value, Mapping):
        return None
    told = cast("Mapping[str, object]", value)
    count, items = told.get("count"), told.get("items")
    if not isinstance(count, int) or not isinstance(items, list):
        return None
    found: list[InUseItem] = []
    for item in cast("list[object]", items):
        if isinstance(item, Mapping):
            one = cast("Mapping[str, object]", item)
            kind, named, name = (mask(str(one.get(key, ""))) for key in ("kind", "id", "name"))
            found.append(InUseItem(kind, named, name))
    return InUse(count, tuple(found))
