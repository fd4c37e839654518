"""Followers of the feed of revocations: see `marque._verify.following` for what they do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from marque._answer import no_content
from marque._call import Call, Reauthenticate
from marque._clock import SystemClock
from marque._errors import ConfigurationError, MarqueError, ProtocolError, RequestTimeoutError
from marque._events import EventParser, EventTooLong
from marque._flight import LANDING
from marque._generated.operations import REVOCATIONS_FEED, REVOCATIONS_SNAPSHOT
from marque._operation import RequestOptions
from marque._send import AsyncSender, Opened, Sender
from marque._settings import MANAGEMENT, Settings, check_seconds
from marque._token_source import AsyncTokenSource, TokenSource
from marque._tokens import Want
from marque._transport import AsyncTransport, Transport
from marque._unset import UNSET
from marque._verify.following import Following, Stream
from marque._verify.revoked import Snapshot

if TYPE_CHECKING:
    import asyncio

    from marque._verify.claims import Principal

_WANT: Final = Want(MANAGEMENT)
_ONCE: Final[RequestOptions] = {"retries": 0}
_HELD: Final = 64 << 20
"""Bytes of the largest snapshot that is read: room for two million tokens."""


class _Follower(Following):
    def __init__(
        self, settings: Settings, audience: str | None, stale_after: float, fail_open: bool
    ) -> None:
        check_seconds("stale_after", stale_after)
        super().__init__(settings.clock, stale_after, fail_open, settings.logger, settings.random)
        self._settings: Final = settings
        self._query: Final = (("audience", UNSET if audience is None else audience),)

    def _call(self, stream: Stream) -> Call[None]:
        return Call(
            self._settings,
            REVOCATIONS_FEED,
            path={},
            query=self._query,
            headers={"Last-Event-ID": stream.sent, "Accept": "text/event-stream"},
            body=None,
            decode=no_content,
            options=_ONCE,
        )

    def _request(self, call: Call[None], token: Any) -> httpx.Request:
        request = call.begin(token)
        # A read that brings nothing for so long is over; what brings no heartbeat is judged
        # piece by piece.
        seconds = self._settings.timeout
        timeout = httpx.Timeout(seconds, read=max(self.silence / 1.5, 2 * self.heartbeat))
        request.extensions["timeout"] = timeout.as_dict()
        return request

    def _opened(self, call: Call[None], outcome: Any) -> Opened | MarqueError | Reauthenticate:
        try:
            step = call.settle(outcome.response if isinstance(outcome, Opened) else outcome)
        except MarqueError as error:
            return error.with_traceback(None)
        if isinstance(step, Reauthenticate) or not isinstance(outcome, Opened):
            return Reauthenticate()
        if outcome.media_type != "text/event-stream":
            return ProtocolError("the answer is no stream of events: is there a proxy in between?")
        return outcome

    def _take(self, stream: Stream, parser: EventParser, chunk: bytes) -> MarqueError | None:
        try:
            events = parser.feed(chunk)
        except EventTooLong:
            return stream.malformed("an event is longer than any of Marque's")
        for event in events:
            if (error := stream.take(event)) is not None:
                return error
        return None

    def _unexpected(self, error: Exception) -> MarqueError:
        # A hook of the caller's, say: it must not end the following without a word.
        return ConfigurationError(f"following revocations failed with {type(error).__name__}")

    def _not_ready(self, seconds: float) -> MarqueError:
        if self._is_closed:
            return ConfigurationError("the follower of revocations is closed")
        why = f": {self._failure.message}" if self._failure is not None else ""
        return RequestTimeoutError(f"it is not known in {seconds:g} s what is revoked{why}")


class RevocationFollower(_Follower):
    """Knows what is revoked, for verifiers in any thread, by one thread of its own.

    Get it from `Marque.follow_revocations`, give it to `Verifier(revocations=...)`. It is stale
    before the first snapshot has come, after `stale_after` seconds without a heartbeat, and when
    it is closed; in a process that was forked from its own, too.
    """

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        tokens: TokenSource,
        transport: Transport,
        *,
        audience: str | None,
        stale_after: float,
        fail_open: bool,
    ) -> None:
        """`Marque.follow_revocations` makes it."""
        super().__init__(settings, audience, stale_after, fail_open)
        self._sender: Final = sender
        self._tokens: Final = tokens
        self._transport: Final = transport
        self._stop: Final = threading.Event()
        self._lock: Final = threading.Lock()
        self._open: Opened | None = None
        self._thread: Final = threading.Thread(
            target=self._run, name="marque-revocations", daemon=True
        )
        self._thread.start()

    def is_stale(self) -> bool:
        # A fork leaves the thread behind, and what it was told with it.
        return super().is_stale() or not self._thread.is_alive()

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Returns when it is known what is revoked; raises when it is not, in so many seconds."""
        if not self.settled.wait(timeout) or self._revoked is None:
            raise self._not_ready(timeout)

    def close(self) -> None:
        """Ends the thread and its connection."""
        self._is_closed = True
        self._stop.set()
        self.settled.set()
        with self._lock:
            if self._open is not None:
                _interrupt(self._open.head)
        if self._thread is not threading.current_thread():
            self._thread.join(LANDING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                wait = self._round()
            except MarqueError as error:
                wait = 0.0 if self._stop.is_set() else self.failed(error.with_traceback(None))
            except Exception as error:  # noqa: BLE001 - see _unexpected
                wait = 0.0 if self._stop.is_set() else self.failed(self._unexpected(error))
            if wait > 0:
                self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        if isinstance(self._clock, SystemClock):
            self._stop.wait(seconds)  # which close cuts short
        elif not self._stop.is_set():
            self._clock.sleep(seconds)

    def _round(self) -> float:
        if self.anew:
            asked_at = self.moment()
            snapshot = self._transport.request(
                REVOCATIONS_SNAPSHOT,
                query=self._query,
                decode=Snapshot,
                options=_ONCE,
                limit=_HELD,
            )
            self.take_snapshot(snapshot, asked_at)
        stream = self.begin()
        call = self._call(stream)
        while True:
            token = self._tokens.get(_WANT, self._settings.timeout)
            outcome = self._sender.open(self._request(call, token), self._settings.timeout)
            opened = self._opened(call, outcome)
            if not isinstance(opened, Reauthenticate):
                break
            self._tokens.drop(_WANT, token)
        if isinstance(opened, MarqueError):
            if isinstance(outcome, Opened):
                outcome.head.close()
            return self.failed(opened)
        parser = EventParser()
        try:
            error = self._listen(opened, stream, parser)
        finally:
            with self._lock:
                self._open = None
            opened.head.close()
        if self._stop.is_set():
            return 0.0
        if error is not None:
            return self.failed(error)
        return self.ended(stream, parser.retry, token.expires_at.timestamp())

    def _listen(self, opened: Opened, stream: Stream, parser: EventParser) -> MarqueError | None:
        with self._lock:
            if self._stop.is_set():
                return None
            self._open = opened
        beaten = time.monotonic()
        try:
            for chunk in opened.head.iter_raw():
                heard = self._heard
                if (error := self._take(stream, parser, chunk)) is not None:
                    return error
                if self._heard is not heard:
                    beaten = time.monotonic()
                elif time.monotonic() - beaten > self.silence:
                    return self.silent()
        except httpx.ReadTimeout:
            return self.silent()
        except httpx.HTTPError as error:
            return opened.broken(error)
        return None if stream.welcomed else stream.malformed("it ends before hello")


def _interrupt(head: httpx.Response) -> None:
    """Ends a read that another thread is waiting in."""
    network: Any = head.extensions.get("network_stream")
    connection = network.get_extra_info("socket") if network is not None else None
    if isinstance(connection, socket.socket):
        with contextlib.suppress(OSError):  # it may be closed already
            # Not the method of a TLS socket: that one would pull the TLS away from the reader.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
    else:
        head.close()


class AsyncRevocationFollower(_Follower):
    """Knows what is revoked, for verifiers on one event loop, by one task of its own.

    As `RevocationFollower`, from `AsyncMarque.follow_revocations`. It begins at once where a
    loop is running, else with the first verification or `wait_ready`.
    """

    def __init__(
        self,
        settings: Settings,
        sender: AsyncSender,
        tokens: AsyncTokenSource,
        transport: AsyncTransport,
        *,
        audience: str | None,
        stale_after: float,
        fail_open: bool,
    ) -> None:
        """`AsyncMarque.follow_revocations` makes it."""
        import asyncio

        super().__init__(settings, audience, stale_after, fail_open)
        self._sender: Final = sender
        self._tokens: Final = tokens
        self._transport: Final = transport
        self._task: asyncio.Task[None] | None = None
        self._ready: Final = asyncio.Event()
        self.start()

    def start(self) -> None:
        """Begins, if that has not happened and a loop is running."""
        import asyncio

        if self._task is None and not self._is_closed:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            self._task = loop.create_task(self._run(), name="marque-revocations")

    def check(self, principal: Principal, kid: str) -> None:
        self.start()
        super().check(principal, kid)

    def is_stale(self) -> bool:
        return super().is_stale() or self._task is None or self._task.done()

    async def wait_ready(self, timeout: float = 30.0) -> None:
        """Returns when it is known what is revoked; raises when it is not, in so many seconds."""
        import asyncio

        self.start()
        try:
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        except TimeoutError:
            raise self._not_ready(timeout) from None
        if self._revoked is None:
            raise self._not_ready(timeout)

    async def aclose(self) -> None:
        """Ends the task and its connection."""
        import asyncio

        self._is_closed = True
        self._ready.set()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self) -> None:
        while not self._is_closed:
            try:
                wait = await self._round()
            except MarqueError as error:
                wait = self.failed(error.with_traceback(None))
            except Exception as error:  # noqa: BLE001 - see _unexpected
                wait = self.failed(self._unexpected(error))
            # Also where there is nothing to wait for: others must have their turn.
            await self._clock.sleep_async(wait)

    async def _round(self) -> float:
        if self.anew:
            asked_at = self.moment()
            snapshot = await self._transport.request(
                REVOCATIONS_SNAPSHOT,
                query=self._query,
                decode=Snapshot,
                options=_ONCE,
                limit=_HELD,
            )
            self.take_snapshot(snapshot, asked_at)
            self._ready.set()
        stream = self.begin()
        call = self._call(stream)
        while True:
            token = await self._tokens.get(_WANT, self._settings.timeout)
            outcome = await self._sender.open(self._request(call, token), self._settings.timeout)
            opened = self._opened(call, outcome)
            if not isinstance(opened, Reauthenticate):
                break
            self._tokens.drop(_WANT, token)
        if isinstance(opened, MarqueError):
            if isinstance(outcome, Opened):
                await outcome.head.aclose()
            return self.failed(opened)
        parser = EventParser()
        try:
            error = await self._listen(opened, stream, parser)
        finally:
            await opened.head.aclose()
        if error is not None:
            return self.failed(error)
        return self.ended(stream, parser.retry, token.expires_at.timestamp())

    async def _listen(
        self, opened: Opened, stream: Stream, parser: EventParser
    ) -> MarqueError | None:
        import asyncio

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.silence) as watchdog:
                async for chunk in opened.head.aiter_raw():
                    heard = self._heard
                    if (error := self._take(stream, parser, chunk)) is not None:
                        return error
                    if self._heard is not heard:
                        watchdog.reschedule(loop.time() + self.silence)
        except (TimeoutError, httpx.ReadTimeout):
            return self.silent()
        except httpx.HTTPError as error:
            return opened.broken(error)
        return None if stream.welcomed else stream.malformed("it ends before hello")
