"""kith.remote.connection for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx

from kith.errors import ApiUnavailable, KithError, Retryable
from kith.remote.calls import Call
from kith.remote.patience import FOLLOWING, Attempts, Patience
from kith.remote.records import Page
from kith.remote.transport import (
    SILENT_S,
    Following,
    address_of,
    after_loss,
    after_refusal,
    headers_of,
    request_of,
    timeouts,
    unreachable,
)

T = TypeVar("T")


class AsyncConnection:
    """As kith.remote.connection.Connection, within one event loop."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 30.0,
        patience: Patience | None = None,
        following: Patience = FOLLOWING,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_s, self._patience, self._following = timeout_s, patience or Patience(), following
        self._http = httpx.AsyncClient(base_url=address_of(url), headers=headers_of(key), transport=transport)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def send(self, call: Call[T]) -> T:
        """Send a call until it gets through, or its patience ends; what the answer says."""
        attempts = Attempts(self._patience)
        while True:
            try:
                answer = await self._http.request(**request_of(call, self._timeout_s))
            except httpx.HTTPError as lost:
                pause_s = after_loss(call, attempts, lost)
            else:
                if answer.is_success:
                    return call.read(answer.content)
                pause_s = after_refusal(call, attempts, answer.status_code, answer.headers, answer.content)
            await asyncio.sleep(pause_s)

    async def pages(self, call: Callable[[str | None], Call[Page[T]]]) -> AsyncIterator[T]:
        """All items of a list, read page by page."""
        place: str | None = None
        while True:
            page = await self.send(call(place))
            for each in page.items:
                yield each
            if page.next is None:
                return
            place = page.next

    async def follow(
        self, path: str, name: str, last: str | None, **filters: str | None
    ) -> AsyncIterator[tuple[str, str]]:
        """Places and data of the events called `name` of a stream, from behind the place `last`, without end."""
        reader = Following(last, self._following)
        params = {key: value for key, value in filters.items() if value is not None}
        while True:
            headers: Mapping[str, str] = {}
            try:
                async with self._http.stream(
                    "GET", path, params=params, headers=reader.begin(), timeout=timeouts(SILENT_S)
                ) as stream:
                    if stream.is_success:
                        async for piece in stream.aiter_bytes():
                            for each in reader.read(piece, name):
                                yield each
                        fault: KithError = ApiUnavailable("the stream ended")
                    else:
                        fault, headers = reader.refused(stream.status_code, await stream.aread()), stream.headers
            except httpx.HTTPError as lost:
                fault = unreachable(lost)
            except Retryable as away:
                fault = away
            await asyncio.sleep(reader.pause_s(fault, headers))
