"""Lists, as the language iterates: items, with their pages in reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from marque._errors import ProtocolError
from marque._model import Model
from marque._unset import UNSET

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Model, Generic[T]):
    """One page of a list. A page may be short, even empty, and still have a next one."""

    items: tuple[T, ...]
    next_page_token: str | None = field(default=None)
    """Gives the next page, as the `page_token` of the same list; `None` on the last one."""


def page_decoder(item: Callable[[Any], T]) -> Callable[[Any], Page[T]]:
    """A decoder of pages from one of items."""

    def decode(data: Any) -> Page[T]:
        token = data.get("next_page_token")
        if not isinstance(token, str | None):
            raise TypeError("next_page_token")
        return Page(tuple(item(one) for one in data["items"]), token or None)

    return decode


def next_query(
    query: Sequence[tuple[str, object]], page_token: str | None
) -> Sequence[tuple[str, object]]:
    """The query of the page that `page_token` gives; the first one keeps the caller's."""
    if page_token is None:
        return query
    kept = [(name, value) for name, value in query if name != "page_token" and value is not UNSET]
    return [*kept, ("page_token", page_token)]


def _advance(page: Page[T], token: str | None) -> str | None:
    if page.next_page_token is not None and page.next_page_token == token:
        raise ProtocolError("the server gives the same page again and again")
    return page.next_page_token


class Pager(Generic[T]):
    """A list that fetches its pages as it is iterated. Each iteration begins anew."""

    __slots__ = ("_fetch",)

    def __init__(self, fetch: Callable[[str | None], Page[T]]) -> None:
        self._fetch = fetch

    def page(self) -> Page[T]:
        """The first page alone."""
        return self._fetch(None)

    def pages(self) -> Iterator[Page[T]]:
        """Page after page."""
        token: str | None = None
        while True:
            page = self._fetch(token)
            yield page
            token = _advance(page, token)
            if token is None:
                return

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items


class AsyncPager(Generic[T]):
    """The same for `async for`."""

    __slots__ = ("_fetch",)

    def __init__(self, fetch: Callable[[str | None], Awaitable[Page[T]]]) -> None:
        self._fetch = fetch

    async def page(self) -> Page[T]:
        """The first page alone."""
        return await self._fetch(None)

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Page after page."""
        token: str | None = None
        while True:
            page = await self._fetch(token)
            yield page
            token = _advance(page, token)
            if token is None:
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item
