"""Signing in at other APIs with `httpx.Auth`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from marque import ConfigurationError, Marque
from tests.fakes import API, ISSUER, AsyncFace, Face, Server, answer, token_answer

TOKEN = "POST /oauth2/token"


def send(face: Face, api: Server, method: str, url: str, **request: Any) -> httpx.Response:
    """One request through an HTTP client of the user's own."""
    auth = face.client.auth(resource=API, scopes=["invoices:read"])
    if isinstance(face, AsyncFace):

        async def run() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.MockTransport(api.handle_async), auth=auth
            ) as http:
                return await http.request(method, url, **request)

        return face.loop.run_until_complete(run())
    with httpx.Client(transport=httpx.MockTransport(api.handle), auth=auth) as http:
        return http.request(method, url, **request)


@pytest.fixture
def api() -> Server:
    return Server().on("GET /x", answer(200, {})).on("POST /x", answer(200, {}))


def bearers(api: Server) -> list[str]:
    return [request.headers["authorization"] for request in api.requests]


def test_requests_carry_a_token_for_that_api(face: Face, server: Server, api: Server) -> None:
    assert send(face, api, "GET", API + "/x").status_code == 200
    assert send(face, api, "GET", API + "/x").status_code == 200
    assert bearers(api) == ["Bearer t1", "Bearer t1"]
    (issue,) = server.seen(TOKEN)
    assert b"scope=invoices%3Aread" in issue.content


def test_a_401_is_replayed_once_with_another_token(face: Face, server: Server, api: Server) -> None:
    server.on(TOKEN, token_answer("t1"), token_answer("t2"))
    api.on("POST /x", answer(401), answer(200, {}))
    assert send(face, api, "POST", API + "/x", json={"a": 1}).status_code == 200
    assert bearers(api) == ["Bearer t1", "Bearer t2"]
    assert api.requests[0].content == api.requests[1].content
    api.on("POST /x", answer(401))
    assert send(face, api, "POST", API + "/x", content=b"x").status_code == 401
    assert len(api.requests) == 4


def test_a_stream_is_not_sent_twice_but_the_token_is_dropped(
    face: Face, server: Server, api: Server
) -> None:
    server.on(TOKEN, token_answer("t1"), token_answer("t2"))
    api.on("POST /x", answer(401))

    def chunks() -> Iterator[bytes]:
        yield b"once"

    async def chunks_async() -> Any:
        yield b"once"

    body = chunks_async() if isinstance(face, AsyncFace) else chunks()
    assert send(face, api, "POST", API + "/x", content=body).status_code == 401
    assert len(api.requests) == 1
    send(face, api, "GET", API + "/x")
    assert bearers(api)[-1] == "Bearer t2"


@pytest.mark.parametrize("url", ["http://invoices.example.com/x", "http://127.0.0.1.nip.io/x"])
def test_a_token_is_not_sent_in_the_clear(face: Face, api: Server, url: str) -> None:
    with pytest.raises(ConfigurationError, match="in the clear: use https"):
        send(face, api, "GET", url)
    assert api.requests == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/x", "http://[::1]/x", "http://localhost/x"])
def test_within_the_machine_it_may(face: Face, api: Server, url: str) -> None:
    assert send(face, api, "GET", url).status_code == 200


def test_a_redirect_to_another_host_does_not_get_the_token(face: Face, api: Server) -> None:
    api.on("GET /x", answer(302, None, location="https://elsewhere.example/y"))
    api.on("GET /y", answer(200, {}))
    send(face, api, "GET", API + "/x", follow_redirects=True)
    assert "authorization" not in api.requests[-1].headers


def test_the_wrong_sort_of_http_client_is_told(make: Callable[..., Face], api: Server) -> None:
    face = make()
    auth = face.client.auth()
    if isinstance(face, AsyncFace):
        with (
            httpx.Client(transport=httpx.MockTransport(api.handle), auth=auth) as http,
            pytest.raises(ConfigurationError, match="use Marque's"),
        ):
            http.get(API)
        return

    async def run() -> None:
        transport = httpx.MockTransport(api.handle_async)
        async with httpx.AsyncClient(transport=transport, auth=auth) as http:
            with pytest.raises(ConfigurationError, match="use AsyncMarque's"):
                await http.get(API)

    asyncio.run(run())


def test_a_client_of_ones_own_stays_open_and_unsigned(server: Server) -> None:
    http = httpx.Client(
        transport=httpx.MockTransport(server.handle),
        auth=("user", "password"),
        follow_redirects=True,
    )
    server.on("GET /.well-known/jwks.json", answer(200, {"keys": []}))
    with Marque(ISSUER, client_id="a", client_secret="b", http_client=http) as client:
        client.jwks.get()
    assert "authorization" not in server.requests[0].headers, "its own sign-in is not for Marque"
    assert not http.is_closed
    http.close()
