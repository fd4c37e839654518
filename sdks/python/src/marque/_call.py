"""One logical call: its requests, and what to do after each attempt. It sends nothing itself,
so that the client for threads and the one for asyncio decide alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx

from marque._answer import decode_answer, failure_of
from marque._encode import encode_form, encode_json, expand_path, pairs_of, text_of
from marque._errors import ConfigurationError, MarqueError
from marque._hooks import Attempt, log_attempt
from marque._operation import Operation, RequestOptions
from marque._redact import masker
from marque._response import Response
from marque._retry import retry_delay
from marque._send import Outcome
from marque._settings import USER_AGENT, Settings, check_seconds
from marque._unset import UNSET

if TYPE_CHECKING:
    from marque._tokens import Token

T = TypeVar("T")


class Reauthenticate:
    """What is left to do: the same again with another token."""


class Call(Generic[T]):
    """Encodes once; makes the request of each attempt; judges what came of it."""

    def __init__(
        self,
        settings: Settings,
        op: Operation,
        *,
        path: Mapping[str, object],
        query: Sequence[tuple[str, object]],
        headers: Mapping[str, object],
        body: Mapping[str, object] | None,
        decode: Callable[[Any], T],
        options: RequestOptions,
    ) -> None:
        self._settings = settings
        self.op = op
        self._decode = decode
        self._on_response = options.get("on_response")
        default = settings.token_timeout if op.token_endpoint else settings.timeout
        self.timeout = check_seconds("timeout", options.get("timeout", default))
        self._retries = options.get("retries", settings.retries) if op.idempotent else 0
        self._url = httpx.URL(settings.url(expand_path(op.path, path)))
        if pairs := pairs_of(query):
            self._url = self._url.copy_with(query=urlencode(pairs, quote_via=quote).encode())
        self._headers = self._common_headers(headers, options)
        self._members = body
        self._body = self._encode(body)
        self._mask: Callable[[str], str] = str
        self._signs_itself = body is not None and body.get("client_id", UNSET) is not UNSET
        self._attempt = Attempt(op.id, op.method, op.path, 0)
        self._begun = 0.0
        self._replayed = False
        self._with_token = False

    @property
    def client_authenticates(self) -> bool:
        """Whether the client's credential goes along, which the caller's own would forbid."""
        return self.op.auth == "client" and not self._signs_itself

    def takes_token(self, only_by_token: bool) -> bool:
        """Whether it is sent with a token. Where the client's own credential would go along,
        but is good for a token only, that is taken; `tokens.issue` is there for other clients."""
        if self.client_authenticates and self.op.id != "tokens.issue":
            return only_by_token
        return self.op.auth == "bearer"

    def _common_headers(
        self, headers: Mapping[str, object], options: RequestOptions
    ) -> httpx.Headers:
        merged = httpx.Headers(
            {"accept": "application/json", "accept-encoding": "identity", "user-agent": USER_AGENT}
        )
        for name, value in options.get("headers", {}).items():
            if name.lower() in ("authorization", "content-length", "host", "content-type"):
                raise ConfigurationError(f"the header {name} is not set per call")
            merged[name] = value
        for name, value in headers.items():
            if value is not UNSET and value is not None:
                merged[name] = text_of(value)
        if self.op.idempotent and self.op.method in ("POST", "PATCH"):
            # One key for all attempts, by which a server tells a replay from a new call.
            merged["idempotency-key"] = options.get("idempotency_key") or str(uuid4())
        elif (key := options.get("idempotency_key")) is not None:
            merged["idempotency-key"] = key
        return merged

    def _encode(self, body: Mapping[str, object] | None) -> bytes | None:
        if body is None or self.op.content_type is None:
            return None
        self._headers["content-type"] = self.op.content_type
        if self.op.content_type == "application/x-www-form-urlencoded":
            return encode_form(body)
        return encode_json(body)

    def begin(self, authorization: httpx.Headers | Token | None) -> httpx.Request:
        """The request of the next attempt."""
        self._attempt = replace(
            self._attempt,
            number=self._attempt.number + 1,
            status=None,
            request_id=None,
            error=None,
            seconds=None,
            retry_in=None,
        )
        self._with_token = authorization is not None and not isinstance(
            authorization, httpx.Headers
        )
        headers = self._headers.copy()
        if (before := self._settings.hooks.before) is not None:
            for name, value in (before(self._attempt) or {}).items():
                headers.setdefault(name, value)
        if isinstance(authorization, httpx.Headers):
            headers.update(authorization)
        elif authorization is not None:
            headers["authorization"] = authorization.header()
        self._begun = self._settings.clock.now()
        request = httpx.Request(
            self.op.method,
            self._url,
            headers=headers,
            content=self._body,
            extensions={"timeout": httpx.Timeout(self.timeout).as_dict()},
        )
        self._mask = masker(request, self._members)
        return request

    def settle(self, outcome: Outcome) -> Response | float | Reauthenticate:
        """What to do now: be done, wait so many seconds, or sign in again; or it raises."""
        now = self._settings.clock.now()
        failure = (
            outcome if isinstance(outcome, MarqueError) else failure_of(outcome, now, self._mask)
        )
        step: Response | float | Reauthenticate | None = None
        retry_in: float | None = None
        if isinstance(outcome, Response) and failure is None:
            step = outcome
        elif self._token_was_refused(outcome):
            self._replayed = True
            step, retry_in = Reauthenticate(), 0.0
        elif failure is not None and self._retries > 0:
            done = self._attempt.number - 1 - int(self._replayed)
            retry_in = retry_delay(failure, done, self._settings.random)
            if retry_in is not None:
                self._retries -= 1
                step = retry_in
        self._tell(outcome, failure, now, retry_in)
        if step is None:
            assert failure is not None
            raise failure
        return step

    def _token_was_refused(self, outcome: Outcome) -> bool:
        return (
            isinstance(outcome, Response)
            and outcome.status == 401
            and self._with_token
            and not self._replayed
        )

    def _tell(
        self, outcome: Outcome, failure: MarqueError | None, now: float, retry_in: float | None
    ) -> None:
        attempt = replace(
            self._attempt,
            status=outcome.status,
            request_id=outcome.request_id,
            error=failure,
            seconds=now - self._begun,
            retry_in=retry_in,
        )
        log_attempt(self._settings.logger, attempt)
        if (after := self._settings.hooks.after) is not None:
            after(attempt)

    def value(self, response: Response) -> T:
        """The decoded answer."""
        if self._on_response is not None:
            self._on_response(response)
        return decode_answer(response, self._decode)
