"""The errors, all of them `MarqueError`. Each says what to do, and none carries a secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from marque._generated.errors import ErrorCode
from marque._response import Response

Kind = Literal[
    "api",
    "authentication",
    "connection",
    "timeout",
    "tls",
    "protocol",
    "configuration",
    "verification",
    "key_fetch",
    "stale",
]

Reason = Literal[
    "malformed",
    "signature",
    "expired",
    "not_yet_valid",
    "issuer",
    "audience",
    "type",
    "algorithm",
    "key_unknown",
    "revoked",
    "scope",
]


class MarqueError(Exception):
    """The base of every error of this package."""

    kind: ClassVar[Kind]

    status: int | None = None
    """The HTTP status, where there was an answer."""
    code: str | None = None
    """The code of the answer, to program against; codes that this version does not know too."""
    request_id: str | None = None
    retryable: bool = False
    """Whether the same call may succeed later."""
    retry_after: float | None = None
    """After how many seconds, where the server said so."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(MarqueError):
    """What was configured cannot work. The message names the setting and where it came from."""

    kind = "configuration"


class NetworkError(MarqueError):
    """The server was not reached, or the connection was lost before it answered."""

    kind = "connection"
    retryable = True


class RequestTimeoutError(MarqueError, TimeoutError):
    """There was no answer in time. What became of the request is not known."""

    kind = "timeout"
    retryable = True


class TLSError(MarqueError):
    """There is no secure connection to be had, most often for want of the right CA."""

    kind = "tls"


class ProtocolError(MarqueError):
    """The answer is none that the server gives: HTML, a redirect, cut short, too large."""

    kind = "protocol"

    def __init__(
        self, message: str, *, response: Response | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        if response is not None:
            self.status = response.status
            self.request_id = response.request_id


@dataclass(frozen=True, slots=True)
class FieldError:
    """A finding on one member of a request."""

    pointer: str
    """A JSON pointer into the body, `?name` for a query parameter, `{name}` for one of the path."""
    detail: str


@dataclass(frozen=True, slots=True)
class InUseItem:
    """One that uses what was to be deleted or taken away."""

    kind: str
    """What it is, such as `role` or `service_account`."""
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class InUse:
    """What uses a thing that was to be deleted or taken away."""

    count: int
    items: tuple[InUseItem, ...]
    """The first 20, in the order of their ids."""


class _AnswerError(MarqueError):
    """An error that the server told: problem details (RFC 9457) or RFC 6749 section 5.2."""

    def __init__(
        self,
        message: str,
        *,
        response: Response,
        code: str,
        title: str | None = None,
        detail: str | None = None,
        permission: str | None = None,
        issued_id: str | None = None,
        errors: Sequence[FieldError] = (),
        in_use: InUse | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status: int = response.status  # pyright: ignore[reportIncompatibleVariableOverride]
        self.code: str = code  # pyright: ignore[reportIncompatibleVariableOverride]
        self.request_id = response.request_id
        # With the last of these the first attempt is still running: its answer can be had soon.
        self.retryable = (
            response.status == 429
            or response.status >= 500
            or code == ErrorCode.IDEMPOTENCY_KEY_IN_PROGRESS
        )
        self.retry_after = retry_after
        self.response = response
        """The answer as it came, with the raw body."""
        self.title = title
        self.detail = detail
        self.permission = permission
        """The permission that is missing, with `insufficient_scope`."""
        self.issued_id = issued_id
        """The id of what was issued, with `secret_already_issued`."""
        self.errors = tuple(errors)
        self.in_use = in_use
        """With `in_use`, by what."""


class APIError(_AnswerError):
    """The server refused a call. `code` says why; compare it with the constants of `ErrorCode`."""

    kind = "api"


class AuthenticationError(MarqueError):
    """There is no token to be had: the server refused the credential, or what it was asked for."""

    kind = "authentication"

    def __init__(self, message: str, *, answer: _AnswerError | None = None) -> None:
        super().__init__(message)
        self.answer = answer
        """The token endpoint's refusal, where there was one."""
        if answer is not None:
            self.status = answer.status
            self.code = answer.code
            self.request_id = answer.request_id
            self.retryable = answer.retryable
            self.retry_after = answer.retry_after


class VerificationError(MarqueError):
    """A token is not good here.

    Answer with `status` and the header `WWW-Authenticate: {www_authenticate}`
    (RFC 6750 section 3): 401, or 403 where only a permission is missing. `reason` is for
    your log: whoever sent the token is not told.
    """

    kind = "verification"

    def __init__(self, reason: Reason, message: str, *, scopes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.scopes = tuple(scopes)
        """The permissions that are asked for, with the reason `scope`."""
        missing = reason == "scope"
        self.status: int = 403 if missing else 401  # pyright: ignore[reportIncompatibleVariableOverride]
        self.code = "insufficient_scope" if missing else "invalid_token"

    @property
    def www_authenticate(self) -> str:
        """The value of the response header `WWW-Authenticate`."""
        challenge = f'Bearer error="{self.code}"'
        if self.scopes:
            challenge += f', scope="{" ".join(self.scopes)}"'
        return challenge


class KeyFetchError(MarqueError):
    """The issuer's keys could not be fetched, so nothing can be said about a token: answer 503."""

    kind = "key_fetch"
    retryable = True
    status = 503

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RevocationsStaleError(MarqueError):
    """It is not known what has been revoked lately, so nothing can be said about a token:
    answer 503."""

    kind = "stale"
    retryable = True
    status = 503

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
