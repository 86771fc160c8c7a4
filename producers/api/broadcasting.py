"""One stream, told to everybody who listens: the events of cameras, or decisions. Each entry is written as JSON once.

A listener first catches up by itself, from where it says it was, and then hears what comes. Who does not keep up is cut
off, not waited for: it comes back with the id of the last entry it had, and misses nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from anyio import to_thread

from producers.api.listening import Tail
from producers.api.problems import Problem
from producers.api.sse import PING_EVERY_S

Entry = TypeVar("Entry")

#: Entries that wait for one listener's connection.
_BEHIND = 1000
#: Entries read at a time while it catches up.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Told:
    """One entry as it goes out. gallery, camera: whose it is, for filters. text: compact JSON."""

    entry_id: str
    gallery: str
    camera: str | None
    text: str


class Broadcast(Generic[Entry]):
    """position, after: of the stream (kith.results.Results). told: an entry as it goes out. most: listeners at once."""

    def __init__(
        self,
        position: Callable[[], str],
        after: Callable[[str, int, float], Sequence[Entry]],
        told: Callable[[Entry], Told],
        most: int,
    ) -> None:
        self.position, self._after, self._told, self._most = position, after, told, most
        self._listeners: set[asyncio.Queue[Told]] = set()
        # Written where it is read, in the thread: the event loop has enough to do with sending.
        self._tail: Tail[Told] = Tail(
            position,
            lambda last, block_s: [told(each) for each in after(last, _PAGE, block_s)],
            lambda each: each.entry_id,
            self._hear,
        )

    def check_room(self) -> None:
        """Raises Problem when as many listen as may."""
        if len(self._listeners) >= self._most:
            raise Problem(
                503,
                "too_many_listeners",
                f"{self._most} listen already (api.max_listeners)",
                limit=self._most,
                remedy="come back later, or read pages",
                retry_s=10.0,
            )

    async def listen(self, last: str | None) -> AsyncIterator[Told | None]:
        """What follows the entry `last`, from now on for None; None when nothing came for a while. Ends for who does
        not keep up. Raises StateUnavailable."""
        mine: asyncio.Queue[Told] = asyncio.Queue(_BEHIND + 1)
        self._listeners.add(mine)
        try:
            await self._tail.join()
            # Only now: whatever is written after this is heard, and what was before is read here.
            async for each in self._past(last):
                last = each.entry_id
                yield each
            while not mine.full():
                try:
                    async with asyncio.timeout(PING_EVERY_S):
                        each = await mine.get()
                except TimeoutError:
                    yield None
                    continue
                if last is None or _place(each.entry_id) > _place(last):
                    yield each
        finally:
            self._listeners.discard(mine)
            self._tail.leave()

    def close(self) -> None:
        """Hear no more."""
        self._tail.close()

    async def _past(self, last: str | None) -> AsyncIterator[Told]:
        while last is not None:
            page = await to_thread.run_sync(self._page, last)
            for each in page:
                yield each
            if not page:
                return
            last = page[-1].entry_id

    def _page(self, last: str) -> list[Told]:
        return [self._told(each) for each in self._after(last, _PAGE, 0.0)]

    def _hear(self, entries: Sequence[Told]) -> None:
        for queue in self._listeners:
            for each in entries:
                with contextlib.suppress(asyncio.QueueFull):
                    # A full one ends its listener.
                    queue.put_nowait(each)


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
