"""Protects an ASGI application (ASGI 3: Starlette, FastAPI, Quart, Django) with tokens.

    app.add_middleware(BearerMiddleware, verifier=AsyncVerifier(), audience="https://api.example.com")

A request without a good token is answered here and never reaches the application:
401 with `WWW-Authenticate`, 403 where a permission is missing, 503 where the issuer's keys
cannot be had or it is not known what is revoked (RFC 6750 section 3). Inside,
`principal(request)` tells who calls, and `require(request, "invoices:write")` refuses who may
not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Final, Protocol, cast

from marque._errors import ConfigurationError
from marque._refusal import REFUSALS, Refused, refusal_of, token_of
from marque._verify.claims import Principal, check_scopes
from marque._verify.verifier import AsyncVerifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY: Final = "marque.principal"
_POLICY_VIOLATION: Final = 1008  # RFC 6455 section 7.4.1; before the handshake: status 403


class _Connection(Protocol):
    """A Starlette or FastAPI `Request` or `WebSocket`."""

    @property
    def scope(self) -> Scope: ...


class BearerMiddleware:
    """Lets through what carries a good token, HTTP and websockets alike."""

    def __init__(
        self,
        app: Application,
        *,
        verifier: AsyncVerifier,
        audience: str,
        scopes: Iterable[str] = (),
        exempt: Sequence[str] = (),
    ) -> None:
        """`audience` is the API's identifier, `scopes` are permissions that every request needs;
        `exempt` lists paths that need no token, such as `/healthz`, exactly as they are called.
        """
        if not audience:
            raise ConfigurationError("the audience is empty: name your API's identifier")
        self._app = app
        self._verifier = verifier
        self._audience = audience
        self._scopes = tuple(scopes.split() if isinstance(scopes, str) else scopes)
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope.get("path") in self._exempt:
            await self._app(scope, receive, send)
            return
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            found = await self._verifier.verify(
                _token(scope), audience=self._audience, scopes=self._scopes
            )
            scope[_KEY] = found
            cast("dict[str, Any]", scope.setdefault("state", {}))["principal"] = found
            await self._app(scope, receive, watch)
            return
        except REFUSALS as error:
            if begun:  # an answer cannot be taken back
                raise
            refused = error
        await _refuse(scope, send, refused)


def principal(connection: _Connection | Scope) -> Principal:
    """Who calls: of a request, a websocket or an ASGI scope behind `BearerMiddleware`."""
    scope = connection if isinstance(connection, MutableMapping) else connection.scope
    found = scope.get(_KEY)
    if not isinstance(found, Principal):
        raise ConfigurationError(
            "nobody has verified a token for this request: add BearerMiddleware, and take the "
            "path out of its exempt ones"
        )
    return found


def require(connection: _Connection | Scope, *scopes: str) -> Principal:
    """Who calls, if the token has these permissions; else `BearerMiddleware` answers 403."""
    found = principal(connection)
    check_scopes(found, scopes)
    return found


def _token(scope: Scope) -> str:
    headers = cast("Iterable[tuple[bytes, bytes]]", scope.get("headers", ()))
    values = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    query = cast("bytes", scope.get("query_string", b""))
    return token_of(values, query.decode("latin-1"))


async def _refuse(scope: Scope, send: Send, error: Refused) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
        return
    answer = refusal_of(error)
    headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
