"""Following what is revoked: both followers, on a scripted feed and a clock that stands still."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from marque import (
    APIError,
    AsyncMarque,
    AsyncVerifier,
    ConfigurationError,
    Marque,
    MarqueError,
    RequestTimeoutError,
    RevocationsStaleError,
    VerificationError,
    Verifier,
    wsgi,
)
from marque._events import MAX_EVENT, EventParser
from marque._follower import _interrupt
from tests.fakes import (
    API,
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    NOW,
    FakeClock,
    Issuer,
    Server,
    answer,
    key_set,
    problem,
    token_answer,
)

FEED = "GET /v1/revocations/feed"
SNAPSHOT = "GET /v1/revocations/snapshot"
JWKS = "GET /.well-known/jwks.json"


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, timezone.utc).isoformat()


def snapshot(position: str = "10", **members: Any) -> httpx.Response:
    body = {"position": position, "at": at(0)}
    lists = {name: [] for name in ("service_accounts", "credentials", "signing_keys", "tokens")}
    return answer(200, body | lists | members)


def event(name: str, data: Any, position: str | None) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    head = "" if position is None else f"id: {position}\n"
    return f"{head}event: {name}\ndata: {text}\n\n".encode()


def hello(position: str = "10", **change: Any) -> bytes:
    said = {"position": position, "heartbeat": 5, "retry": 700} | change
    return b"retry: 700\n" + event("hello", said, position)


def beat(position: str = "10") -> bytes:
    return event("heartbeat", {"position": position}, position)


def revoked(position: str, kind: str, name: str, ends: float = 900, **more: Any) -> bytes:
    said = {"kind": kind, "id": name, "revoked_at": at(0), "expires_at": at(ends)} | more
    return event("revoked", said, position)


class Wire(httpx.SyncByteStream, httpx.AsyncByteStream):
    """What a feed says, piece by piece. `None` ends it, an exception breaks it."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.pieces: Any = asyncio.Queue() if loop else queue.Queue()
        self.heard: Any = asyncio.Queue() if loop else queue.Queue()
        self.closed = threading.Event()

    def _piece(self, piece: Any) -> bytes | None:
        if isinstance(piece, Exception):
            raise piece
        return piece

    def __iter__(self) -> Iterator[bytes]:
        while True:
            piece = self.pieces.get()
            try:
                if (octets := self._piece(piece)) is None:
                    return
                yield octets
            finally:
                self.heard.put_nowait(piece)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            piece = await self.pieces.get()
            try:
                if (octets := self._piece(piece)) is None:
                    return
                yield octets
            finally:
                self.heard.put_nowait(piece)

    def close(self) -> None:
        self.closed.set()
        self.pieces.put(None)

    async def aclose(self) -> None:
        self.closed.set()


class Rig:
    """A client, a follower and a verifier of either sort."""

    def __init__(self, kind: str, server: Server, clock: FakeClock, issuer: Issuer) -> None:
        self.loop = asyncio.new_event_loop() if kind == "async" else None
        self.server, self.clock, self.issuer = server, clock, issuer
        self.opened: Any = asyncio.Queue() if self.loop else queue.Queue()
        self.client: Any = None
        server.on(FEED, self.open).on(SNAPSHOT, snapshot()).on(JWKS, key_set(issuer))

    def open(self, request: httpx.Request) -> httpx.Response:
        wire = Wire(self.loop)
        self.opened.put_nowait((request, wire))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=wire)

    def begin(self, logger: logging.Logger | None = None, **options: Any) -> Rig:
        credential = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        more: Any = {"clock": self.clock, "logger": logger} | credential
        if self.loop is None:
            http: Any = self.server.http()
            self.client = Marque(ISSUER, http_client=http, **more)
            self.follower: Any = self.client.follow_revocations(**options)
            self.verifier: Any = Verifier(
                ISSUER, http_client=http, clock=self.clock, revocations=self.follower
            )
        else:
            http = self.server.http_async()
            self.client = AsyncMarque(ISSUER, http_client=http, **more)
            self.follower = self.client.follow_revocations(**options)
            self.verifier = AsyncVerifier(
                ISSUER, http_client=http, clock=self.clock, revocations=self.follower
            )
        return self

    def run(self, what: Any) -> Any:
        async def within() -> Any:
            return await asyncio.wait_for(what, 10)

        return what if self.loop is None else self.loop.run_until_complete(within())

    def ready(self, seconds: float = 10.0) -> None:
        self.run(self.follower.wait_ready(seconds))

    def stream(self) -> tuple[httpx.Request, Wire]:
        """The next stream that is opened, and with which request."""
        if self.loop is None:
            return self.opened.get(timeout=10)
        self.follower.start() if self.follower._task else self.run(self._start())
        return self.run(self.opened.get())

    async def _start(self) -> None:
        self.follower.start()
        await asyncio.sleep(0)

    def say(self, wire: Wire, *pieces: Any) -> None:
        """Returns when it has been heard."""
        for piece in pieces:
            wire.pieces.put_nowait(piece)
        for _ in pieces:
            wire.heard.get(timeout=10) if self.loop is None else self.run(wire.heard.get())

    def until(self, holds: Callable[[], bool]) -> None:
        """Lets the follower work until something holds."""
        tick = threading.Event()
        for _ in range(2000):
            if holds():
                return
            if self.loop is None:
                tick.wait(0.005)
            else:
                self.run(self._start())
        raise AssertionError("it never came")

    def verdict(self, **claims: Any) -> str:
        token = self.issuer.token(**claims)
        found: set[str] = set()
        for _ in ("signature", "cache"):
            try:
                self.run(self.verifier.verify(token, audience=API))
                found.add("good")
            except VerificationError as error:
                found.add(error.reason)
            except RevocationsStaleError as error:
                found.add(error.kind)
        (only,) = found
        return only

    def close(self) -> None:
        if self.client is None:
            return
        if self.loop is None:
            self.client.close()
            assert not self.follower._thread.is_alive()
        else:
            self.run(self.client.aclose())
            assert not asyncio.all_tasks(self.loop)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


@pytest.fixture(params=["sync", "async"])
def rig(
    request: pytest.FixtureRequest, server: Server, clock: FakeClock, issuer: Issuer
) -> Iterator[Rig]:
    made = Rig(request.param, server, clock, issuer)
    yield made
    made.close()


def test_a_snapshot_is_followed_by_deltas(rig: Rig) -> None:
    rig.server.on(
        SNAPSHOT,
        snapshot(
            service_accounts=[{"id": "sa_old", "gen": 4, "expires_at": at(900)}],
            credentials=[{"id": "sec_old", "expires_at": at(900)}],
            tokens=[{"ids": ["tok_a", "tok_b"], "expires_at": at(900)}],
        ),
    )
    rig.begin(audience=API)
    request, wire = rig.stream()
    assert request.headers["last-event-id"] == "10"
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["authorization"] == "Bearer t1"
    assert request.url.params["audience"] == API
    assert rig.server.seen(SNAPSHOT)[0].url.params["audience"] == API
    assert rig.verdict() == "good"
    assert rig.verdict(jti="tok_b") == "revoked"
    assert rig.verdict(client_id="sa_old", gen=3) == "revoked"
    assert rig.verdict(cred="sec_old") == "revoked"

    rig.say(wire, hello(), revoked("11", "token", "tok_x"))
    assert rig.verdict(jti="tok_x") == "revoked"
    rig.say(wire, revoked("12", "service_account", CLIENT_ID, gen=1))
    assert rig.verdict() == "good"
    assert rig.verdict(gen=0) == "revoked"
    assert rig.verdict(gen=...) == "revoked"
    rig.say(wire, revoked("13", "service_account", CLIENT_ID, gen=0))
    assert rig.verdict(gen=0) == "revoked"
    rig.say(wire, revoked("14", "credential", "sec_2"))
    assert rig.verdict(cred="sec_2") == "revoked"
    assert rig.verdict() == "good"
    rig.say(wire, revoked("15", "signing_key", rig.issuer.kid))
    assert rig.verdict() == "revoked"
    state = rig.follower.state()
    assert (state.position, state.stale, state.error, state.revoked) == ("15", False, None, 8)


def test_a_cut_stream_is_resumed_where_it_was(rig: Rig) -> None:
    rig.begin()
    _, wire = rig.stream()
    rig.say(wire, hello(), beat("12"), revoked("13", "token", "tok_x"))
    rig.say(wire, httpx.ReadError("reset by peer"))
    request, wire = rig.stream()
    assert request.headers["last-event-id"] == "13"
    rig.clock.slept.clear()
    rig.say(wire, hello("13"), beat("13"), None)
    request, wire = rig.stream()
    assert (request.headers["last-event-id"], rig.clock.slept) == ("13", [0.7])
    assert len(rig.server.seen(SNAPSHOT)) == 1
    assert rig.verdict(jti="tok_x") == "revoked"


def test_a_reset_is_answered_with_a_snapshot(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.server.on(SNAPSHOT, snapshot(), snapshot("9"))
    rig.begin(logging.getLogger("marque.test"))
    _, wire = rig.stream()
    rig.say(wire, hello(), revoked("11", "token", "tok_x"))
    rig.say(wire, event("reset", {"position": "9"}, None))
    request, wire = rig.stream()
    assert request.headers["last-event-id"] == "9"
    assert len(rig.server.seen(SNAPSHOT)) == 2
    assert not any(rig.clock.slept)
    assert rig.verdict(jti="tok_x") == "revoked", "what another node knew already"
    assert "marque revocations are read anew" in caplog.text
    said = {"position": "9", "heartbeat": 5, "retry": 700}
    rig.say(wire, event("hello", said, None) + event("reset", {"position": "9"}, None))
    rig.stream()
    assert len(rig.server.seen(SNAPSHOT)) == 3
    assert any(rig.clock.slept), "a second one in a row waits"


def test_without_a_heartbeat_nothing_is_known(rig: Rig) -> None:
    rig.begin()
    _, wire = rig.stream()
    rig.say(wire, hello(), beat())
    rig.clock.at += 29.9
    assert rig.verdict() == "good"
    rig.clock.at += 0.1
    assert rig.verdict() == "stale"
    with pytest.raises(RevocationsStaleError) as caught:
        rig.run(rig.verifier.verify(rig.issuer.token(), audience=API))
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert caught.value.retry_after
    with pytest.raises(VerificationError):
        rig.run(rig.verifier.verify("x", audience=API))
    assert rig.follower.state().stale
    # What comes out of the same connection now may have waited in it.
    rig.say(wire, revoked("11", "token", "tok_x"))
    assert rig.verdict(jti="tok_x") == "revoked"
    rig.say(wire, beat("11"))
    assert rig.verdict() == "stale"
    request, wire = rig.stream()
    assert request.headers["last-event-id"] == "11"
    rig.say(wire, hello("11"))
    assert rig.verdict() == "stale"
    rig.say(wire, beat("11"))
    assert rig.verdict() == "good"
    assert rig.follower.state().error is None


def test_a_silent_stream_is_given_up(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.begin(logging.getLogger("marque.test"), stale_after=60.0)
    request, wire = rig.stream()
    timeout = request.extensions["timeout"]["read"]
    assert timeout == 20, "before what is known is stale"
    rig.say(wire, hello(), beat())
    # From here on any silence is too long.
    rig.follower._stale_after = rig.follower.heartbeat = 0.0
    rig.say(wire, httpx.ReadTimeout("nothing comes"))
    _, wire = rig.stream()
    assert "no heartbeat" in caplog.text
    if rig.loop is None:  # alive, but cut off from the others
        rig.say(wire, b": no heartbeat\n\n")
    rig.stream()


def test_a_follower_may_fail_open(rig: Rig) -> None:
    rig.begin(fail_open=True, stale_after=10.0)
    _, wire = rig.stream()
    rig.say(wire, hello(), revoked("11", "token", "tok_x"))
    rig.clock.at += 60
    assert rig.verdict() == "good"
    assert rig.verdict(jti="tok_x") == "revoked"
    assert rig.follower.state().stale


@pytest.mark.parametrize(("fail_open", "expected"), [(False, "stale"), (True, "good")])
def test_before_the_first_snapshot_nothing_is_known(
    rig: Rig, fail_open: bool, expected: str
) -> None:
    gate = threading.Event()

    def later(_: httpx.Request) -> httpx.Response:
        return snapshot() if gate.is_set() else problem(503, "unavailable", retry_after="20")

    rig.server.on(SNAPSHOT, later)
    rig.begin(fail_open=fail_open)
    assert rig.verdict(exp=NOW + 10**6) == expected, "whatever the clock is moved by"
    rig.until(lambda: 20.0 in rig.clock.slept)
    with pytest.raises(RequestTimeoutError, match="503 unavailable"):
        rig.ready(0.01)
    gate.set()
    rig.ready()
    rig.clock.at = NOW
    rig.stream()


def test_a_lacking_permission_is_said(rig: Rig) -> None:
    rig.server.on(SNAPSHOT, problem(403, "insufficient_scope"))
    rig.begin()
    rig.until(lambda: rig.follower.state().error is not None)
    error = rig.follower.state().error
    assert isinstance(error, APIError)
    assert error.code == "insufficient_scope"


ENTRY = {"kind": "token", "id": "tok_x", "revoked_at": at(0), "expires_at": at(900)}


@pytest.mark.parametrize(
    "said",
    [
        event("revoked", "{", "11"),
        event("revoked", "[]", "11"),
        event("revoked", {k: v for k, v in ENTRY.items() if k != "id"}, "11"),
        event("revoked", {k: v for k, v in ENTRY.items() if k != "expires_at"}, "11"),
        event("revoked", ENTRY | {"kind": "service_account"}, "11"),
        event("revoked", ENTRY | {"kind": "service_account", "gen": True}, "11"),
        event("revoked", ENTRY, None),
        event("heartbeat", {"position": "1x"}, "1x"),
        event("heartbeat", {"position": "12"}, "11"),
        event("heartbeat", {"position": "9"}, "9"),
        event("hello", {"position": "12", "heartbeat": 5, "retry": 700}, "12"),
        event("hello", {"position": "10", "retry": 700}, "10"),
        b"id: 11\nevent: revoked\ndata: " + b"x" * MAX_EVENT,
    ],
)
def test_what_cannot_be_understood_is_read_anew(
    rig: Rig, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    rig.server.on(SNAPSHOT, snapshot(), snapshot("20"))
    rig.begin(logging.getLogger("marque.test"))
    _, wire = rig.stream()
    rig.say(wire, hello())
    rig.say(wire, said)
    request, _ = rig.stream()
    assert request.headers["last-event-id"] == "20"
    assert "marque revocations are not followed" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_nothing_counts_before_the_stream_has_begun(rig: Rig) -> None:
    rig.begin()
    _, wire = rig.stream()
    rig.say(wire, beat())
    rig.stream()
    assert len(rig.server.seen(SNAPSHOT)) == 2


@pytest.mark.parametrize(
    "body",
    [
        answer(200, {"position": "1", "service_accounts": [], "credentials": [], "tokens": []}),
        snapshot(""),
        snapshot("01"),
        snapshot(service_accounts=[{"id": "sa_1", "expires_at": at(9)}]),
        snapshot(credentials=[{"id": "sec_1"}]),
        snapshot(tokens=[{"ids": "tok_1", "expires_at": at(9)}]),
        snapshot(signing_keys=None),
        answer(200, []),
    ],
)
def test_a_snapshot_that_is_not_whole_is_none(rig: Rig, body: httpx.Response) -> None:
    rig.server.on(SNAPSHOT, body)
    rig.begin()
    rig.until(lambda: rig.follower.state().error is not None)
    assert rig.verdict(exp=NOW + 10**6) == "stale"
    assert rig.server.seen(FEED) == []


def test_what_is_of_a_later_release_is_passed_over(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.begin(logging.getLogger("marque.test"))
    _, wire = rig.stream()
    rig.say(wire, hello(), event("weather", "rain", None), revoked("11", "planet", "earth"))
    rig.say(wire, revoked("12", "token", "tok_x"))
    assert rig.verdict(jti="tok_x") == "revoked"
    assert rig.follower.state().position == "12"
    assert "of the kind 'planet' are not known" in caplog.text


def test_events_may_come_in_pieces(rig: Rig) -> None:
    rig.begin()
    _, wire = rig.stream()
    text = (
        '\ufeff: welcome\r\nid: 10\r\nevent: hello\r\ndata: {"position":"10",\r\n'
        'data: "heartbeat":5,"retry":700}\r\n\r\n'
        f"id:11\revent:revoked\rdata:{json.dumps(ENTRY)}\r\r"
    ).encode()
    rig.say(wire, *(text[i : i + 1] for i in range(len(text))))
    assert rig.verdict(jti="tok_x") == "revoked"


def test_a_stream_that_is_only_comments_has_no_events() -> None:
    parser = EventParser()
    assert parser.feed(b": a\n\n: b\n\nretry: 5\n\n" * 10_000) == []
    assert parser.retry == 0.005


def test_a_stream_outlives_its_token(rig: Rig) -> None:
    rig.server.on("POST /oauth2/token", token_answer("t1", 900), token_answer("t2", 900))
    rig.begin(stale_after=3600.0)
    _, wire = rig.stream()
    rig.say(wire, hello(), beat())
    rig.clock.at += 901
    rig.say(wire, None)
    request, _ = rig.stream()
    assert request.headers["authorization"] == "Bearer t2"
    assert request.headers["last-event-id"] == "10"
    assert not any(rig.clock.slept), "there is no gap"


def test_a_refused_token_is_replaced_once(rig: Rig) -> None:
    rig.server.on("POST /oauth2/token", token_answer("t1"), token_answer("t2"))
    rig.server.on(FEED, problem(401, "invalid_token"), rig.open)
    rig.begin()
    request, _ = rig.stream()
    assert request.headers["authorization"] == "Bearer t2"


def test_what_has_ended_is_forgotten(rig: Rig) -> None:
    rig.begin(stale_after=7200.0)
    _, wire = rig.stream()
    rig.say(wire, hello(), revoked("11", "token", "tok_x"))
    rig.say(wire, revoked("12", "service_account", "sa_x", gen=2))
    rig.clock.at += 890
    rig.say(wire, revoked("13", "service_account", "sa_x", 1800, gen=3), beat("13"))
    assert rig.follower.state().revoked == 2
    rig.clock.at += 100
    rig.say(wire, beat("13"))
    assert rig.follower.state().revoked == 1
    rig.clock.at += 900
    rig.say(wire, beat("13"))
    assert rig.follower.state().revoked == 0
    assert not rig.follower._revoked._ends


def test_close_ends_everything(rig: Rig) -> None:
    rig.begin()
    _, wire = rig.stream()
    rig.say(wire, hello(), beat())
    close = rig.follower.close if rig.loop is None else rig.follower.aclose
    rig.run(close())
    rig.run(close())
    assert wire.closed.is_set()
    assert rig.verdict() == "stale"
    assert rig.follower.state().stale


def test_who_waits_hears_of_the_close(server: Server, clock: FakeClock, issuer: Issuer) -> None:
    rig = Rig("sync", server, clock, issuer)
    server.on(SNAPSHOT, problem(403, "insufficient_scope"))
    rig.begin()
    rig.follower.close()
    with pytest.raises(ConfigurationError, match="closed"):
        rig.ready()
    rig.close()


def test_a_hook_that_raises_does_not_end_the_following(
    server: Server, clock: FakeClock, issuer: Issuer
) -> None:
    rig = Rig("sync", server, clock, issuer)
    begun = threading.Event()
    done = threading.Event()

    def raises(_: httpx.Request) -> httpx.Response:
        begun.set()
        if done.is_set():
            return rig.open(_)
        raise LookupError("of the caller's own")

    server.on(FEED, raises)
    rig.begin()
    assert begun.wait(10)
    rig.until(lambda: rig.follower.state().error is not None)
    error = rig.follower.state().error
    assert isinstance(error, MarqueError)
    assert "LookupError" in error.message
    done.set()
    rig.stream()
    rig.close()


def test_waiting_in_the_constructor(server: Server, clock: FakeClock, issuer: Issuer) -> None:
    rig = Rig("sync", server, clock, issuer)
    rig.begin(wait=10.0)
    assert rig.follower.state().position == "10"
    rig.close()
    server.on(SNAPSHOT, problem(403, "insufficient_scope"))
    before = threading.active_count()
    with pytest.raises(RequestTimeoutError, match="insufficient_scope"):
        rig.begin(wait=0.05)
    assert threading.active_count() <= before
    rig.client.close()


def test_a_blocked_read_is_interrupted() -> None:
    import socket

    near, far = socket.socketpair()

    class Network:
        def get_extra_info(self, name: str) -> Any:
            return near if name == "socket" else None

    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(near.recv(1)))
    reader.start()
    _interrupt(httpx.Response(200, extensions={"network_stream": Network()}))
    reader.join(10)
    assert read == [b""]
    far.close()
    near.close()


def test_the_middleware_answers_503(server: Server, clock: FakeClock, issuer: Issuer) -> None:
    rig = Rig("sync", server, clock, issuer).begin()
    _, wire = rig.stream()
    rig.say(wire, hello(), beat())
    clock.at += 30
    app = wsgi.BearerMiddleware(lambda _, __: [b"in"], verifier=rig.verifier, audience=API)
    answers: list[Any] = []
    environ = {"HTTP_AUTHORIZATION": f"Bearer {issuer.token()}"}
    body = b"".join(app(environ, lambda *given: answers.append(given)))
    ((status, headers),) = answers
    assert status.startswith("503 ")
    assert dict(headers)["Retry-After"] == "5"
    assert "WWW-Authenticate" not in dict(headers)
    assert json.loads(body)["code"] == "unavailable"
    rig.close()
