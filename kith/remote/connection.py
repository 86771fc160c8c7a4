"""Calls that get through, pages read to their end, streams taken up where they broke off."""

import time
from collections.abc import Callable, Iterator, Mapping
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


class Connection:
    """url: the installation's address. key: an API key (`kith apikeys create`). timeout_s: for each piece of an answer,
    beyond what the other side waits on purpose. patience: with a call that does not get through; following: with a
    stream. transport: of httpx, for tests. Safe to use from many threads."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 30.0,
        patience: Patience | None = None,
        following: Patience = FOLLOWING,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._timeout_s, self._patience, self._following = timeout_s, patience or Patience(), following
        self._http = httpx.Client(base_url=address_of(url), headers=headers_of(key), transport=transport)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def send(self, call: Call[T]) -> T:
        """Send a call until it gets through, or its patience ends; what the answer says."""
        attempts = Attempts(self._patience)
        while True:
            try:
                answer = self._http.request(**request_of(call, self._timeout_s))
            except httpx.HTTPError as lost:
                pause_s = after_loss(call, attempts, lost)
            else:
                if answer.is_success:
                    return call.read(answer.content)
                pause_s = after_refusal(call, attempts, answer.status_code, answer.headers, answer.content)
            time.sleep(pause_s)

    def pages(self, call: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
        """All items of a list, read page by page. call: for the page at a place, None for the first."""
        place: str | None = None
        while True:
            page = self.send(call(place))
            yield from page.items
            if page.next is None:
                return
            place = page.next

    def follow(self, path: str, name: str, last: str | None, **filters: str | None) -> Iterator[tuple[str, str]]:
        """Places and data of the events called `name` of a stream, from behind the place `last`, without end."""
        reader = Following(last, self._following)
        params = {key: value for key, value in filters.items() if value is not None}
        while True:
            headers: Mapping[str, str] = {}
            try:
                with self._http.stream(
                    "GET", path, params=params, headers=reader.begin(), timeout=timeouts(SILENT_S)
                ) as stream:
                    if stream.is_success:
                        for piece in stream.iter_bytes():
                            yield from reader.read(piece, name)
                        fault: KithError = ApiUnavailable("the stream ended")
                    else:
                        fault, headers = reader.refused(stream.status_code, stream.read()), stream.headers
            except httpx.HTTPError as lost:
                fault = unreachable(lost)
            except Retryable as away:
                fault = away
            time.sleep(reader.pause_s(fault, headers))
