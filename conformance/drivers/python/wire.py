"""Between the protocol's JSON and what the SDK takes and gives."""

from __future__ import annotations

import dataclasses
import inspect
import ssl
import traceback
import types
import typing
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

import marque

RENAMED = {"If-Match": "if_match"}


class Denylist:
    """The tokens that are stopped, by their ids."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = frozenset(ids)

    def revoked(self, principal: marque.Principal) -> bool:
        return principal.token_id in self._ids


def arguments(client: Any, request: dict[str, Any]) -> tuple[Any, list[Any], dict[str, Any]]:
    """The method of an operationId, by its name, and what it is called with."""
    resource, _, name = request["operation"].partition(".")
    method = getattr(getattr(client, resource), name)
    hints = typing.get_type_hints(method)
    known = inspect.signature(method).parameters
    kwargs: dict[str, Any] = {}
    for name, value in {**request.get("query", {}), **(request.get("body") or {})}.items():
        if name not in known:
            raise TypeError(f"{request['operation']} takes no {name}")
        kwargs[name] = typed(value, hints[name])
    options: dict[str, Any] = dict(request.get("options", {}))
    for name, value in request.get("headers", {}).items():
        if name in RENAMED:
            kwargs[RENAMED[name]] = value
        else:
            options["headers"] = {**options.get("headers", {}), name: value}
    return method, list(request.get("path", [])), kwargs | options


def typed(value: Any, hint: Any) -> Any:
    """A wire value as the type that the method asks for, where it can be one."""
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for choice in choices:
        if choice is datetime and isinstance(value, str):
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                return value  # for the server to refuse
        if isinstance(value, list) and typing.get_origin(choice) is Sequence:
            (item,) = typing.get_args(choice)
            return [typed(one, item) for one in value]
        if isinstance(value, dict) and inspect.isclass(choice) and issubclass(choice, marque.Model):
            return typing.cast("Any", choice).from_wire(value)
    return value


def reveal(value: Any) -> Any:
    """A result as wire JSON, secrets revealed on purpose."""
    match value:
        case marque.Secret():
            return value.reveal()
        case marque.Page():
            page = {"items": reveal(value.items), "next_page_token": value.next_page_token}
            return {name: one for name, one in page.items() if one is not None}
        case marque.Model():
            return reveal(typing.cast("Any", value).to_wire())
        case Mapping():
            return {name: reveal(one) for name, one in value.items()}
        case list() | tuple():
            return [reveal(one) for one in value]
        case _:
            return value


def printed(value: Any) -> str:
    """Every form in which a program may print a value by accident."""
    response = marque.response_of(value) if isinstance(value, marque.Model) else None
    return f"{value}\n{value!r}\n{[value]}\n{response!r}"


def trace(error: BaseException) -> str:
    """Every form in which an error is printed: the error, its causes, its trace."""
    told = [str(error), repr(error), repr(error.args), repr(vars(error))]
    return "\n".join([*told, *traceback.format_exception(error)])


def refused(error: Exception) -> dict[str, Any]:
    """An error by its public type. That of an HTTP client of the user's own is httpx's."""
    err: dict[str, Any]
    match error:
        case marque.MarqueError():
            told = {
                "code": error.reason if isinstance(error, marque.VerificationError) else error.code,
                "status": error.status,
                "request_id": error.request_id,
                "issued_id": getattr(error, "issued_id", None),
                "retry_after": error.retry_after,
            }
            err = {"kind": error.kind, "retryable": error.retryable}
            err |= {name: value for name, value in told.items() if value is not None}
            if isinstance(error, marque.APIError) and error.in_use is not None:
                err["in_use"] = dataclasses.asdict(error.in_use)
        case httpx.TimeoutException():
            err = {"kind": "timeout", "retryable": True}
        case httpx.TransportError():
            err = {"kind": "connection", "retryable": True}
        case _:
            return {"fault": f"an error of no public type: {trace(error)}"}
    return {"err": err | {"text": trace(error)}}


def principal(who: marque.Principal) -> dict[str, Any]:
    ok: dict[str, Any] = {
        "subject": who.subject,
        "client_id": who.client_id,
        "scopes": list(who.scopes),
        "roles": list(who.roles),
        "expires_at": who.expires_at.timestamp(),
        "claims": dict(who.claims),
    }
    if who.confirmation is not None:
        ok["confirmation"] = dict(who.confirmation)
    return ok


def response(status: int, headers: Iterable[tuple[str, str]], body: str) -> dict[str, Any]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return {"status": status, "headers": found, "body": body}


def http_client(made: dict[str, Any], *, asynchronous: bool) -> Any:
    """An HTTP client as a user makes it, with the trust and the timeout of the Marque client."""
    sort = httpx.AsyncClient if asynchronous else httpx.Client
    verify = ssl.create_default_context(cafile=made.get("ca_file"))
    return sort(verify=verify, timeout=made.get("timeout", 30))


def body(request: dict[str, Any], *, asynchronous: bool) -> Any:
    text = request.get("body")
    if text is None or request.get("replayable", True):
        return text
    octets = text.encode()

    def once() -> Iterator[bytes]:
        yield octets

    async def once_async() -> AsyncIterator[bytes]:
        yield octets

    return once_async() if asynchronous else once()
