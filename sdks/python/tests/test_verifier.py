"""Verification: claims, what is remembered, and the keys behind it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from marque import (
    AsyncVerifier,
    ConfigurationError,
    KeyFetchError,
    Principal,
    VerificationError,
    Verifier,
)
from tests.fakes import API, CLIENT_ID, ISSUER, NOW, FakeClock, Issuer, Server, answer, key_set

JWKS = "GET /.well-known/jwks.json"


class Both:
    """A verifier of either sort."""

    def __init__(self, kind: str, server: Server, clock: FakeClock, **options: Any) -> None:
        self.loop = asyncio.new_event_loop() if kind == "async" else None
        self.verifier: Any = (
            AsyncVerifier(ISSUER, http_client=server.http_async(), clock=clock, **options)
            if self.loop
            else Verifier(ISSUER, http_client=server.http(), clock=clock, **options)
        )

    def _run(self, value: Any) -> Any:
        if self.loop is None:
            return value

        async def run() -> Any:
            return await value if inspect.isawaitable(value) else value

        return self.loop.run_until_complete(run())

    def verify(self, token: str, audience: str = API, **options: Any) -> Principal:
        return self._run(self.verifier.verify(token, audience=audience, **options))

    def reason(self, token: str, **options: Any) -> str:
        with pytest.raises(VerificationError) as caught:
            self.verify(token, **options)
        return caught.value.reason

    def settle(self) -> None:
        flight = self.verifier._keys._flight
        if flight is not None:
            self._run(flight.land(10))

    def close(self) -> None:
        if self.loop is None:
            self.verifier.close()
        else:
            self.loop.run_until_complete(self.verifier.aclose())
            self.loop.close()


@pytest.fixture(params=["sync", "async"])
def make_verifier(
    request: pytest.FixtureRequest, server: Server, clock: FakeClock, issuer: Issuer
) -> Iterator[Callable[..., Both]]:
    server.on(JWKS, key_set(issuer))
    made: list[Both] = []

    def build(**options: Any) -> Both:
        made.append(Both(request.param, server, clock, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def both(make_verifier: Callable[..., Both]) -> Both:
    return make_verifier()


def test_a_good_token_tells_who_calls(both: Both, issuer: Issuer) -> None:
    who = both.verify(issuer.token(cnf=...))
    assert (who.subject, who.client_id, who.audience) == (CLIENT_ID, CLIENT_ID, (API,))
    assert who.scopes == ("invoices:read", "invoices:write")
    assert who.roles == ("invoice-clerk",)
    assert (who.issued_at.timestamp(), who.expires_at.timestamp()) == (NOW, NOW + 900)
    assert (who.generation, who.confirmation) == (1, None)
    assert who.claims["iss"] == ISSUER
    assert ISSUER not in repr(who)


def test_what_may_be_absent_may_be_absent(both: Both, issuer: Issuer) -> None:
    token = issuer.token(scope=..., roles=..., gen=..., cred=..., nbf=...)
    who = both.verify(token)
    assert (who.scopes, who.roles, who.generation, who.credential) == ((), (), None, None)
    assert both.verify(issuer.token(aud=["https://other.example", API])).audience[1] == API


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": ...}, "malformed"),
        ({"aud": "https://other.example"}, "audience"),
        ({"aud": [API + "/"]}, "audience"),
        ({"aud": ...}, "malformed"),
        ({"aud": ""}, "malformed"),
        ({"aud": []}, "malformed"),
        ({"aud": [API, ""]}, "malformed"),
        ({"aud": [API, API]}, "malformed"),
        ({"aud": {"a": API}}, "malformed"),
        ({"exp": str(NOW + 900)}, "malformed"),
        ({"exp": NOW + 900.5}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": ...}, "malformed"),
        ({"exp": 10**30}, "malformed"),
        ({"exp": -1}, "malformed"),
        ({"exp": NOW}, "malformed"),
        ({"iat": NOW - 900, "nbf": NOW - 900, "exp": NOW}, "expired"),
        ({"iat": NOW - 900, "nbf": NOW - 900, "exp": NOW - 1}, "expired"),
        ({"iat": NOW + 11, "nbf": NOW + 11}, "not_yet_valid"),
        ({"nbf": NOW + 11}, "not_yet_valid"),
        ({"iat": ...}, "malformed"),
        ({"nbf": None}, "malformed"),
        ({"sub": ...}, "malformed"),
        ({"sub": 7}, "malformed"),
        ({"client_id": ""}, "malformed"),
        ({"jti": ...}, "malformed"),
        ({"scope": ["a"]}, "malformed"),
        ({"scope": "a  b"}, "malformed"),
        ({"scope": " ".join(f"s{i}" for i in range(65))}, "malformed"),
        ({"roles": "admin"}, "malformed"),
        ({"roles": [1]}, "malformed"),
        ({"gen": "1"}, "malformed"),
        ({"gen": True}, "malformed"),
        ({"cnf": None}, "malformed"),
        ({"cnf": {}}, "malformed"),
        ({"cnf": {"jkt": "x"}}, "type"),
    ],
)
def test_claims_that_do_not_hold(
    both: Both, issuer: Issuer, claims: dict[str, Any], reason: str
) -> None:
    assert both.reason(issuer.token(**claims)) == reason


def test_clocks_may_differ_by_10_s_ahead_and_by_none_at_the_end(
    make_verifier: Callable[..., Both], issuer: Issuer, clock: FakeClock
) -> None:
    both, token = make_verifier(), issuer.token()
    clock.at = NOW - 10
    both.verify(token)
    clock.at = NOW - 10.5
    with pytest.raises(VerificationError, match="dated 10 s ahead of this machine's clock"):
        both.verify(token)
    clock.at = NOW + 899.9
    both.verify(token)
    clock.at = NOW + 900
    assert both.reason(token) == "expired"
    clock.at = NOW - 60
    make_verifier(leeway=60).verify(token)


def test_an_audience_is_needed(both: Both, issuer: Issuer) -> None:
    with pytest.raises(ConfigurationError, match="name your API's identifier"):
        both.verify(issuer.token(), audience="")


def test_a_missing_permission_is_a_403_that_names_it(both: Both, issuer: Issuer) -> None:
    both.verify(issuer.token(), scopes="invoices:read invoices:write")
    with pytest.raises(VerificationError, match="lacks invoices:burn") as caught:
        both.verify(issuer.token(), scopes=["invoices:read", "invoices:burn"])
    error = caught.value
    assert (error.reason, error.status, error.code) == ("scope", 403, "insufficient_scope")
    assert error.www_authenticate == (
        'Bearer error="insufficient_scope", scope="invoices:read invoices:burn"'
    )


def test_a_bound_token_is_for_who_checks_the_binding(
    make_verifier: Callable[..., Both], issuer: Issuer
) -> None:
    who = make_verifier(accept_bound=True).verify(issuer.token(cnf={"jkt": "x"}))
    assert who.confirmation == {"jkt": "x"}


def test_revocations_are_asked_each_time(
    make_verifier: Callable[..., Both], issuer: Issuer
) -> None:
    class Denylist:
        def __init__(self) -> None:
            self.ids: set[str] = set()

        def revoked(self, principal: Principal) -> bool:
            return principal.token_id in self.ids

    denylist = Denylist()
    both, token = make_verifier(revocations=denylist), issuer.token()
    who = both.verify(token)
    denylist.ids.add(who.token_id)
    assert both.reason(token) == "revoked"


def counted(both: Both, issuer: Issuer) -> list[bytes]:
    """Counts the signature checks with the issuer's key from now on."""
    checks: list[bytes] = []
    key = both.verifier._keys._keys[issuer.kid]
    real = key.verify

    def verify(signature: bytes, signed: bytes) -> bool:
        checks.append(signature)
        return real(signature, signed)

    object.__setattr__(key, "verify", verify)
    return checks


def test_a_token_that_was_seen_costs_no_signature_check_but_is_judged(
    both: Both, issuer: Issuer, clock: FakeClock
) -> None:
    token = issuer.token()
    both.verify(token)
    checks = counted(both, issuer)
    both.verify(token)
    assert checks == []
    assert both.reason(token, audience="https://other.example") == "audience"
    assert both.reason(token, scopes=["x"]) == "scope"
    clock.at += 900
    assert both.reason(token) == "expired"


def test_what_is_remembered_is_bounded(make_verifier: Callable[..., Both], issuer: Issuer) -> None:
    both = make_verifier(cache_size=2)
    tokens = [issuer.token(jti=f"tok_{i}") for i in range(3)]
    for token in tokens:
        both.verify(token)
    checks = counted(both, issuer)
    both.verify(tokens[2])
    both.verify(tokens[1])
    assert checks == []
    both.verify(tokens[0])
    assert len(checks) == 1
    none = make_verifier(cache_size=0)
    none.verify(tokens[0])
    assert none.verifier._seen == {}


def test_a_remembered_token_dies_with_its_key(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock
) -> None:
    token = issuer.token()
    both.verify(token)
    other = Issuer()  # the same id, another key
    server.on(JWKS, key_set(other))
    clock.at += 301
    assert both.reason(token) == "signature"
    both.verify(other.token())


def test_keys_are_fetched_when_first_needed_and_kept_for_max_age(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock
) -> None:
    assert server.requests == []
    for after, count in [(0, 1), (299.9, 1), (0.1, 2), (299, 2)]:
        clock.at += after
        both.verify(issuer.token())
        assert len(server.seen(JWKS)) == count


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("max-age=86400", 600),
        ("public, max-age=60", 60),
        ('max-age="60"', 60),
        ("s-maxage=5, max-age=60", 60),
        ("no-store", 1),
        ("max-age=0", 1),
        ("immutable", 300),
        ("max-age=x", 300),
    ],
)
def test_the_header_is_honoured_within_bounds(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock, control: str, seconds: int
) -> None:
    server.on(JWKS, answer(200, {"keys": [issuer.jwk()]}, cache_control=control))
    both.verify(issuer.token())
    clock.at += seconds - 0.01
    both.verify(issuer.token())
    assert len(server.seen(JWKS)) == 1
    clock.at += 0.01
    both.verify(issuer.token(exp=NOW + 9000))
    assert len(server.seen(JWKS)) == 2


def test_what_a_cache_has_used_up_is_taken_off(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock
) -> None:
    keys = {"keys": [issuer.jwk()]}
    server.on(JWKS, answer(200, keys, cache_control="max-age=300", age="290"))
    both.verify(issuer.token())
    clock.at += 10
    both.verify(issuer.token())
    assert len(server.seen(JWKS)) == 2


def test_unknown_key_ids_lead_to_one_fetch_in_30_s(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock
) -> None:
    both.verify(issuer.token())
    new = Issuer("key-2")
    for i in range(50):
        assert both.reason(issuer.token(issuer.header(kid=f"random-{i}"))) == "key_unknown"
    assert len(server.seen(JWKS)) == 2
    server.on(JWKS, key_set(issuer, new))
    assert both.reason(new.token()) == "key_unknown"
    clock.at += 30
    both.verify(new.token())
    assert len(server.seen(JWKS)) == 3


def test_a_key_that_is_new_is_found_at_once(both: Both, issuer: Issuer, server: Server) -> None:
    both.verify(issuer.token())
    new = Issuer("key-2")
    server.on(JWKS, key_set(issuer, new))
    both.verify(new.token())


def test_a_key_that_is_no_longer_published_is_dropped(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock
) -> None:
    both.verify(issuer.token())
    server.on(JWKS, key_set(Issuer("key-2")))
    clock.at += 300
    assert both.reason(issuer.token()) == "key_unknown"


@pytest.mark.parametrize(
    "failure",
    [
        answer(503),
        answer(302, None, location="https://evil.example/"),
        httpx.Response(200, html="<html>"),
        answer(200, {}),
        answer(200, {"keys": {}}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
    ids=["503", "302", "html", "shape", "keys", "refused", "timeout"],
)
def test_without_keys_nothing_can_be_said(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock, failure: Any
) -> None:
    server.on(JWKS, failure)
    for _ in range(5):
        with pytest.raises(KeyFetchError, match="keys cannot be had") as caught:
            both.verify(issuer.token())
        error = caught.value
        assert (error.status, error.retryable, error.retry_after) == (503, True, 5)
    assert len(server.seen(JWKS)) == 1, "it is left alone for 5 s"
    server.on(JWKS, key_set(issuer))
    clock.at += 5
    both.verify(issuer.token())


def test_keys_that_are_held_serve_on_while_the_issuer_is_away(
    both: Both, issuer: Issuer, server: Server, clock: FakeClock
) -> None:
    token = issuer.token(exp=NOW + 90_000)
    both.verify(token)
    server.on(JWKS, httpx.ConnectError("refused"))
    for _ in range(4):
        clock.at += 3600
        both.verify(token)
        both.verify(token)
        both.settle()
    assert len(server.seen(JWKS)) == 5
    with pytest.raises(KeyFetchError):
        both.verify(Issuer("key-2").token())


def test_a_malformed_token_fetches_nothing(both: Both, server: Server, issuer: Issuer) -> None:
    both.reason("garbage")
    both.reason(issuer.token(issuer.header(typ="JWT")))
    assert server.requests == []


def test_many_callers_fetch_the_keys_once(server: Server, issuer: Issuer, clock: FakeClock) -> None:
    release = threading.Event()

    def slow(_: httpx.Request) -> httpx.Response:
        assert release.wait(60)
        return key_set(issuer)

    server.on(JWKS, slow)
    verifier = Verifier(ISSUER, http_client=server.http(), clock=clock)
    results: list[Principal] = []
    token = issuer.token()
    threads = [
        threading.Thread(target=lambda: results.append(verifier.verify(token, audience=API)))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    release.set()
    for thread in threads:
        thread.join(60)
    assert len(results) == 50
    assert len(server.seen(JWKS)) == 1


def test_the_reason_is_for_the_log(
    server: Server, issuer: Issuer, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    server.on(JWKS, key_set(issuer))
    log = logging.getLogger("test.verifier")
    verifier = Verifier(ISSUER, http_client=server.http(), clock=clock, logger=log)
    token = issuer.token(aud="https://other.example")
    with caplog.at_level(logging.DEBUG), pytest.raises(VerificationError):
        verifier.verify(token, audience=API)
    assert "reason=audience" in caplog.text
    assert token not in caplog.text


def test_a_verifier_needs_an_issuer_and_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no issuer"):
        Verifier()
    monkeypatch.setenv("MARQUE_ISSUER", ISSUER)
    monkeypatch.setenv("MARQUE_CLIENT_ID", "half of a credential")
    with Verifier() as verifier:
        assert repr(verifier) == f"Verifier(issuer='{ISSUER}')"
