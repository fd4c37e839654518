"""One call of the API: what is sent, what comes back, what is tried again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from marque import (
    APIError,
    ConfigurationError,
    InUse,
    InUseItem,
    NetworkError,
    ProtocolError,
    RequestTimeoutError,
    Response,
    Secret,
    response_of,
)
from marque._answer import no_content
from marque._operation import Operation
from tests.fakes import CLIENT_ID, Face, FakeClock, Server, answer, problem, token_answer

ACCOUNT = {
    "id": CLIENT_ID,
    "name": "reader",
    "display_name": "",
    "description": "",
    "kind": "agent",
    "owner": "a@example.com",
    "labels": {},
    "status": "active",
    "created_at": "2026-11-02T09:30:00.5Z",
    "updated_at": "2026-11-02T09:30:00Z",
}
GET = f"GET /v1/service-accounts/{CLIENT_ID}"
LIST = "GET /v1/service-accounts"
CREATE = "POST /v1/service-accounts"
DISABLE = f"POST /v1/service-accounts/{CLIENT_ID}/disable"


def get(client: Any) -> Any:
    return client.service_accounts.get(CLIENT_ID)


def disable(client: Any) -> Any:
    return client.service_accounts.disable(CLIENT_ID)


def create(client: Any) -> Any:
    return client.service_accounts.create(name="reader", owner="a@example.com")


def test_an_answer_becomes_a_typed_value(face: Face, server: Server) -> None:
    server.on(GET, answer(200, ACCOUNT | {"colour": "red", "kind": "submarine"}, etag='"3"'))
    account = face.do(get)
    assert account.created_at == datetime(2026, 11, 2, 9, 30, 0, 500000, timezone.utc)
    assert account.kind == "submarine", "enumerations are open"
    assert account.extra == {"colour": "red"}, "what is unknown is no error"
    assert account.expires_at is None
    response = response_of(account)
    assert response is not None
    assert (response.status, response.etag, response.request_id) == (200, '"3"', "req_1")
    assert "ACCOUNT" not in repr(response)
    assert b"submarine" not in repr(response).encode()


def test_a_call_carries_a_token_for_the_management_api(face: Face, server: Server) -> None:
    server.on(GET, answer(200, ACCOUNT))
    face.do(get)
    (issue,) = server.seen("POST /oauth2/token")
    assert b"resource=urn%3Amarque%3Amanagement" in issue.content
    assert issue.headers["authorization"].startswith("Basic ")
    (request,) = server.seen(GET)
    assert request.headers["authorization"] == "Bearer t1"
    assert request.headers["user-agent"].startswith("marque-python/")


def test_absent_null_and_values_differ_on_the_wire(face: Face, server: Server) -> None:
    server.on(f"PATCH /v1/service-accounts/{CLIENT_ID}", answer(200, ACCOUNT))
    moment = datetime(2027, 1, 2, 4, 4, tzinfo=timezone(timedelta(hours=1)))
    face.do(
        lambda c: c.service_accounts.update(
            CLIENT_ID,
            if_match='"3"',
            display_name=None,
            labels={"team": None, "b": "c"},
            expires_at=moment,
        )
    )
    (request,) = server.seen(f"PATCH /v1/service-accounts/{CLIENT_ID}")
    assert request.headers["if-match"] == '"3"'
    assert request.headers["content-type"] == "application/merge-patch+json"
    assert json.loads(request.content) == {
        "display_name": None,
        "labels": {"team": None, "b": "c"},
        "expires_at": "2027-01-02T03:04:00Z",
    }


def test_query_parameters_repeat_and_are_escaped(face: Face, server: Server) -> None:
    server.on(LIST, answer(200, {"items": []}))
    face.items(lambda c: c.service_accounts.list(label=["a=1 &", "b=2"], page_size=7))
    (request,) = server.seen(LIST)
    assert request.url.query == b"label=a%3D1%20%26&label=b%3D2&page_size=7"


@pytest.mark.parametrize("bad", ["", ".", "..", 7, None])
def test_an_id_can_neither_vanish_nor_leave_its_segment(
    face: Face, server: Server, bad: Any
) -> None:
    with pytest.raises(ConfigurationError, match="service_account_id must be an id"):
        face.do(lambda c: c.service_accounts.get(bad))
    assert server.requests == []


def test_a_slash_in_an_id_is_escaped(face: Face, server: Server) -> None:
    with pytest.raises(APIError):
        face.do(lambda c: c.service_accounts.get("a/../b?c#d"))
    assert server.requests[-1].url.raw_path == b"/v1/service-accounts/a%2F..%2Fb%3Fc%23d"


def test_a_time_without_zone_is_refused(face: Face, server: Server) -> None:
    naive = datetime(2027, 1, 1)
    with pytest.raises(ConfigurationError, match="no time zone"):
        face.do(lambda c: c.service_accounts.create(name="a", owner="b", expires_at=naive))
    assert server.seen(CREATE) == []


def test_an_error_tells_code_status_request_and_findings(face: Face, server: Server) -> None:
    body = {
        "type": "urn:marque:problem:invalid_request",
        "title": "The request is not valid",
        "status": 400,
        "code": "invalid_request",
        "detail": "the request has 1 invalid member(s)",
        "request_id": "req_1",
        "errors": [{"pointer": "/owner", "detail": "is required"}],
    }
    server.on(CREATE, answer(400, body))
    with pytest.raises(APIError) as caught:
        face.do(create)
    error = caught.value
    assert (error.status, error.code, error.request_id) == (400, "invalid_request", "req_1")
    assert error.errors[0].pointer == "/owner"
    assert not error.retryable
    assert "/owner is required" in str(error)
    assert json.loads(error.response.body) == body


def test_a_code_that_is_not_known_survives(face: Face, server: Server) -> None:
    server.on(GET, problem(418, "short_and_stout"))
    with pytest.raises(APIError) as caught:
        face.do(get)
    assert caught.value.code == "short_and_stout"


def test_an_oauth_error_is_an_api_error_too(face: Face, server: Server) -> None:
    server.on("POST /oauth2/introspect", answer(400, {"error": "invalid_request"}))
    with pytest.raises(APIError) as caught:
        face.do(lambda c: c.tokens.introspect(token="x"))
    assert caught.value.code == "invalid_request"


def test_retries_wait_longer_each_time_with_jitter(
    make: Callable[..., Face], server: Server, clock: FakeClock
) -> None:
    server.on(GET, problem(503, "unavailable"))
    with pytest.raises(APIError) as caught:
        make(retries=6).do(get)
    assert caught.value.retryable
    assert len(server.seen(GET)) == 7
    most = [0.5, 1, 2, 4, 8, 8]
    assert all(m / 2 <= s <= m for m, s in zip(most, clock.slept, strict=True))
    assert len({s / m for m, s in zip(most, clock.slept, strict=True)}) > 1


def test_two_retries_unless_told_otherwise(face: Face, server: Server) -> None:
    server.on(GET, problem(500, "internal"), problem(502, "x"), answer(200, ACCOUNT))
    assert face.do(get).name == "reader"
    assert len(server.seen(GET)) == 3


def test_retry_after_is_kept_to(face: Face, server: Server, clock: FakeClock) -> None:
    later = "Mon, 02 Nov 2026 09:45:07 GMT"  # 7 s after the second attempt
    clock.at = datetime(2026, 11, 2, 9, 44, 57, tzinfo=timezone.utc).timestamp()
    server.on(
        GET,
        problem(429, "rate_limited", retry_after="3"),
        problem(503, "unavailable", retry_after=later),
        answer(200, ACCOUNT),
    )
    face.do(get)
    assert clock.slept == [3, 7]


def test_a_long_retry_after_is_handed_to_the_caller(
    face: Face, server: Server, clock: FakeClock
) -> None:
    server.on(GET, problem(429, "rate_limited", retry_after="61"))
    with pytest.raises(APIError) as caught:
        face.do(get)
    assert caught.value.retry_after == 61
    assert clock.slept == []
    assert len(server.seen(GET)) == 1


@pytest.mark.parametrize(
    "failure",
    [
        problem(503, "unavailable"),
        problem(429, "rate_limited", retry_after="1"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("gone"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
    ],
    ids=["503", "429", "timeout", "cut", "disconnected"],
)
def test_only_what_is_idempotent_is_sent_again(
    face: Face, server: Server, failure: httpx.Response | Exception
) -> None:
    # The contract has no such POST; the rule is for the day when it has one.
    unsafe = Operation("things.make", "POST", "/v1/things", content_type="application/json")
    server.on("POST /v1/things", failure, answer(201, ACCOUNT))
    with pytest.raises((APIError, RequestTimeoutError, NetworkError)):
        face.do(
            lambda c: c.service_accounts._transport.request(
                unsafe, body={"name": "a"}, decode=no_content, options={}
            )
        )
    assert len(server.seen("POST /v1/things")) == 1
    assert "idempotency-key" not in server.seen("POST /v1/things")[0].headers
    server.on(CREATE, failure, answer(201, ACCOUNT))
    face.do(create)
    assert len(server.seen(CREATE)) == 2
    server.on(DISABLE, failure, answer(200, ACCOUNT))
    face.do(disable)
    assert len(server.seen(DISABLE)) == 2


def test_a_repetition_is_told_what_became_of_the_first(
    face: Face, server: Server, clock: FakeClock
) -> None:
    secrets = f"POST /v1/service-accounts/{CLIENT_ID}/client-secrets"
    issued = {"code": "secret_already_issued", "status": 409, "title": "t", "id": "sec_7"}
    server.on(
        secrets, problem(409, "idempotency_key_in_progress", retry_after="1"), answer(409, issued)
    )
    with pytest.raises(APIError) as caught:
        face.do(lambda c: c.client_secrets.create(CLIENT_ID))
    assert (caught.value.code, caught.value.issued_id) == ("secret_already_issued", "sec_7")
    assert not caught.value.retryable
    assert clock.slept == [1]
    first, second = [r.headers["idempotency-key"] for r in server.seen(secrets)]
    assert first == second


def test_a_replayed_post_has_one_idempotency_key(face: Face, server: Server) -> None:
    server.on(DISABLE, problem(503, "unavailable"), answer(200, ACCOUNT))
    face.do(disable)
    face.do(disable)
    first, second, third = [r.headers["idempotency-key"] for r in server.seen(DISABLE)]
    assert first == second
    assert third != first
    face.do(lambda c: c.service_accounts.disable(CLIENT_ID, idempotency_key="mine"))
    assert server.seen(DISABLE)[-1].headers["idempotency-key"] == "mine"


def test_options_of_a_call_count_for_it_alone(face: Face, server: Server) -> None:
    server.on(GET, problem(503, "unavailable"))
    with pytest.raises(APIError):
        face.do(lambda c: c.service_accounts.get(CLIENT_ID, retries=0, headers={"X-A": "b"}))
    (request,) = server.seen(GET)
    assert request.headers["x-a"] == "b"
    with pytest.raises(APIError):
        face.do(get)
    assert len(server.seen(GET)) == 4
    for wrong in ({"timeout": 0}, {"headers": {"authorization": "x"}}):
        with pytest.raises(ConfigurationError):
            face.do(lambda c, wrong=wrong: c.service_accounts.get(CLIENT_ID, **wrong))


def test_timeouts_are_30_s_and_10_s_for_tokens(face: Face, server: Server) -> None:
    server.on(GET, answer(200, ACCOUNT))
    face.do(get)
    issue, call = server.requests
    assert set(issue.extensions["timeout"].values()) == {10}
    assert set(call.extensions["timeout"].values()) == {30}


def test_a_401_drops_the_token_and_replays_once(face: Face, server: Server) -> None:
    server.on("POST /oauth2/token", token_answer("t1"), token_answer("t2"), token_answer("t3"))
    server.on(CREATE, problem(401, "invalid_token"), answer(201, ACCOUNT))
    face.do(create)
    assert [r.headers["authorization"] for r in server.seen(CREATE)] == ["Bearer t1", "Bearer t2"]
    assert server.seen(CREATE)[0].content == server.seen(CREATE)[1].content
    server.on(GET, problem(401, "invalid_token"))
    with pytest.raises(APIError) as caught:
        face.do(get)
    assert caught.value.code == "invalid_token"
    assert len(server.seen(GET)) == 2


def test_a_page_after_the_other_with_pages_in_reach(face: Face, server: Server) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        token = request.url.params.get("page_token")
        following = {None: "two", "two": "three"}.get(token)
        items = [ACCOUNT | {"name": f"{token}-{i}"} for i in range(0 if token == "two" else 2)]
        return answer(200, {"items": items} | ({"next_page_token": following} if following else {}))

    server.on(LIST, page)
    names = [a.name for a in face.items(lambda c: c.service_accounts.list(kind="agent"))]
    assert names == ["None-0", "None-1", "three-0", "three-1"], "a page may be empty"
    assert [r.url.params.get("kind") for r in server.seen(LIST)] == ["agent"] * 3
    pages = face.items(lambda c: c.service_accounts.list().pages())
    assert [p.next_page_token for p in pages] == ["two", "three", None]
    assert [len(p.items) for p in pages] == [2, 0, 2]
    first = face.do(lambda c: c.service_accounts.list().page())
    assert first.next_page_token == "two"
    rest = face.items(lambda c: c.service_accounts.list(page_token=first.next_page_token))
    assert [a.name for a in rest] == ["three-0", "three-1"]


def test_nothing_is_fetched_before_or_beyond_what_is_read(face: Face, server: Server) -> None:
    server.on(LIST, answer(200, {"items": [ACCOUNT], "next_page_token": "more"}))
    face.do(lambda c: c.service_accounts.list() and None)
    assert server.requests == []
    with pytest.raises(ProtocolError, match="again and again"):
        face.items(lambda c: c.service_accounts.list())
    assert len(server.seen(LIST)) == 2


def test_an_error_tells_what_is_in_use(face: Face, server: Server) -> None:
    item = {"kind": "service_account", "id": "sa_1", "name": "clerk"}
    body = {"code": "in_use", "detail": "why", "in_use": {"count": 21, "items": [item, 7]}}
    server.on("DELETE /v1/roles/role_1", answer(409, body))
    with pytest.raises(APIError) as caught:
        face.do(lambda c: c.roles.delete("role_1"))
    assert caught.value.in_use == InUse(21, (InUseItem("service_account", "sa_1", "clerk"),))


def test_a_secret_in_an_answer_is_masked(face: Face, server: Server) -> None:
    body = {
        "id": "sec_1",
        "service_account": CLIENT_ID,
        "hint": "k",
        "created_at": "2026-11-02T09:30:00Z",
        "client_secret": "mqs_topsecret",
    }
    server.on(f"POST /v1/service-accounts/{CLIENT_ID}/client-secrets", answer(201, body))
    issued = face.do(lambda c: c.client_secrets.create(CLIENT_ID))
    assert issued.client_secret == Secret("mqs_topsecret")
    assert "topsecret" not in f"{issued} {issued!r} {response_of(issued)!r}"


def test_the_oauth_endpoints_take_the_clients_own_credential(face: Face, server: Server) -> None:
    server.on("POST /oauth2/introspect", answer(200, {"active": False}))
    assert face.do(lambda c: c.tokens.introspect(token="abc")).active is False
    (request,) = server.requests
    assert request.headers["authorization"].startswith("Basic ")
    assert request.content == b"token=abc"
    face.do(lambda c: c.tokens.introspect(token="abc", client_id="sa_2", client_secret="s"))
    assert "authorization" not in server.requests[-1].headers, "never both (RFC 6749 2.3)"


def test_the_answer_as_it_came_is_to_be_had(face: Face, server: Server) -> None:
    server.on(f"DELETE /v1/service-accounts/{CLIENT_ID}", answer(204))
    seen: list[Response] = []
    face.do(lambda c: c.service_accounts.delete(CLIENT_ID, on_response=seen.append))
    assert [(r.status, r.request_id, r.body) for r in seen] == [(204, "req_1", b"")]


def test_an_empty_answer_is_none(face: Face, server: Server) -> None:
    server.on(f"DELETE /v1/service-accounts/{CLIENT_ID}", answer(204))
    assert face.do(lambda c: c.service_accounts.delete(CLIENT_ID)) is None


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends with an error."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks, self.error = chunks, error

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks
        if self.error is not None:
            raise self.error

    async def __aiter__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        for chunk in self:
            yield chunk


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (httpx.Response(200, html="<html>"), "200 with text/html instead of JSON"),
        (httpx.Response(200, text='{"id": 1}'), "text/plain instead of JSON"),
        (httpx.Response(200, content=b"", headers=JSON), "instead of JSON"),
        (httpx.Response(200, content=b'{"id":', headers=JSON), "instead of JSON"),
        (httpx.Response(200, content=b"[" * 100_000, headers=JSON), "instead of JSON"),
        (answer(200, {"id": 1}), "another shape than the contract's .'name' is missing."),
        (answer(200, [1]), "another shape"),
        (answer(302, None, location="https://evil.example/"), "redirect .302..*final address"),
        (httpx.Response(404, html="<html>"), "404 with text/html, which is no error of Marque's"),
        (answer(400, {"message": "x"}), "no error of Marque's"),
        (httpx.Response(200, content=b"x", headers=JSON | {"content-encoding": "gzip"}), "compres"),
        (
            lambda _: httpx.Response(
                200,
                headers=JSON,
                stream=Broken(b'{"id"', error=httpx.RemoteProtocolError("peer closed")),
            ),
            "cut short",
        ),
        (
            lambda _: httpx.Response(200, headers=JSON, stream=Broken(*[b" " * 65536] * 17)),
            "larger than 1048576",
        ),
        (httpx.RemoteProtocolError("illegal status line"), "does not answer in HTTP/1.1"),
    ],
    ids=[
        "html", "text", "empty", "cut-json", "deep", "shape", "list", "redirect", "html-404",
        "other-json", "compressed", "truncated", "large", "no-http",
    ],
)  # fmt: skip
def test_what_is_no_answer_of_marques_is_a_protocol_error(
    make: Callable[..., Face], server: Server, reply: Any, says: str
) -> None:
    server.on(GET, reply)
    with pytest.raises(ProtocolError, match=says):
        make(retries=0).do(get)


def test_html_from_a_broken_gateway_is_tried_again(face: Face, server: Server) -> None:
    server.on(GET, httpx.Response(502, html="<html>"), answer(200, ACCOUNT))
    assert face.do(get).name == "reader"


def test_a_refused_connection_says_so(face: Face, server: Server) -> None:
    server.on(GET, httpx.ConnectError("[Errno 111] Connection refused"))
    with pytest.raises(NetworkError, match=r"cannot connect to auth.example.com .*does it run"):
        face.do(get)


def test_the_whole_body_must_be_there_in_time(make: Callable[..., Face], server: Server) -> None:
    server.on(GET, httpx.ReadTimeout("no data"))
    with pytest.raises(RequestTimeoutError, match=r"in 0.5 s: try again, or allow more") as caught:
        make(timeout=0.5, retries=0).do(get)
    assert caught.value.retryable
    assert isinstance(caught.value, TimeoutError)
