"""A clock that only tests move, a server that says what it is told, an issuer with keys."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from marque import AsyncMarque, Marque

ISSUER = "https://auth.example.com"
API = "https://invoices.example.com"
NOW = 1_793_612_700
CLIENT_ID = "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"
CLIENT_SECRET = "mqs_" + "Zq7" * 16 + "k"
TOKEN_PATH = "/oauth2/token"
JWKS_PATH = "/.well-known/jwks.json"


class FakeClock:
    """Stands still. A sleep returns at once, having moved it."""

    def __init__(self, at: float = NOW) -> None:
        self.at = float(at)
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


Reply = httpx.Response | Exception | Callable[[httpx.Request], Any]


def answer(status: int = 200, body: Any = None, **headers: str) -> httpx.Response:
    """A JSON answer; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("x-request-id", "req_1")
    if body is None:
        return httpx.Response(status, headers=named)
    return httpx.Response(status, json=body, headers=named)


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    """Problem details, as under /v1."""
    body = {"type": f"urn:marque:problem:{code}", "title": code, "status": status, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named |= {"content-type": "application/problem+json", "x-request-id": "req_7"}
    return httpx.Response(status, content=json.dumps(body), headers=named)


def token_answer(text: str = "t1", expires_in: Any = 900, **more: Any) -> httpx.Response:
    body = {"access_token": text, "token_type": "Bearer", "expires_in": expires_in, "scope": ""}
    return answer(200, body | more)


class Server:
    """Answers each route with its replies in order; the last one is given again and again."""

    def __init__(self, **routes: Any) -> None:
        self.routes: dict[str, list[Reply]] = {}
        self.requests: list[httpx.Request] = []
        self.lock = threading.Lock()
        self.on("POST " + TOKEN_PATH, token_answer())

    def on(self, route: str, *replies: Reply) -> Server:
        self.routes[route] = list(replies)
        return self

    def seen(self, route: str) -> list[httpx.Request]:
        return [r for r in self.requests if f"{r.method} {r.url.path}" == route]

    def _reply(self, request: httpx.Request) -> Reply:
        # As it is now: signing in again changes the headers of the very same object.
        content = request.content if isinstance(request.stream, httpx.ByteStream) else None
        seen = httpx.Request(
            request.method,
            request.url,
            headers=request.headers.raw,
            content=content,
            extensions=request.extensions,
        )
        with self.lock:
            self.requests.append(seen)
            replies = self.routes.get(f"{request.method} {request.url.path}")
            if not replies:
                return problem(404, "not_found")
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def handle(self, request: httpx.Request) -> httpx.Response:
        reply = self._reply(request)
        if callable(reply):
            reply = reply(request)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, httpx.Response)
        return copy_of(reply)

    async def handle_async(self, request: httpx.Request) -> httpx.Response:
        reply = self._reply(request)
        if callable(reply):
            reply = reply(request)
            if inspect.isawaitable(reply):
                reply = await reply
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, httpx.Response)
        return copy_of(reply)

    def http(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.handle))

    def http_async(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle_async))


def copy_of(response: httpx.Response) -> httpx.Response:
    """An answer can be sent once; the script may say it again."""
    if not hasattr(response, "_content"):
        return response
    return httpx.Response(
        response.status_code, headers=response.headers.raw, content=response.content
    )


class SyncFace:
    """The client for threads, seen as both are seen."""

    kind = "sync"

    def __init__(self, server: Server, clock: FakeClock, **options: Any) -> None:
        options = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} | options
        self.client: Any = Marque(ISSUER, http_client=server.http(), clock=clock, **options)

    def do(self, what: Callable[[Any], Any]) -> Any:
        value = what(self.client)
        return list(value) if isinstance(value, Iterator) else value

    def items(self, what: Callable[[Any], Any]) -> list[Any]:
        return list(what(self.client))

    def settle(self) -> None:
        """Lets what is in flight land."""
        for flight in list(self.client._tokens._flights.values()):
            assert flight.land(10)

    def close(self) -> None:
        self.client.close()


class AsyncFace:
    """The client for asyncio."""

    kind = "async"

    def __init__(self, server: Server, clock: FakeClock, **options: Any) -> None:
        options = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} | options
        self.loop = asyncio.new_event_loop()
        self.client: Any = AsyncMarque(
            ISSUER, http_client=server.http_async(), clock=clock, **options
        )

    def do(self, what: Callable[[Any], Any]) -> Any:
        async def run() -> Any:
            value = what(self.client)
            if inspect.isasyncgen(value):
                return [item async for item in value]
            return await value if inspect.isawaitable(value) else value

        return self.loop.run_until_complete(run())

    def items(self, what: Callable[[Any], Any]) -> list[Any]:
        async def run() -> list[Any]:
            return [item async for item in what(self.client)]

        return self.loop.run_until_complete(run())

    def settle(self) -> None:
        async def land() -> None:
            for flight in list(self.client._tokens._flights.values()):
                assert await flight.land(10)

        self.loop.run_until_complete(land())

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


Face = SyncFace | AsyncFace


def b64(data: bytes | str) -> str:
    octets = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Issuer:
    """Signs whatever it is asked to sign, well-formed or not."""

    def __init__(self, kid: str = "key-1") -> None:
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwk(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "kid": self.kid,
            "use": "sig",
            "alg": "ES256",
            "x": b64(numbers.x.to_bytes(32, "big")),
            "y": b64(numbers.y.to_bytes(32, "big")),
        }

    def header(self, **changes: Any) -> dict[str, Any]:
        header = {"alg": "ES256", "kid": self.kid, "typ": "at+jwt"} | changes
        return {name: value for name, value in header.items() if value is not ...}

    def claims(self, **changes: Any) -> dict[str, Any]:
        claims = {
            "iss": ISSUER,
            "sub": CLIENT_ID,
            "client_id": CLIENT_ID,
            "aud": API,
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 900,
            "jti": "tok_01jzt3v0q8n4m6x2c9k7b5h1d0",
            "scope": "invoices:read invoices:write",
            "roles": ["invoice-clerk"],
            "gen": 1,
            "cred": "sec_01jzt3v0q8n4m6x2c9k7b5h1d0",
        } | changes
        return {name: value for name, value in claims.items() if value is not ...}

    def sign(self, header: bytes | str, payload: bytes | str) -> str:
        signed = b64(header) + "." + b64(payload)
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return signed + "." + b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        return self.sign(json.dumps(header or self.header()), json.dumps(self.claims(**claims)))


def key_set(*issuers: Issuer, max_age: int = 300) -> httpx.Response:
    body = {"keys": [issuer.jwk() for issuer in issuers]}
    return answer(200, body, cache_control=f"public, max-age={max_age}")
