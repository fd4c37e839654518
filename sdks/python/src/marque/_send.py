"""One attempt on the wire: it ends with an answer or with an error of ours.

Errors are returned, not raised: raised while an exception of the HTTP library is being
handled they would carry its frames, in which the credential can be seen.
"""

from __future__ import annotations

import ssl
import time

import httpx

from marque._answer import MAX_BODY
from marque._errors import (
    ConfigurationError,
    MarqueError,
    NetworkError,
    ProtocolError,
    RequestTimeoutError,
    TLSError,
)
from marque._response import Response

Outcome = Response | MarqueError


class _Stop(Exception):
    """Ends the reading of a body, with the error that the attempt ends with."""

    def __init__(self, failure: MarqueError) -> None:
        self.failure = failure


class Opened:
    """An answer that is read while it comes. Whoever has it closes its `head`."""

    def __init__(self, head: httpx.Response, request: httpx.Request, seconds: float) -> None:
        self.head = head
        self._request = request
        self._seconds = seconds

    @property
    def response(self) -> Response:
        """What is known of it before its body."""
        return Response(self.head.status_code, self.head.headers, b"")

    @property
    def media_type(self) -> str:
        """What it is, in lower case."""
        return self.head.headers.get("content-type", "").partition(";")[0].strip().lower()

    def broken(self, error: httpx.HTTPError) -> MarqueError:
        """The error of an answer that breaks off."""
        return _failure(error, self._request, self.head, self._seconds)


class Sender:
    """Sends with an `httpx.Client`, from any thread."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def attempt(self, request: httpx.Request, seconds: float, limit: int = MAX_BODY) -> Outcome:
        """Sends once. The body must be there in time as a whole."""
        outcome = self._send(request, seconds, limit, stream=False)
        assert not isinstance(outcome, Opened)
        return outcome

    def open(self, request: httpx.Request, seconds: float) -> Opened | Outcome:
        """Sends once. A success is read while it comes, anything else as a whole."""
        return self._send(request, seconds, MAX_BODY, stream=True)

    def _send(
        self, request: httpx.Request, seconds: float, limit: int, *, stream: bool
    ) -> Opened | Outcome:
        deadline = time.monotonic() + seconds
        head: httpx.Response | None = None
        body = bytearray()
        try:
            head = self.client.send(request, stream=True, auth=None, follow_redirects=False)
            if stream and head.is_success:
                return Opened(head, request, seconds)
            try:
                _check_head(head)
                for chunk in head.iter_bytes():
                    _take(body, chunk, head, limit)
                    if time.monotonic() > deadline:
                        raise _Stop(_too_late(request, seconds))
            finally:
                head.close()
            return Response(head.status_code, head.headers, bytes(body))
        except _Stop as stop:
            return stop.failure
        except httpx.HTTPError as error:
            return _failure(error, request, head, seconds)


class AsyncSender:
    """Sends with an `httpx.AsyncClient`, on one event loop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def attempt(
        self, request: httpx.Request, seconds: float, limit: int = MAX_BODY
    ) -> Outcome:
        """Sends once. The body must be there in time as a whole."""
        outcome = await self._send(request, seconds, limit, stream=False)
        assert not isinstance(outcome, Opened)
        return outcome

    async def open(self, request: httpx.Request, seconds: float) -> Opened | Outcome:
        """Sends once. A success is read while it comes, anything else as a whole."""
        return await self._send(request, seconds, MAX_BODY, stream=True)

    async def _send(
        self, request: httpx.Request, seconds: float, limit: int, *, stream: bool
    ) -> Opened | Outcome:
        import asyncio

        head: httpx.Response | None = None
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                head = await self.client.send(
                    request, stream=True, auth=None, follow_redirects=False
                )
                if stream and head.is_success:
                    return Opened(head, request, seconds)
                try:
                    _check_head(head)
                    async for chunk in head.aiter_bytes():
                        _take(body, chunk, head, limit)
                finally:
                    await head.aclose()
            return Response(head.status_code, head.headers, bytes(body))
        except _Stop as stop:
            return stop.failure
        except TimeoutError:
            return _too_late(request, seconds)
        except httpx.HTTPError as error:
            return _failure(error, request, head, seconds)


def _check_head(head: httpx.Response) -> None:
    # Nothing compressed was asked for, and 1 MiB of it could become a gigabyte.
    if head.headers.get("content-encoding", "identity") != "identity":
        raise _Stop(
            ProtocolError(
                "the answer is compressed, which was not asked for: is there a proxy in between?",
                response=Response(head.status_code, head.headers, b""),
            )
        )


def _take(body: bytearray, chunk: bytes, head: httpx.Response, limit: int) -> None:
    body += chunk
    if len(body) > limit:
        raise _Stop(
            ProtocolError(
                f"the answer is larger than {limit} bytes: is the issuer Marque's address?",
                response=Response(head.status_code, head.headers, b""),
            )
        )


def _too_late(request: httpx.Request, seconds: float) -> MarqueError:
    return RequestTimeoutError(
        f"no whole answer from {request.url.host} in {seconds:g} s: "
        "try again, or allow more with timeout"
    )


def _failure(
    error: httpx.HTTPError, request: httpx.Request, head: httpx.Response | None, seconds: float
) -> MarqueError:
    """Names what the HTTP library ran into, in our words. `head`: it had begun to answer."""
    host = request.url.netloc.decode("ascii", "replace")
    if isinstance(error, httpx.TimeoutException):
        return _too_late(request, seconds)
    if (cause := _tls_cause(error)) is not None:
        return TLSError(_tls_advice(cause, host))
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        # Its text may quote a header, and with it a credential.
        return ConfigurationError(
            "the request cannot be sent: is a header or the issuer malformed?"
        )
    text = f"{type(error).__name__}: {error}"
    if head is not None:
        return ProtocolError(
            f"the answer of {host} was cut short ({text})",
            response=Response(head.status_code, head.headers, b""),
            retryable=True,
        )
    if isinstance(error, httpx.ConnectError):
        return NetworkError(f"cannot connect to {host} ({text}): is the issuer right, does it run?")
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return ProtocolError(f"{host} does not answer in HTTP/1.1 ({text}): is the issuer right?")
    return NetworkError(f"the connection to {host} was lost before an answer ({text})")


def _tls_cause(error: BaseException) -> ssl.SSLError | None:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None or isinstance(seen, ssl.SSLError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _tls_advice(cause: ssl.SSLError, host: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message
        if cause.verify_code in (18, 19, 20, 21):  # X509_V_ERR_*: nobody we trust signed it
            fix = (
                "nobody whom this client trusts has signed it: give the PEM file of the right "
                "authority as ca_file or in MARQUE_CA_FILE (a development server's is ca.pem in "
                "its data directory)"
            )
        elif cause.verify_code in (9, 10):
            fix = "it is not valid now: check this machine's clock, then the server's certificate"
        else:
            fix = "use the host name that the certificate is made out for as the issuer"
        return f"the certificate of {host} is refused ({why}): {fix}"
    reason = cause.reason or str(cause)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return f"{host} does not speak TLS ({reason}): is the port right?"
    return f"no TLS connection to {host} ({reason}): TLS 1.2 or newer is needed on both sides"
