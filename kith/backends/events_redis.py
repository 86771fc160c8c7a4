"""The events of cameras in Redis (`P:events`, written by watching.lua with the state they follow from)."""

from collections.abc import Iterator
from dataclasses import replace

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.backends.told_stream import ToldStream
from kith.backends.watching_script import WatchingScript
from kith.errors import JobRejected
from kith.results import FROM_START
from kith.settings import Settings
from kith.watching.event_log import EventEntry
from kith.watching.events import Event

#: Read or dropped in one step; a server that is busy with us answers nobody else.
_AT_ONCE = 1000


class RedisEvents(ToldStream[EventEntry]):
    """Implements kith.watching.event_log.EventLog. Safe to call from many threads."""

    what = "events"

    def __init__(self, client: "redis.Redis", settings: Settings) -> None:
        super().__init__(client, f"{settings.redis.prefix}:events")
        self._script = WatchingScript(client, settings.redis.prefix)
        self._keep = settings.watch.keep_events_s * 1000, settings.watch.keep_events

    def entry(self, entry_id: str, text: bytes) -> EventEntry:
        # The stream's ids begin with the server's time: no need to write it down a second time.
        told_ms = int(entry_id.partition("-")[0])
        return EventEntry(entry_id, replace(wire.from_json(Event, text), told_ms=told_ms))

    def place_of(self, entry: EventEntry) -> str:
        return entry.entry_id

    def of(self, gallery: str, after: str = FROM_START) -> Iterator[tuple[EventEntry, str]]:
        while True:
            with mapped_redis_errors(self.what):
                rows = self._redis.xrange(self._stream, f"({after}", "+", count=_AT_ONCE)
                ids = [entry_id for entry_id, fields in rows if fields.get(b"gallery", b"").decode() == gallery]
                texts = self._redis.hmget(f"{self._stream}:told", ids) if ids else []
            for entry_id, text in zip(ids, texts, strict=True):
                if text is not None:
                    try:
                        yield self.entry(entry_id.decode(), text), text.decode()
                    except JobRejected:
                        # Of a newer version: not ours to judge.
                        continue
            if not rows:
                return
            after = rows[-1][0].decode()

    def amend(self, entry_id: str, seen: str, text: str) -> bool:
        return bool(self._script.run("amend", entry_id, seen, text))

    def trim(self) -> int:
        gone = 0
        while True:
            some = int(self._script.run("trim", *self._keep, _AT_ONCE))
            gone += some
            if some < _AT_ONCE:
                return gone
