"""What generated methods call: one operation, sent until it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from marque._answer import MAX_BODY
from marque._call import Call, Reauthenticate
from marque._operation import Operation, RequestOptions
from marque._page import AsyncPager, Page, Pager, next_query, page_decoder
from marque._response import Response
from marque._send import AsyncSender, Sender
from marque._settings import MANAGEMENT, Settings
from marque._token_source import AsyncTokenSource, TokenSource
from marque._tokens import Want

T = TypeVar("T")

Query = Sequence[tuple[str, object]]
_NOTHING: Mapping[str, object] = {}
_NO_OPTIONS: RequestOptions = {}
_MANAGEMENT = Want(MANAGEMENT)


class Transport:
    """Sends operations from any thread."""

    def __init__(self, settings: Settings, sender: Sender, tokens: TokenSource) -> None:
        self._settings = settings
        self._sender = sender
        self._tokens = tokens

    def request(
        self,
        op: Operation,
        *,
        path: Mapping[str, object] = _NOTHING,
        query: Query = (),
        headers: Mapping[str, object] = _NOTHING,
        body: Mapping[str, object] | None = None,
        decode: Callable[[Any], T],
        options: RequestOptions | None = None,
        limit: int = MAX_BODY,
    ) -> T:
        """The decoded answer. Absent values are left out, `None` is null."""
        call = Call(
            self._settings,
            op,
            path=path,
            query=query,
            headers=headers,
            body=body,
            decode=decode,
            options=options or _NO_OPTIONS,
        )
        while True:
            token, signed = None, None
            if call.takes_token(self._tokens.only_by_token):
                signed = token = self._tokens.get(_MANAGEMENT, call.timeout)
            elif call.client_authenticates:
                signed = self._tokens.sign_in()
            step = call.settle(self._sender.attempt(call.begin(signed), call.timeout, limit))
            match step:
                case Response():
                    return call.value(step)
                case Reauthenticate():
                    assert token is not None
                    self._tokens.drop(_MANAGEMENT, token)
                case delay:
                    self._settings.clock.sleep(delay)

    def paginate(
        self,
        op: Operation,
        *,
        path: Mapping[str, object] = _NOTHING,
        query: Query = (),
        headers: Mapping[str, object] = _NOTHING,
        decode_item: Callable[[Any], T],
        options: RequestOptions | None = None,
    ) -> Pager[T]:
        """A list; nothing is sent before it is iterated."""
        decode = page_decoder(decode_item)

        def fetch(page_token: str | None) -> Page[T]:
            return self.request(
                op,
                path=path,
                query=next_query(query, page_token),
                headers=headers,
                decode=decode,
                options=options,
            )

        return Pager(fetch)


class AsyncTransport:
    """Sends operations on one event loop."""

    def __init__(self, settings: Settings, sender: AsyncSender, tokens: AsyncTokenSource) -> None:
        self._settings = settings
        self._sender = sender
        self._tokens = tokens

    async def request(
        self,
        op: Operation,
        *,
        path: Mapping[str, object] = _NOTHING,
        query: Query = (),
        headers: Mapping[str, object] = _NOTHING,
        body: Mapping[str, object] | None = None,
        decode: Callable[[Any], T],
        options: RequestOptions | None = None,
        limit: int = MAX_BODY,
    ) -> T:
        """The decoded answer. Absent values are left out, `None` is null."""
        call = Call(
            self._settings,
            op,
            path=path,
            query=query,
            headers=headers,
            body=body,
            decode=decode,
            options=options or _NO_OPTIONS,
        )
        while True:
            token, signed = None, None
            if call.takes_token(self._tokens.only_by_token):
                signed = token = await self._tokens.get(_MANAGEMENT, call.timeout)
            elif call.client_authenticates:
                signed = self._tokens.sign_in()
            step = call.settle(await self._sender.attempt(call.begin(signed), call.timeout, limit))
            match step:
                case Response():
                    return call.value(step)
                case Reauthenticate():
                    assert token is not None
                    self._tokens.drop(_MANAGEMENT, token)
                case delay:
                    await self._settings.clock.sleep_async(delay)

    def paginate(
        self,
        op: Operation,
        *,
        path: Mapping[str, object] = _NOTHING,
        query: Query = (),
        headers: Mapping[str, object] = _NOTHING,
        decode_item: Callable[[Any], T],
        options: RequestOptions | None = None,
    ) -> AsyncPager[T]:
        """A list; nothing is sent before it is iterated."""
        decode = page_decoder(decode_item)

        async def fetch(page_token: str | None) -> Page[T]:
            return await self.request(
                op,
                path=path,
                query=next_query(query, page_token),
                headers=headers,
                decode=decode,
                options=options,
            )

        return AsyncPager(fetch)
