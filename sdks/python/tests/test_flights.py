"""Many callers and one request in flight, which belongs to none of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from marque import AsyncMarque, AuthenticationError, Marque, RequestTimeoutError
from tests.fakes import (
    API,
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    FakeClock,
    Server,
    answer,
    token_answer,
)

TOKEN = "POST /oauth2/token"
CALLERS = 1000


class Crowd(FakeClock):
    """Knows how many threads have asked what time it is, which is the first thing they do."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.here = threading.Condition()

    def now(self) -> float:
        with self.here:
            self.threads.add(threading.get_ident())
            self.here.notify_all()
        return self.at

    def wait_for(self, count: int) -> None:
        with self.here:
            assert self.here.wait_for(lambda: len(self.threads) >= count, timeout=60)


def test_a_thousand_threads_make_one_request_though_the_first_gives_up() -> None:
    clock, server, results = Crowd(), Server(), list[Any]()
    release = threading.Event()

    def slow(_: httpx.Request) -> httpx.Response:
        clock.wait_for(CALLERS + 2)  # all callers, the impatient first one, and this flight
        release.wait(60)
        return token_answer("t1")

    server.on(TOKEN, slow)
    client = Marque(
        ISSUER,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        http_client=server.http(),
        clock=clock,
    )
    with pytest.raises(RequestTimeoutError, match=r"has not arrived in 0.001 s"):
        client.token(resource=API, timeout=0.001)

    def call() -> None:
        results.append(client.token(resource=API, timeout=60))

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    clock.wait_for(CALLERS + 2)
    release.set()
    for thread in threads:
        thread.join(60)
    assert len(results) == CALLERS
    assert len({id(token) for token in results}) == 1
    assert len(server.seen(TOKEN)) == 1
    client.close()


def async_client(server: Server) -> AsyncMarque:
    return AsyncMarque(
        ISSUER,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        http_client=server.http_async(),
        clock=FakeClock(),
    )


def test_a_thousand_tasks_make_one_request_though_the_first_is_cancelled() -> None:
    server = Server()

    async def run() -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def slow(_: httpx.Request) -> httpx.Response:
            begun.set()
            await release.wait()
            return token_answer("t1")

        server.on(TOKEN, slow)
        async with async_client(server) as client:
            leader = asyncio.create_task(client.token(resource=API))
            await begun.wait()
            with pytest.raises(RequestTimeoutError, match=r"has not arrived in 0.001 s"):
                await client.token(resource=API, timeout=0.001)
            peers = [asyncio.create_task(client.token(resource=API)) for _ in range(CALLERS)]
            await asyncio.sleep(0)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            release.set()
            tokens = await asyncio.gather(*peers)
            assert len({id(token) for token in tokens}) == 1

    asyncio.run(run())
    assert len(server.seen(TOKEN)) == 1


def test_all_who_wait_hear_of_the_failure() -> None:
    server = Server()
    server.on(TOKEN, answer(401, {"error": "invalid_client"}))

    async def run() -> list[Any]:
        async with async_client(server) as client:
            callers = [client.token(resource=API) for _ in range(20)]
            return await asyncio.gather(*callers, return_exceptions=True)

    results = asyncio.run(run())
    assert all(isinstance(result, AuthenticationError) for result in results)
    assert len(server.seen(TOKEN)) == 1


def test_a_caller_that_joins_a_background_refresh_makes_it_try_again() -> None:
    server, clock = Server(), FakeClock()

    async def run() -> None:
        joined = asyncio.Event()

        async def fail(_: httpx.Request) -> httpx.Response:
            await joined.wait()
            return answer(503, {"error": "temporarily_unavailable"})

        async with async_client(server) as client:
            client._tokens._now = clock.now  # pyright: ignore[reportAttributeAccessIssue]
            await client.token(resource=API)
            server.on(TOKEN, fail, token_answer("t2"))
            clock.at += 800
            assert (await client.token(resource=API)).access_token.reveal() == "t1"
            clock.at += 90  # into the mandatory window, while the refresh is in flight
            caller = asyncio.create_task(client.token(resource=API))
            await asyncio.sleep(0)
            joined.set()
            assert (await caller).access_token.reveal() == "t2"

    asyncio.run(run())
    assert len(server.seen(TOKEN)) == 3


def test_closing_ends_what_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marque._token_source.LANDING", 0.001)
    server = Server()

    async def run() -> None:
        never = asyncio.Event()

        async def hang(_: httpx.Request) -> httpx.Response:
            await never.wait()
            raise AssertionError

        server.on(TOKEN, hang)
        client = async_client(server)
        caller = asyncio.create_task(client.token(resource=API))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(run())
