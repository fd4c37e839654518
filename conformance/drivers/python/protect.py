"""One request through each middleware, around a handler that answers with the subject."""

from __future__ import annotations

from typing import Any

import wire

from marque import asgi as marque_asgi
from marque import wsgi as marque_wsgi


async def asgi(guarded: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Through that for ASGI."""
    sent: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        subject = marque_asgi.principal(scope).subject
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": subject.encode()})

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = request["path"].partition("?")
    scope = {
        "type": "http",
        "method": request["method"],
        "path": path,
        "query_string": query.encode(),
        "headers": [(n.lower().encode(), v.encode()) for n, v in request.get("headers", [])],
    }
    await marque_asgi.BearerMiddleware(handler, **guarded)(scope, receive, send)
    start, text = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    headers = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
    return wire.response(start["status"], headers, text.decode())


def wsgi(guarded: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Through that for WSGI."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def handler(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [marque_wsgi.principal(environ).subject.encode()]

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        started.append((status, headers))

    path, _, query = request["path"].partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request["method"],
        "PATH_INFO": path,
        "QUERY_STRING": query,
    }
    for name, value in request.get("headers", []):  # servers join what is there twice
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    body = b"".join(marque_wsgi.BearerMiddleware(handler, **guarded)(environ, start_response))
    status, headers = started[0]
    return wire.response(int(status[:3]), headers, body.decode())
