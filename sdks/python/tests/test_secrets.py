"""No secret in a repr, an error, a trace or a log, even with the locals of each frame."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from marque import Attempt, Hooks, MarqueError, Secret
from tests.fakes import (
    API,
    CLIENT_ID,
    CLIENT_SECRET,
    AsyncFace,
    Face,
    Server,
    answer,
    b64,
    problem,
    token_answer,
)

TOKEN_TEXT = "eyTopSecretTokenText"
GET = f"GET /v1/service-accounts/{CLIENT_ID}"


def test_a_secret_shows_a_mask() -> None:
    secret = Secret("topsecret")
    shown = [
        str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", f"{secret} {secret!r}",
        str([secret]), str({"a": secret}), f"{secret:>12}",
    ]  # fmt: skip
    assert not any("top" in text for text in shown)
    assert secret.reveal() == "topsecret"


def test_a_secret_is_neither_pickled_nor_written_as_json() -> None:
    for write in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            write(Secret("x"))
    assert not hasattr(Secret("x"), "__dict__")


def test_a_secret_is_a_value() -> None:
    secret = Secret("x")
    assert secret == Secret(secret)
    assert secret != Secret("y")
    assert secret != "x"
    assert {secret: 1}[Secret("x")] == 1
    assert copy.deepcopy(secret) is secret
    assert not Secret("")


def traces(error: BaseException) -> str:
    """All that the language prints of an error, with what each frame holds."""
    parts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "\n".join([*parts, *trace.format(), *traceback.format_exception(error)])


@pytest.mark.parametrize(
    ("route", "reply"),
    [
        ("POST /oauth2/token", answer(401, {"error": "invalid_client"})),
        ("POST /oauth2/token", httpx.ConnectError("refused")),
        ("POST /oauth2/token", httpx.ReadTimeout("slow")),
        ("POST /oauth2/token", httpx.Response(200, html="<html>")),
        ("POST /oauth2/token", token_answer(TOKEN_TEXT, expires_in=-1)),
        ("POST /oauth2/token", token_answer(TOKEN_TEXT, expires_in="soon")),
        (GET, problem(403, "insufficient_scope")),
        (GET, problem(401, "invalid_token")),
        (GET, httpx.ConnectError("refused")),
        (GET, httpx.RemoteProtocolError("Server disconnected")),
        (GET, answer(200, {"client_secret": "mqs_in_the_body"})),
        (GET, answer(302, None, location=f"https://evil.example/?t={TOKEN_TEXT}")),
    ],
)
def test_errors_and_their_traces_hold_no_secret(
    face: Face, server: Server, route: str, reply: Any
) -> None:
    server.on("POST /oauth2/token", token_answer(TOKEN_TEXT))
    server.on(route, reply)
    with pytest.raises(MarqueError) as caught:
        face.do(lambda c: c.service_accounts.get(CLIENT_ID, retries=0))
    text = traces(caught.value)
    basic = b64(f"{CLIENT_ID}:{CLIENT_SECRET}")
    for secret in (CLIENT_SECRET, TOKEN_TEXT, basic[:40], "mqs_in_the_body"):
        assert secret not in text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def repeating(*secrets: str) -> httpx.Response:
    text = " ".join(secrets)
    errors = [{"pointer": "/" + text, "detail": f"{text}!"}]
    return answer(400, {"code": text, "title": text, "detail": f"Bearer {text}", "errors": errors})


def test_a_secret_that_a_server_repeats_is_masked(face: Face, server: Server) -> None:
    server.on("POST /oauth2/token", token_answer(TOKEN_TEXT))
    server.on(GET, repeating(TOKEN_TEXT))
    with pytest.raises(MarqueError) as caught:
        face.do(lambda c: c.service_accounts.get(CLIENT_ID))
    assert TOKEN_TEXT not in traces(caught.value)
    assert "Bearer ***" in str(caught.value)
    server.on("POST /oauth2/token", repeating(CLIENT_SECRET, b64(f"{CLIENT_ID}:{CLIENT_SECRET}")))
    with pytest.raises(MarqueError) as caught:
        face.do(lambda c: c.token(resource=API))
    assert CLIENT_SECRET not in traces(caught.value)
    assert "Bearer *** ***" in str(caught.value)
    server.on("POST /oauth2/introspect", repeating("abcdefg"))
    with pytest.raises(MarqueError) as caught:
        face.do(lambda c: c.tokens.introspect(token="abcdefg"))
    assert "abcdefg" not in str(caught.value)


def test_hooks_and_log_see_each_attempt_and_no_secret(
    make: Callable[..., Face], server: Server
) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("test.hooks")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.StreamHandler(stream))
    seen: list[Attempt] = []

    def before(attempt: Attempt) -> dict[str, str]:
        return {"traceparent": f"00-{attempt.number}", "authorization": "Bearer mine"}

    face = make(hooks=Hooks(before=before, after=seen.append), logger=logger)
    server.on("POST /oauth2/token", token_answer(TOKEN_TEXT))
    server.on(GET, problem(503, "unavailable"), answer(200, {}))
    with pytest.raises(MarqueError):
        face.do(lambda c: c.service_accounts.get(CLIENT_ID))
    told = [(a.operation, a.number, a.status, a.error and a.error.kind) for a in seen]
    assert told == [
        ("tokens.issue", 1, 200, None),
        ("service_accounts.get", 1, 503, "api"),
        ("service_accounts.get", 2, 200, None),
    ]
    assert [a.retry_in is None for a in seen] == [True, False, True]
    assert seen[1].path == "/v1/service-accounts/{service_account_id}"
    assert seen[1].request_id == "req_7"
    first, second = server.seen(GET)
    assert (first.headers["traceparent"], second.headers["traceparent"]) == ("00-1", "00-2")
    assert first.headers["authorization"] == f"Bearer {TOKEN_TEXT}"
    text = stream.getvalue() + repr(seen)
    assert "marque service_accounts.get attempt=1 outcome=api status=503" in text
    for secret in (CLIENT_SECRET, TOKEN_TEXT, "Bearer", "Basic", CLIENT_ID):
        assert secret not in text


def test_nothing_is_logged_unless_asked_for(
    face: Face, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(GET, problem(503, "unavailable"))
    with caplog.at_level(logging.DEBUG), pytest.raises(MarqueError):
        face.do(lambda c: c.service_accounts.get(CLIENT_ID))
    assert [r for r in caplog.records if r.name.startswith("marque")] == []
    assert TOKEN_TEXT not in caplog.text
    assert CLIENT_SECRET not in caplog.text


def test_a_failure_in_the_background_is_no_noise(
    make: Callable[..., Face], server: Server, clock: Any, recwarn: pytest.WarningsRecorder
) -> None:
    face = make()
    face.do(lambda c: c.token(resource=API))
    server.on("POST /oauth2/token", answer(503))
    clock.at += 800
    face.do(lambda c: c.token(resource=API))
    face.settle()
    noise: list[Any] = []
    if isinstance(face, AsyncFace):
        face.loop.set_exception_handler(lambda _, context: noise.append(context))
        face.loop.run_until_complete(asyncio.sleep(0))
    assert noise == []
    assert len(recwarn) == 0
