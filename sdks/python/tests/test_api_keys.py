"""Sign-in by API key: what is sent, what is not, and what is said."""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from marque import (
    APIError,
    APIKeyCredential,
    AsyncMarque,
    Attempt,
    AuthenticationError,
    ClientSecretCredential,
    ConfigurationError,
    Hooks,
    Marque,
    MarqueError,
    Secret,
)
from tests.fakes import (
    API,
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    Face,
    FakeClock,
    Server,
    SyncFace,
    answer,
    problem,
    token_answer,
)
from tests.test_secrets import traces

KEY = "mqk_ThisIsTheKeyOne0123456789abcdefghijklmnopqr0oYG3u"
OTHER_KEY = "mqk_ThisIsTheKeyTwo0123456789abcdefghijklmnopqr3Q45bU"
LOGIN = "POST /v1/login"
WHOAMI = "GET /v1/whoami"
BY_KEY = {"client_id": None, "client_secret": None, "api_key": KEY}


def token(client: Any) -> Any:
    return client.token(resource=API)


def bodies(server: Server) -> list[Any]:
    return [json.loads(request.content) for request in server.seen(LOGIN)]


@pytest.fixture
def keyed(make: Callable[..., Face], server: Server) -> Face:
    server.on(LOGIN, token_answer("t1"), token_answer("t2"))
    return make(**BY_KEY)


def test_a_key_gets_a_token_and_is_in_no_other_request(keyed: Face, server: Server) -> None:
    server.on("POST /oauth2/introspect", answer(200, {"active": False}))
    keyed.do(lambda c: c.token(resource=API, scopes=["b", "a"]))
    for _ in range(2):
        assert keyed.do(lambda c: c.tokens.introspect(token="a-token")).active is False
    assert bodies(server) == [
        {"api_key": KEY, "resource": API, "scope": "a b"},
        {"api_key": KEY, "resource": "urn:marque:management"},
    ]
    for request in server.seen(LOGIN):
        assert request.headers["content-type"] == "application/json"
        assert "authorization" not in request.headers
        assert "idempotency-key" not in request.headers
        assert str(request.url) == ISSUER + "/v1/login"
    others = [r for r in server.requests if r.url.path != "/v1/login"]
    assert [r.headers["authorization"] for r in others] == ["Bearer t2", "Bearer t2"]
    assert all(KEY not in f"{r.url}{r.headers.raw!r}{r.content!r}" for r in others)


def test_many_threads_sign_in_once(server: Server, clock: FakeClock) -> None:
    face = SyncFace(server.on(LOGIN, token_answer("t1")), clock, **BY_KEY)
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda _: face.client.token(), range(200)))
    assert {t.access_token.reveal() for t in got} == {"t1"}
    assert len(server.requests) == 1
    face.close()


def test_a_401_drops_the_token_that_a_key_brought(keyed: Face, server: Server) -> None:
    server.on("POST /oauth2/revoke", problem(401, "invalid_token"), answer(200))
    keyed.do(lambda c: c.tokens.revoke(token="a-token"))
    sent = [r.headers["authorization"] for r in server.seen("POST /oauth2/revoke")]
    assert sent == ["Bearer t1", "Bearer t2"]
    assert len(server.seen(LOGIN)) == 2


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_api_key", 401),
        ("malformed_api_key", 400),
        ("invalid_target", 400),
        ("invalid_scope", 400),
    ],
)
def test_a_key_that_is_refused_is_not_tried_again(
    keyed: Face, server: Server, clock: FakeClock, code: str, status: int
) -> None:
    server.on(LOGIN, problem(status, code))
    with pytest.raises(AuthenticationError) as caught:
        keyed.do(token)
    error = caught.value
    assert (error.code, error.status, error.retryable) == (code, status, False)
    assert error.request_id == "req_7"
    assert len(server.requests) == 1
    assert clock.slept == []


def test_a_passing_failure_is_tried_again_while_a_caller_waits(
    keyed: Face, server: Server, clock: FakeClock
) -> None:
    busy = problem(429, "rate_limited", retry_after="2")
    server.on(LOGIN, busy, problem(503, "unavailable"), token_answer("t1"))
    assert keyed.do(token).access_token.reveal() == "t1"
    assert clock.slept[0] == 2.0
    assert len(clock.slept) == 2


@pytest.mark.parametrize("sort", [Marque, AsyncMarque])
@pytest.mark.parametrize(
    ("key", "says"),
    [
        (" \n", "is empty"),
        (CLIENT_SECRET, "is a client secret"),
        ("hunter2hunter2", "does not begin with mqk_"),
        (KEY[:-1], "cut off or mistyped"),
        (KEY + "0", "cut off or mistyped"),
        (KEY.replace("One", "0ne"), "cut off or mistyped"),
        (KEY.replace("On", "nO"), "cut off or mistyped"),
        (KEY.replace("One", "O-e"), "cut off or mistyped"),
        (KEY.replace("One", "Oné"), "cut off or mistyped"),
    ],
)
def test_what_cannot_be_a_key_is_told_at_once(
    sort: Any, key: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        sort(ISSUER, api_key=key)
    assert not key.strip() or key not in str(caught.value)
    monkeypatch.setenv("MARQUE_API_KEY", key)
    if key.strip():
        with pytest.raises(ConfigurationError, match=f"MARQUE_API_KEY.* {says}"):
            sort(ISSUER)


def test_a_key_file_is_read_at_each_use_and_not_sent_where_it_is_none(
    make: Callable[..., Face], server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(f"  {KEY} \n\n")
    server.on(LOGIN, token_answer("t1"))
    face = make(**BY_KEY | {"api_key": None, "api_key_file": file})
    face.do(lambda c: c.token(resource="a"))
    file.write_text(KEY[:20])
    with pytest.raises(ConfigurationError, match=f"{file}.*cut off or mistyped"):
        face.do(lambda c: c.token(resource="b"))
    file.write_text(OTHER_KEY)
    face.do(lambda c: c.token(resource="b"))
    file.unlink()
    with pytest.raises(ConfigurationError, match=f"{file}.*No such file"):
        face.do(lambda c: c.token(resource="c"))
    assert [body["api_key"] for body in bodies(server)] == [KEY, OTHER_KEY]


def test_a_key_gets_no_token_where_clients_do(keyed: Face, server: Server) -> None:
    with pytest.raises(ConfigurationError, match="API key"):
        keyed.do(lambda c: c.tokens.issue(grant_type="client_credentials"))
    assert server.requests == []
    server.on("POST /oauth2/introspect", answer(200, {"active": False}))
    keyed.do(
        lambda c: c.tokens.introspect(token="t", client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    )
    assert "authorization" not in server.requests[0].headers, "the caller's own sign-in"


def test_no_key_is_printed_logged_or_hooked(
    make: Callable[..., Face], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        said = request.content.decode()
        body = {"code": "invalid_api_key", "detail": f"you sent {said}"}
        body["errors"] = [{"pointer": "/api_key", "detail": said}]  # type: ignore[assignment]
        return answer(401, body)

    seen: list[Attempt] = []
    hooks = Hooks(before=lambda attempt: seen.append(attempt), after=seen.append)
    caplog.set_level(logging.DEBUG)
    face = make(**BY_KEY, hooks=hooks, logger=logging.getLogger("test"))
    server.on(LOGIN, echo)
    errors: list[Exception] = []
    with pytest.raises(AuthenticationError) as caught:
        face.do(token)
    errors.append(caught.value)
    for given in (OTHER_KEY, Secret(OTHER_KEY)):
        with pytest.raises(APIError) as refused:
            face.do(lambda c, key=given: c.tokens.login(api_key=key))
        errors.append(refused.value)
    credential = APIKeyCredential(KEY)
    printed = caplog.text + "".join(f"{a!r} {a.error!r} {a.error}" for a in seen)
    printed += f"{face.client!r} {credential!r} {credential} {credential.key()!r}"
    for error in errors:
        printed += f"{error!r} {error} {vars(error)!r}" + "".join(traceback.format_exception(error))
    assert KEY not in printed
    assert OTHER_KEY not in printed
    assert "you sent" in printed
    assert len(seen) == 6


@pytest.mark.parametrize(
    "reply",
    [
        problem(401, "invalid_api_key"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, html="<html>"),
        token_answer("eyTopSecret", expires_in=-1),
    ],
)
def test_no_frame_of_a_trace_holds_a_key(keyed: Face, server: Server, reply: Any) -> None:
    server.on(LOGIN, reply)
    with pytest.raises(MarqueError) as caught:
        keyed.do(token)
    text = traces(caught.value)
    assert KEY not in text
    assert "eyTopSecret" not in text


def test_no_frame_holds_a_key_that_is_mistyped(monkeypatch: pytest.MonkeyPatch) -> None:
    mistyped = KEY.replace("One", "0ne")
    monkeypatch.setenv("MARQUE_API_KEY", mistyped)
    with pytest.raises(ConfigurationError) as caught:
        Marque(ISSUER)
    for frame, _ in list(traceback.walk_tb(caught.value.__traceback__))[1:]:
        held = {k: v for k, v in frame.f_locals.items() if k not in ("self", "env", "environment")}
        assert mistyped not in repr(held), frame


def test_the_chain_finds_keys(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on(LOGIN, lambda _: token_answer("t1"))
    file = tmp_path / "key"
    file.write_text(OTHER_KEY + "\n")
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "marque" / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    (config.parent / "the-key").write_text(KEY)
    profiles = {"key": {"issuer": ISSUER, "api_key_file": "the-key"}}
    config.write_text(json.dumps({"current": "key", "profiles": profiles}))
    config.chmod(0o600)

    def used(*issuer: str, **options: Any) -> str:
        with Marque(*issuer, http_client=server.http(), **options) as client:
            client.token()
        return bodies(server)[-1]["api_key"]

    assert used() == KEY, "of the profile"
    assert used(ISSUER + "/") == KEY, "the same issuer"
    monkeypatch.setenv("MARQUE_API_KEY_FILE", str(file))
    assert used() == OTHER_KEY, "of the environment"
    assert used(api_key=Secret(KEY)) == KEY, "of the constructor"
    assert used(credential=APIKeyCredential(KEY)) == KEY
    monkeypatch.delenv("MARQUE_API_KEY_FILE")
    monkeypatch.setenv("MARQUE_API_KEY", f" {OTHER_KEY}\n")
    assert used() == OTHER_KEY
    assert used(profile="key") == KEY, "a profile that is named is meant"
    monkeypatch.delenv("MARQUE_API_KEY")
    with pytest.raises(ConfigurationError, match="is for another issuer"):
        Marque("https://other.example.com")


@pytest.mark.parametrize(
    ("environment", "options", "says"),
    [
        (
            {"MARQUE_API_KEY": KEY, "MARQUE_API_KEY_FILE": "/x"},
            {},
            "MARQUE_API_KEY and MARQUE_API_KEY_FILE are both set",
        ),
        (
            {"MARQUE_API_KEY": KEY, "MARQUE_CLIENT_ID": "sa_1", "MARQUE_CLIENT_SECRET": "s"},
            {},
            "the environment has MARQUE_CLIENT_ID and MARQUE_API_KEY, which are 2 ways",
        ),
        (
            {"MARQUE_API_KEY_FILE": "/x", "MARQUE_CLIENT_SECRET_FILE": "/y"},
            {},
            "MARQUE_CLIENT_SECRET_FILE and MARQUE_API_KEY_FILE, which are 2 ways",
        ),
        ({}, {"api_key": KEY, "api_key_file": "/x"}, "api_key and api_key_file are both set"),
        ({}, {"api_key": KEY, "client_id": "a"}, "client_id and api_key, which are 2 ways"),
        (
            {},
            {"api_key": KEY, "credential": ClientSecretCredential("a", "b")},
            "credential and api_key, which are 2 ways",
        ),
    ],
)
def test_two_ways_to_sign_in_are_an_error(
    environment: dict[str, str],
    options: dict[str, Any],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=says) as caught:
        Marque(ISSUER, **options)
    assert KEY not in str(caught.value)


def test_a_profile_with_two_ways_to_sign_in_is_an_error() -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "marque" / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    both = {"issuer": ISSUER, "api_key_file": "k", "client_id": "sa_1", "client_secret_file": "s"}
    config.write_text(json.dumps({"current": "both", "profiles": {"both": both}}))
    config.chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"'both' .*client_id and api_key_file"):
        Marque()
