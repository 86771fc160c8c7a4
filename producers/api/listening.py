"""Streams of Redis, heard by many: one thread reads, and tells everybody in the event loop.

A thread and a blocked connection for each listener would bear a few dozen; this bears as many as there are sockets.
It reads only while somebody listens.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from kith.errors import KithError

_log = logging.getLogger("kith.api")

Entry = TypeVar("Entry")

#: Longest single wait for news; what is longer only delays the end.
_BLOCK_S = 1.0
#: Pause after Redis was away.
_AWAY_S = 0.5


class Tail(Generic[Entry]):
    """position: id of the newest entry. after: entries after an id, waiting so many seconds for the first. place_of: an
    entry's id. hear: called in the event loop with what has come."""

    def __init__(
        self,
        position: Callable[[], str],
        after: Callable[[str, float], Sequence[Entry]],
        place_of: Callable[[Entry], str],
        hear: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._position, self._after, self._place_of, self._hear = position, after, place_of, hear
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners = 0
        self._reading: asyncio.Future[None] | None = None
        self._wanted, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    async def join(self) -> None:
        """One more listener. When it returns, whatever is written from now on will be heard."""
        self._listeners += 1
        if self._reading is None:
            self._loop = asyncio.get_running_loop()
            self._reading = self._loop.create_future()
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="tail", daemon=True)
                self._thread.start()
            self._wanted.set()
        # Shielded: who is cancelled while waiting must not take it from the others.
        await asyncio.shield(self._reading)

    def leave(self) -> None:
        """One less; also after a `join` that was cancelled."""
        self._listeners -= 1

    def close(self) -> None:
        """Read no more. Waits for the reader, whose wait for news ends within a second: the connection it waits on may
        be closed afterwards."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _read(self) -> None:
        while not self._closing.is_set():
            self._wanted.wait()
            try:
                self._read_while_wanted()
            except KithError as away:
                # Those who listen look for themselves now and then; for them this is a delay.
                _log.warning("listening: %s; trying again", away)
                self._closing.wait(_AWAY_S)

    def _read_while_wanted(self) -> None:
        last = self._position()
        self._tell(self._is_reading)
        while not self._closing.is_set():
            entries = self._after(last, _BLOCK_S)
            if entries:
                last = self._place_of(entries[-1])
                self._tell(self._hear, entries)
            if self._listeners == 0 and self._paused():
                # Not asked again whether it is wanted: who wants it since then waits for us to begin anew.
                return

    def _is_reading(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    def _paused(self) -> bool:
        # Decided in the event loop, where listeners come and go: one who joins meanwhile either keeps us reading, or
        # finds that nobody reads.
        decided = threading.Event()
        paused = False

        def decide() -> None:
            nonlocal paused
            if self._listeners == 0:
                self._wanted.clear()
                self._reading, paused = None, True
            decided.set()

        self._tell(decide)
        while not decided.wait(_BLOCK_S) and not self._closing.is_set():
            pass
        return paused

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed, and nobody listens any more.
            self._closing.set()
