"""Prints what the SDK costs: a cached token, a verification, an import.

    .venv/bin/python bench/bench.py

Medians of several runs on this machine; ratios carry over, absolute figures do not.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from marque import AsyncMarque, Marque, SystemClock, Verifier
from marque._verify.following import Following
from marque._verify.revoked import Snapshot

ISSUER = "https://auth.example.com"
API = "https://invoices.example.com"
RUNS = 7


def measured(what: Callable[[int], None], count: int) -> float:
    """Microseconds of one of `count`, the median of several runs."""
    runs: list[float] = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        what(count)
        runs.append((time.perf_counter() - begun) / count * 1e6)
    return statistics.median(runs)


def paired(one: Callable[[int], None], other: Callable[[int], None], count: int) -> list[float]:
    """Both, run by turns, so that a noisy moment hits both."""
    ones, others = [measured_once(one, count)], [measured_once(other, count)]
    for _ in range(RUNS * 3):
        ones.append(measured_once(one, count))
        others.append(measured_once(other, count))
    return [min(ones), min(others)]


def measured_once(what: Callable[[int], None], count: int) -> float:
    begun = time.perf_counter()
    what(count)
    return (time.perf_counter() - begun) / count * 1e6


def line(name: str, value: str, note: str = "") -> None:
    print(f"python  {name:<44} {value:>12}  {note}")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def issuer() -> tuple[ec.EllipticCurvePrivateKey, dict[str, Any]]:
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "kid": "key-1",
        "alg": "ES256",
        "use": "sig",
        "x": b64(numbers.x.to_bytes(32, "big")),
        "y": b64(numbers.y.to_bytes(32, "big")),
    }
    return key, jwk


def minted(key: ec.EllipticCurvePrivateKey, number: int) -> tuple[str, bytes, bytes]:
    """A token like those of Marque; its signature in DER and what is signed."""
    now = int(time.time())
    account = "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"
    claims = {
        "iss": ISSUER,
        "sub": account,
        "client_id": account,
        "aud": API,
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "jti": f"tok_{number:026d}",
        "scope": "invoices:read invoices:write",
        "roles": ["invoice-clerk"],
        "gen": 1,
        "cred": "sec_01jzt3v0q8n4m6x2c9k7b5h1d0",
    }
    header = b64(b'{"alg":"ES256","kid":"key-1","typ":"at+jwt"}')
    signed = f"{header}.{b64(json.dumps(claims).encode())}"
    der = key.sign(signed.encode(), ec.ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}", der, signed.encode()


def server(jwk: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            token = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600, "scope": ""}
            return httpx.Response(200, json=token)
        return httpx.Response(200, json={"keys": [jwk]})

    return handle


def tokens(handle: Callable[[httpx.Request], httpx.Response]) -> None:
    http = httpx.Client(transport=httpx.MockTransport(handle))
    client = Marque(ISSUER, client_id="a", client_secret="b", http_client=http)
    client.token(resource=API)

    def sync(count: int) -> None:
        for _ in range(count):
            client.token(resource=API)

    line("cached token, threads", f"{measured(sync, 20_000):.2f} us")

    async def run() -> float:
        transport = httpx.MockTransport(handle)
        async with httpx.AsyncClient(transport=transport) as http:
            other = AsyncMarque(ISSUER, client_id="a", client_secret="b", http_client=http)
            await other.token(resource=API)
            begun = time.perf_counter()
            for _ in range(20_000):
                await other.token(resource=API)
            return (time.perf_counter() - begun) / 20_000 * 1e6

    line("cached token, asyncio", f"{asyncio.run(run()):.2f} us")


def verification(
    key: ec.EllipticCurvePrivateKey, handle: Callable[[httpx.Request], httpx.Response]
) -> None:
    some = [minted(key, number) for number in range(1000)]
    public, algorithm = key.public_key(), ec.ECDSA(SHA256())
    http = httpx.Client(transport=httpx.MockTransport(handle))
    fresh = Verifier(ISSUER, http_client=http, cache_size=0)
    cached = Verifier(ISSUER, http_client=http)
    cached.verify(some[0][0], audience=API)

    def raw(count: int) -> None:
        for number in range(count):
            _, der, signed = some[number]
            public.verify(der, signed, algorithm)

    def verify(count: int) -> None:
        for number in range(count):
            fresh.verify(some[number][0], audience=API)

    def again(count: int) -> None:
        for _ in range(count):
            cached.verify(some[0][0], audience=API)

    bare, whole = paired(raw, verify, len(some))
    line("ES256, cryptography alone", f"{bare:.1f} us")
    note = f"{whole / bare - 1:+.0%} over the signature check"
    line("verification of a token", f"{whole:.1f} us", note)
    following = Verifier(ISSUER, http_client=http, revocations=known())
    following.verify(some[0][0], audience=API)

    def follow(count: int) -> None:
        for _ in range(count):
            following.verify(some[0][0], audience=API)

    alone, more = paired(again, follow, 5_000)
    line("verification of a token that was seen", f"{alone:.1f} us")
    note = f"{more - alone:+.1f} us for 100,000 revocations"
    line("the same, following what is revoked", f"{more:.1f} us", note)


def known() -> Following:
    """What a follower knows when 100,000 things are revoked."""
    thing = {"revoked_at": "2000-01-01T00:00:00Z", "expires_at": "2100-01-01T00:00:00Z"}
    ids = [f"tok_{number:026d}" for number in range(100_000, 200_000)]
    said = {
        "position": "1",
        "service_accounts": [{"id": "sa_1", "gen": 2} | thing],
        "credentials": [{"id": "sec_1"} | thing],
        "signing_keys": [{"id": "key_1"} | thing],
        "tokens": [{"ids": ids} | thing],
    }
    following = Following(SystemClock(), 3600.0, False, None, lambda: 0.0)
    following.take_snapshot(Snapshot(said), following.moment())
    return following


def spent(code: str) -> float:
    """Milliseconds of processor time that a program takes, the least of several runs."""
    runs: list[float] = []
    for _ in range(RUNS + 4):
        process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
        _, status, used = os.wait4(process, 0)
        assert status == 0
        runs.append(used.ru_utime + used.ru_stime)
    return min(runs) * 1e3


def imports() -> None:
    base = spent("import httpx")
    for name in ("Marque", "AsyncMarque", "Verifier"):
        extra = spent(f"import httpx\nfrom marque import {name}") - base
        line(f"import of {name}, over httpx", f"{extra:.0f} ms", f"httpx itself: {base:.0f} ms")


def main() -> None:
    key, jwk = issuer()
    handle = server(jwk)
    tokens(handle)
    verification(key, handle)
    imports()


if __name__ == "__main__":
    main()
