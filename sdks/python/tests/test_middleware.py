"""Protecting an API: ASGI (bare, Starlette, FastAPI) and WSGI answer alike."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Annotated, Any
from wsgiref.util import setup_testing_defaults

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from marque import (
    AsyncVerifier,
    ConfigurationError,
    Principal,
    VerificationError,
    Verifier,
    asgi,
    wsgi,
)
from tests.fakes import API, CLIENT_ID, ISSUER, FakeClock, Issuer, Server, answer, key_set

JWKS = "GET /.well-known/jwks.json"


@pytest.fixture
def published(server: Server, issuer: Issuer) -> Server:
    return server.on(JWKS, key_set(issuer))


@pytest.fixture
def verifier(published: Server, clock: FakeClock) -> AsyncVerifier:
    return AsyncVerifier(ISSUER, http_client=published.http_async(), clock=clock)


Get = Callable[..., httpx.Response]


@pytest.fixture(params=["asgi", "wsgi"])
def get(request: Any, verifier: AsyncVerifier, published: Server, clock: FakeClock) -> Get:
    """Sends a request to an API that is protected by either middleware."""
    guard: dict[str, Any] = {"audience": API, "scopes": ["invoices:read"], "exempt": ["/healthz"]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        subject = "none" if path == "/healthz" else asgi.principal(scope).subject
        if path == "/burn":
            asgi.require(scope, "invoices:burn")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": subject.encode()})

    def plain(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        subject = "none" if path == "/healthz" else wsgi.principal(environ).subject
        if path == "/burn":
            wsgi.require(environ, "invoices:burn")
        start_response("200 OK", [])
        return [subject.encode()]

    def send(path: str = "/x", *tokens: str, scheme: str = "Bearer") -> httpx.Response:
        headers = [("authorization", f"{scheme} {token}") for token in tokens]
        if request.param == "wsgi":
            # What stands twice is joined by servers; this transport keeps the last one only.
            joined = ", ".join(value for _, value in headers)
            headers = [("authorization", joined)] if joined else []
            sync = Verifier(ISSUER, http_client=published.http(), clock=clock)
            guarded = wsgi.BearerMiddleware(plain, verifier=sync, **guard)
            with httpx.Client(transport=httpx.WSGITransport(guarded), base_url=API) as http:
                return http.get(path, headers=headers)

        async def run() -> httpx.Response:
            guarded = asgi.BearerMiddleware(app, verifier=verifier, **guard)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(guarded), base_url=API
            ) as http:
                return await http.get(path, headers=headers)

        return asyncio.run(run())

    return send


def test_a_good_token_reaches_the_application(get: Get, issuer: Issuer) -> None:
    response = get("/x", issuer.token())
    assert (response.status_code, response.text) == (200, CLIENT_ID)
    assert get("/x", issuer.token(), scheme="bearer").status_code == 200


def test_exempt_paths_need_none(get: Get) -> None:
    assert get("/healthz").text == "none"
    assert get("/healthz/").status_code == 401


def test_no_token_is_401_without_an_error_code(get: Get) -> None:
    for response in (get("/x"), get("/x", "YTpi", scheme="Basic")):
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("bad", ["garbage", "", "expired", "audience", "a b"])
def test_bad_tokens_are_refused_alike(get: Get, issuer: Issuer, bad: str) -> None:
    token = {
        "expired": issuer.token(iat=1, nbf=1, exp=2),
        "audience": issuer.token(aud="https://other.example"),
    }.get(bad, bad)
    response = get("/x", token)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "urn:marque:problem:invalid_token",
        "title": "A token is needed",
        "status": 401,
        "code": "invalid_token",
    }


def test_a_missing_permission_is_403_and_named(get: Get, issuer: Issuer) -> None:
    for response, scope in [
        (get("/x", issuer.token(scope="other")), "invoices:read"),
        (get("/burn", issuer.token()), "invoices:burn"),
    ]:
        assert response.status_code == 403
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        assert response.headers["www-authenticate"] == challenge


def test_without_keys_it_is_503(get: Get, issuer: Issuer, server: Server) -> None:
    server.on(JWKS, answer(503))
    response = get("/x", issuer.token())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["code"] == "unavailable"


def test_a_token_in_the_query_is_a_bad_request(get: Get, issuer: Issuer) -> None:
    token = issuer.token()
    for path in (f"/x?access_token={token}", f"/x?a=b&access_token={token}", "/x?access_token"):
        response = get(path, token)
        assert response.status_code == 400
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_request"'
    assert get("/x?my_access_token=1", token).status_code == 200


def test_two_tokens_are_refused(get: Get, issuer: Issuer) -> None:
    assert get("/x", issuer.token(), issuer.token()).status_code in (400, 401)


def test_middleware_needs_an_audience(verifier: AsyncVerifier) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="name your API's identifier"):
        asgi.BearerMiddleware(app, verifier=verifier, audience="")
    with pytest.raises(ConfigurationError, match="name your API's identifier"):
        wsgi.BearerMiddleware(lambda *_: [], verifier=Verifier(ISSUER), audience="")


def test_a_principal_is_not_made_up() -> None:
    with pytest.raises(ConfigurationError, match="nobody has verified a token"):
        asgi.principal({"type": "http", "state": {"principal": "x"}})
    environ: dict[str, Any] = {"wsgi.input": io.BytesIO()}
    setup_testing_defaults(environ)
    with pytest.raises(ConfigurationError, match="nobody has verified a token"):
        wsgi.principal(environ)


def request_of(app: Any, path: str, token: str | None) -> httpx.Response:
    async def run() -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=API) as http:
            return await http.get(path, headers=headers)

    return asyncio.run(run())


def test_starlette(verifier: AsyncVerifier, issuer: Issuer) -> None:
    def whoami(request: Any) -> JSONResponse:
        who = asgi.principal(request)
        assert request.state.principal is who
        return JSONResponse({"sub": who.subject})

    def burn(request: Any) -> PlainTextResponse:
        asgi.require(request, "invoices:burn")
        return PlainTextResponse("burnt")

    app = Starlette(
        routes=[Route("/whoami", whoami), Route("/burn", burn)],
        middleware=[Middleware(asgi.BearerMiddleware, verifier=verifier, audience=API)],
    )
    assert request_of(app, "/whoami", issuer.token()).json() == {"sub": CLIENT_ID}
    assert request_of(app, "/burn", issuer.token()).status_code == 403
    assert request_of(app, "/whoami", None).status_code == 401


def test_fastapi(verifier: AsyncVerifier, issuer: Issuer) -> None:
    app = FastAPI()
    app.add_middleware(asgi.BearerMiddleware, verifier=verifier, audience=API)

    def reader(request: Request) -> Principal:
        return asgi.require(request, "invoices:read")

    def burner(request: Request) -> Principal:
        return asgi.require(request, "invoices:burn")

    def read(who: Annotated[Principal, Depends(reader)]) -> dict[str, str]:
        return {"sub": who.subject}

    def burn(who: Annotated[Principal, Depends(burner)]) -> None: ...

    # FastAPI looks names of annotations up in the module: these are local ones.
    read.__annotations__ = {"who": Annotated[Principal, Depends(reader)]}
    burn.__annotations__ = {"who": Annotated[Principal, Depends(burner)]}
    app.get("/read")(read)
    app.get("/burn")(burn)
    assert request_of(app, "/read", issuer.token()).json() == {"sub": CLIENT_ID}
    response = request_of(app, "/burn", issuer.token())
    assert response.status_code == 403
    assert "invoices:burn" in response.headers["www-authenticate"]


def handshake(verifier: AsyncVerifier, token: str | None) -> list[Any]:
    """What is sent to a client that opens a websocket."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": asgi.principal(scope).subject})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": headers}
    guarded = asgi.BearerMiddleware(app, verifier=verifier, audience=API)
    asyncio.run(guarded(scope, receive, send))  # type: ignore[arg-type]
    return sent


def test_websockets_are_protected_too(verifier: AsyncVerifier, issuer: Issuer) -> None:
    assert handshake(verifier, issuer.token())[0]["type"] == "websocket.accept"
    assert handshake(verifier, None) == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_an_answer_that_has_begun_is_not_taken_back(
    verifier: AsyncVerifier, issuer: Issuer
) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        asgi.require(scope, "invoices:burn")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {issuer.token()}".encode())]
    scope = {"type": "http", "path": "/", "query_string": b"", "headers": headers}
    guarded = asgi.BearerMiddleware(app, verifier=verifier, audience=API)
    with pytest.raises(VerificationError):
        asyncio.run(guarded(scope, None, send))  # type: ignore[arg-type]
    assert len(sent) == 1
