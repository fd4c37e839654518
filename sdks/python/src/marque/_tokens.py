"""Tokens: what is asked for, what is got, and how long it is good. Nothing here waits or sends."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final, cast

import httpx

from marque._answer import decode_answer, failure_of
from marque._api_key import APIKeyCredential
from marque._chain import SignIn
from marque._encode import encode_form, encode_json
from marque._errors import APIError, AuthenticationError, MarqueError
from marque._hooks import Attempt, log_attempt
from marque._operation import Operation
from marque._redact import masker
from marque._response import Response
from marque._retry import retry_delay
from marque._secret import MASK, Secret
from marque._send import Outcome
from marque._settings import USER_AGENT, RefreshWindows, Settings

# As in the contract; what is generated from it needs this module first.
TOKENS_ISSUE: Final = Operation(
    "tokens.issue",
    "POST",
    "/oauth2/token",
    content_type="application/x-www-form-urlencoded",
    token_endpoint=True,
)
TOKENS_LOGIN: Final = Operation(
    "tokens.login", "POST", "/v1/login", content_type="application/json", token_endpoint=True
)

NEVER_RETRIED: Final = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "invalid_api_key",
        "malformed_api_key",
    }
)
"""The answer stays the same until somebody changes something, so asking again only adds load."""


_LONGEST: Final = 10.0**9


class Want:
    """What a token is asked for: the audience and the permissions, in any order.

    Issuer and client are those of the source that is asked, so they need not be in the key.
    """

    __slots__ = ("_hash", "resource", "scopes")

    def __init__(self, resource: str | None = None, scopes: Iterable[str] = ()) -> None:
        if isinstance(scopes, str):
            scopes = scopes.split()
        self.resource: Final = resource
        self.scopes: Final = frozenset(scopes)
        self._hash: Final = hash((resource, self.scopes))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Want)
            and self.resource == other.resource
            and self.scopes == other.scopes
        )


class Token:
    """An access token. Its `repr` masks it; compare tokens by identity."""

    __slots__ = ("access_token", "advisory_at", "expires_at", "mandatory_at", "scopes")

    def __init__(
        self,
        access_token: str,
        *,
        begun: float,
        lifetime: float,
        scopes: Iterable[str] = (),
        windows: RefreshWindows | None = None,
    ) -> None:
        self.access_token: Final = Secret(access_token)
        """The text, for `Authorization: Bearer`."""
        self.scopes: Final = tuple(scopes)
        """The permissions that were granted."""
        end = begun + lifetime
        self.expires_at: Final = datetime.fromtimestamp(end, timezone.utc)
        advisory = windows.advisory if windows else min(120.0, lifetime / 2)
        mandatory = windows.mandatory if windows else min(30.0, lifetime / 4)
        self.advisory_at: Final = end - advisory
        """Seconds since 1970: from here on a new one is fetched in the background."""
        self.mandatory_at: Final = end - mandatory
        """Seconds since 1970: from here on it is not given out any more."""

    def header(self) -> str:
        """The value of the header `Authorization`."""
        return f"Bearer {self.access_token.reveal()}"

    def __repr__(self) -> str:
        return f"Token({MASK}, expires_at={self.expires_at.isoformat()}, scopes={self.scopes!r})"


class Stage(enum.Enum):
    """What may be done with the token that is held."""

    FRESH = enum.auto()
    ADVISORY = enum.auto()
    MANDATORY = enum.auto()


def stage_of(held: Token | None, now: float) -> Stage:
    """The stage of what is held; nothing held is as good as a token at its end."""
    if held is None or now >= held.mandatory_at:
        return Stage.MANDATORY
    return Stage.FRESH if now < held.advisory_at else Stage.ADVISORY


class TokenExchange:
    """One logical token request: its attempts, and what to do after each."""

    def __init__(self, settings: Settings, credential: SignIn, want: Want) -> None:
        self._settings = settings
        self._credential = credential
        self._op = TOKENS_LOGIN if isinstance(credential, APIKeyCredential) else TOKENS_ISSUE
        self._want = want
        self._attempt = 0
        self._begun = 0.0
        self._mask: Callable[[str], str] = str

    def begin(self) -> httpx.Request:
        """The next request. The credential is read anew each time: it may have been rotated."""
        headers = httpx.Headers(
            {"accept": "application/json", "accept-encoding": "identity", "user-agent": USER_AGENT}
        )
        members: dict[str, object] = {}
        if isinstance(self._credential, APIKeyCredential):
            members["api_key"], encode = self._credential.key(), encode_json
        else:
            members["grant_type"], encode = "client_credentials", encode_form
            headers.update(self._credential.headers())
        if self._want.resource is not None:
            members["resource"] = self._want.resource
        if self._want.scopes:
            members["scope"] = " ".join(sorted(self._want.scopes))
        headers["content-type"] = cast("str", self._op.content_type)
        self._attempt += 1
        hooks = self._settings.hooks
        if hooks.before is not None:
            for name, value in (hooks.before(self._seen()) or {}).items():
                headers.setdefault(name, value)
        self._begun = self._settings.clock.now()
        request = httpx.Request(
            self._op.method,
            self._settings.url(self._op.path),
            headers=headers,
            content=encode(members),
            extensions={"timeout": httpx.Timeout(self._settings.token_timeout).as_dict()},
        )
        self._mask = masker(request, members)
        return request

    def settle(self, outcome: Outcome, *, waited: bool) -> Token | float:
        """The token, or seconds until the next attempt; or it raises. Tries again only where
        `waited`: where no caller waits, the next call is soon enough."""
        now = self._settings.clock.now()
        failure = (
            outcome if isinstance(outcome, MarqueError) else failure_of(outcome, now, self._mask)
        )
        step: Token | float | None = None
        if failure is None:
            read = self._read(cast("Response", outcome), now)
            if isinstance(read, Token):
                step = read
            else:
                failure = read
        elif (
            waited and failure.code not in NEVER_RETRIED and self._attempt <= self._settings.retries
        ):
            step = retry_delay(failure, self._attempt - 1, self._settings.random)
        self._tell(outcome, failure, now, step if isinstance(step, float) else None)
        if step is not None:
            return step
        assert failure is not None
        if isinstance(failure, APIError):
            failure = AuthenticationError(self._explain(failure), answer=failure)
        raise failure

    def _read(self, response: Response, now: float) -> Token | MarqueError:
        """The token of a good answer, or why it is of no use."""
        try:
            text, kind, seconds, scope = decode_answer(response, _members)
        except MarqueError as error:
            return error
        if kind.lower() != "bearer":
            return _useless(response, "the token is of a type other than Bearer, which is refused")
        # Counted from before the request was sent, so that the answer's way is no part of it.
        if not 0 < seconds < _LONGEST or self._begun + seconds <= now:
            return _useless(response, "the token had expired when it arrived")
        return Token(
            text,
            begun=self._begun,
            lifetime=seconds,
            scopes=scope.split(),
            windows=self._settings.windows,
        )

    def _explain(self, failure: APIError) -> str:
        text = f"no token: {failure.message}"
        if isinstance(self._credential, APIKeyCredential):
            if failure.code in ("invalid_api_key", "malformed_api_key"):
                text += (
                    f"; API key from {self._credential.source}: is it this issuer's, is its "
                    "account enabled, and is it neither expired nor deleted?"
                )
        elif failure.code == "invalid_client":
            text += (
                f"; client {self._credential.client_id} from {self._credential.source}: is it "
                "this issuer's, is it enabled, and is its secret neither expired nor deleted?"
            )
        if failure.code == "invalid_target":
            text += "; name the API's identifier as resource"
        elif failure.code == "invalid_scope":
            text += "; ask for less, or have a role assigned that gives it"
        return text

    def _seen(self) -> Attempt:
        return Attempt(self._op.id, self._op.method, self._op.path, self._attempt)

    def _tell(
        self, outcome: Outcome, failure: MarqueError | None, now: float, retry_in: float | None
    ) -> None:
        attempt = replace(
            self._seen(),
            status=outcome.status,
            request_id=outcome.request_id,
            error=failure,
            seconds=now - self._begun,
            retry_in=retry_in,
        )
        log_attempt(self._settings.logger, attempt)
        if (after := self._settings.hooks.after) is not None:
            after(attempt)


def _useless(response: Response, why: str) -> AuthenticationError:
    failure = AuthenticationError(f"no token: {why}")
    failure.status, failure.request_id = response.status, response.request_id
    return failure


def _members(data: Any) -> tuple[str, str, float, str]:
    """What is needed of a token response (RFC 6749 section 5.1); raises where it is not there."""
    text, kind, seconds = data["access_token"], data["token_type"], data["expires_in"]
    scope = data.get("scope", "")
    if not (isinstance(text, str) and isinstance(kind, str) and isinstance(scope, str)):
        raise TypeError("access_token, token_type or scope")
    # The text goes into a header, and nothing else may come along (RFC 6750 section 2.1).
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise ValueError("access_token")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError("expires_in")
    return text, kind, float(seconds), scope
