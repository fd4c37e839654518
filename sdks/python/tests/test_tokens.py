"""The token source: every point of its written policy, for threads and for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from marque import (
    AuthenticationError,
    ConfigurationError,
    MarqueError,
    NetworkError,
    ProtocolError,
    RefreshWindows,
    Token,
)
from tests.fakes import API, CLIENT_ID, CLIENT_SECRET, Face, FakeClock, Server, answer, token_answer

TOKEN = "POST /oauth2/token"


def token(client: Any) -> Any:
    return client.token(resource=API)


def text(face: Face) -> str:
    return face.do(token).access_token.reveal()


def oauth_error(status: int, code: str, **headers: str) -> httpx.Response:
    return answer(status, {"error": code, "error_description": "because"}, **headers)


def test_a_fresh_token_comes_from_memory(face: Face, server: Server, clock: FakeClock) -> None:
    first = face.do(token)
    clock.at += 700
    assert face.do(token) is first
    assert len(server.seen(TOKEN)) == 1


def test_a_token_is_asked_for_by_audience_and_permissions(face: Face, server: Server) -> None:
    face.do(lambda c: c.token(resource=API, scopes=["b", "a"]))
    face.do(lambda c: c.token(resource=API, scopes=("a", "b")))
    face.do(lambda c: c.token(resource=API, scopes="b a"))
    assert len(server.seen(TOKEN)) == 1, "the order does not matter"
    face.do(lambda c: c.token(resource=API, scopes=["a"]))
    face.do(lambda c: c.token(scopes=["a"]))
    bodies = [r.content for r in server.seen(TOKEN)]
    assert bodies == [
        b"grant_type=client_credentials&resource=https%3A%2F%2Finvoices.example.com&scope=a+b",
        b"grant_type=client_credentials&resource=https%3A%2F%2Finvoices.example.com&scope=a",
        b"grant_type=client_credentials&scope=a",
    ]


def test_id_and_secret_are_form_encoded_in_basic(make: Callable[..., Face], server: Server) -> None:
    make(client_id="a:b c", client_secret="p%&é").do(token)
    basic = httpx.BasicAuth("a%3Ab+c", "p%25%26%C3%A9")
    request = next(basic.sync_auth_flow(httpx.Request("GET", "https://x")))
    assert server.requests[0].headers["authorization"] == request.headers["authorization"]


@pytest.mark.parametrize(
    ("lifetime", "advisory", "mandatory"), [(900, 120, 30), (60, 30, 15), (100, 50, 25)]
)
def test_windows_follow_the_lifetime(
    face: Face,
    server: Server,
    clock: FakeClock,
    lifetime: int,
    advisory: int,
    mandatory: int,
) -> None:
    start = clock.at
    server.on(TOKEN, token_answer("t1", lifetime), token_answer("t2", lifetime))
    assert text(face) == "t1"
    clock.at = start + lifetime - advisory - 1
    assert text(face) == "t1"
    assert len(server.seen(TOKEN)) == 1, "fresh until the advisory window"
    server.on(TOKEN, oauth_error(503, "temporarily_unavailable"))
    clock.at += 1
    assert text(face) == "t1", "given out while it is refreshed"
    face.settle()
    assert len(server.seen(TOKEN)) == 2
    clock.at = start + lifetime - mandatory - 0.1
    assert text(face) == "t1"
    face.settle()
    clock.at += 0.1
    with pytest.raises(AuthenticationError):
        face.do(token)


def test_a_60_s_token_is_not_refreshed_on_every_call(
    face: Face, server: Server, clock: FakeClock
) -> None:
    server.on(TOKEN, lambda _: token_answer("t", 60))
    for _ in range(120):
        face.do(token)
        face.settle()
        clock.at += 1
    assert len(server.seen(TOKEN)) == 4


def test_a_public_option_sets_both_windows(
    make: Callable[..., Face], server: Server, clock: FakeClock
) -> None:
    face = make(refresh_windows=RefreshWindows(advisory=600, mandatory=30))
    server.on(TOKEN, token_answer("t1", 100), oauth_error(503, "temporarily_unavailable"))
    assert text(face) == "t1"
    for _ in range(8):
        assert text(face) == "t1"
        face.settle()
    assert len(server.seen(TOKEN)) == 2, "one try, then it backs off"
    with pytest.raises(ConfigurationError):
        RefreshWindows(advisory=10, mandatory=20)


def test_the_background_backs_off_5_s_and_never_retries(
    face: Face, server: Server, clock: FakeClock
) -> None:
    text(face)
    clock.at += 800
    server.on(TOKEN, oauth_error(503, "temporarily_unavailable"))
    for after, count in [(0, 2), (4.9, 2), (0.1, 3), (4.9, 3), (0.1, 4)]:
        clock.at += after
        assert text(face) == "t1"
        face.settle()
        assert len(server.seen(TOKEN)) == count
    assert clock.slept == []
    server.on(TOKEN, token_answer("t2"))
    clock.at += 5
    assert text(face) == "t1"
    face.settle()
    assert text(face) == "t2"


def test_where_a_caller_waits_5xx_and_429_are_tried_again(
    face: Face, server: Server, clock: FakeClock
) -> None:
    server.on(
        TOKEN,
        oauth_error(503, "temporarily_unavailable"),
        oauth_error(429, "rate_limited", retry_after="7"),
        token_answer("t1"),
    )
    assert text(face) == "t1"
    assert len(clock.slept) == 2
    assert 0.25 <= clock.slept[0] <= 0.5
    assert clock.slept[1] == 7


def test_a_new_attempt_begins_the_lifetime_anew(
    face: Face, server: Server, clock: FakeClock
) -> None:
    server.on(TOKEN, oauth_error(429, "rate_limited", retry_after="50"), token_answer("t1", 60))
    assert face.do(token).expires_at.timestamp() == clock.at + 60


@pytest.mark.parametrize("code", ["invalid_client", "invalid_grant", "unauthorized_client"])
@pytest.mark.parametrize("status", [401, 400, 503])
def test_what_stays_wrong_is_not_tried_again(
    face: Face, server: Server, code: str, status: int
) -> None:
    server.on(TOKEN, oauth_error(status, code))
    with pytest.raises(AuthenticationError) as caught:
        face.do(token)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.request_id == "req_1"
    assert len(server.seen(TOKEN)) == 1


def test_the_error_says_whose_credential_was_refused(face: Face, server: Server) -> None:
    server.on(TOKEN, oauth_error(401, "invalid_client"))
    with pytest.raises(AuthenticationError, match=f"client {CLIENT_ID} from the constructor"):
        face.do(token)


def test_what_is_unreachable_is_told_as_such(face: Face, server: Server) -> None:
    server.on(TOKEN, httpx.ConnectError("refused"))
    with pytest.raises(NetworkError):
        face.do(token)
    assert len(server.seen(TOKEN)) == 3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (token_answer(expires_in=0), AuthenticationError),
        (token_answer(expires_in=-5), AuthenticationError),
        (token_answer(expires_in=1e300), AuthenticationError),
        (token_answer(token_type="mac"), AuthenticationError),
        (token_answer(token_type="N_A"), AuthenticationError),
        (token_answer(token_type=None), ProtocolError),
        (token_answer(expires_in="900"), ProtocolError),
        (token_answer(expires_in=True), ProtocolError),
        (token_answer(""), ProtocolError),
        (token_answer("a b"), ProtocolError),
        (token_answer("a\r\nX: y"), ProtocolError),
        (token_answer("é"), ProtocolError),
        (answer(200, {}), ProtocolError),
        (answer(200, []), ProtocolError),
        (httpx.Response(200, html="<html>"), ProtocolError),
        (answer(200, {"access_token": "x" * (1 << 20)}), ProtocolError),
        (answer(302, None, location="https://evil.example/"), ProtocolError),
    ],
)
def test_an_answer_without_a_token_of_use_is_refused(
    face: Face, server: Server, reply: httpx.Response, kind: type[MarqueError]
) -> None:
    server.on(TOKEN, reply)
    with pytest.raises(kind) as caught:
        face.do(token)
    assert caught.value.status in (200, 302)
    server.on(TOKEN, token_answer("good"))
    assert text(face) == "good", "nothing of it is kept"


def test_the_type_is_compared_without_case(face: Face, server: Server) -> None:
    server.on(TOKEN, token_answer("t", token_type="bearer"))
    assert text(face) == "t"


def test_a_refused_token_is_dropped_and_no_newer_one(face: Face, server: Server) -> None:
    server.on(TOKEN, token_answer("t1"), token_answer("t2"))
    old = face.do(token)
    source, want = face.client._tokens, next(iter(face.client._tokens._tokens))
    source.drop(want, old)
    new = face.do(token)
    assert new.access_token.reveal() == "t2"
    source.drop(want, old)
    assert face.do(token) is new


def test_a_secret_file_is_read_at_each_use(
    make: Callable[..., Face], server: Server, clock: FakeClock, tmp_path: Any
) -> None:
    file = tmp_path / "secret"
    file.write_text("first\n")
    face = make(client_secret=None, client_secret_file=file)
    face.do(token)
    file.write_text("second\n")
    clock.at += 890
    face.do(token)
    first, second = [r.headers["authorization"] for r in server.seen(TOKEN)]
    assert first != second
    file.unlink()
    clock.at += 890
    with pytest.raises(ConfigurationError, match=r"secret file .*secret from the constructor"):
        face.do(token)


def test_a_token_shows_neither_itself_nor_its_secret(face: Face, server: Server) -> None:
    server.on(TOKEN, token_answer("topsecret"))
    got = face.do(token)
    assert isinstance(got, Token)
    shown = f"{got} {got!r} {got.access_token} {got.access_token!r} {face.client!r}"
    assert "topsecret" not in shown
    assert CLIENT_SECRET not in shown
    assert got.expires_at.tzinfo is not None
