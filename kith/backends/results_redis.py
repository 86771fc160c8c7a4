"""The results stream in Redis (`P:results`, written by ledger.lua in the step that strikes a job off)."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import JobRejected
from kith.jobs import Decision
from kith.results import FROM_START, Entry
from kith.settings import Settings

_log = logging.getLogger(__name__)


class RedisResults:
    """Implements kith.results.Results. Safe to call from many threads."""

    def __init__(self, client: "redis.Redis", settings: Settings) -> None:
        self._redis: Any = client
        self._stream = f"{settings.redis.prefix}:results"

    def position(self) -> str:
        with mapped_redis_errors("results"):
            newest = self._redis.xrevrange(self._stream, count=1)
        return bytes(newest[0][0]).decode() if newest else "0-0"

    def after(self, entry_id: str, *, limit: int = 500, block_s: float = 0.0) -> list[Entry]:
        with mapped_redis_errors("results"):
            answer = self._redis.xread({self._stream: entry_id}, count=limit, block=_block_ms(block_s))
        return _entries(_of_stream(answer))

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        with mapped_redis_errors("results"):
            reads = self._redis.pipeline(transaction=False)
            for entry_id in entry_ids:
                reads.xrange(self._stream, entry_id, entry_id)
            found = reads.execute()
        return _entries([row for rows in found for row in rows])

    def join(self, group: str, start: str = FROM_START) -> None:
        with mapped_redis_errors("results"):
            try:
                self._redis.xgroup_create(self._stream, group, id=start, mkstream=True)
            except redis.ResponseError as exists:
                if not str(exists).startswith("BUSYGROUP"):
                    raise

    def take(
        self, group: str, consumer: str, *, limit: int = 100, block_s: float = 0.0, steal_after_s: float = 60.0
    ) -> list[Entry]:
        with mapped_redis_errors("results"):
            own = self._redis.xreadgroup(group, consumer, {self._stream: "0"}, count=limit)
            rows = _of_stream(own)
            if not rows:
                stolen = self._redis.xautoclaim(
                    self._stream, group, consumer, min_idle_time=round(steal_after_s * 1000), count=limit
                )
                rows = stolen[1]
            if not rows:
                new = self._redis.xreadgroup(
                    group, consumer, {self._stream: ">"}, count=limit, block=_block_ms(block_s)
                )
                rows = _of_stream(new)
        # An entry that aged out while pending comes back without fields: nothing is left to hand over.
        gone = [entry_id for entry_id, fields in rows if not fields]
        if gone:
            self.acknowledge(group, [entry_id.decode() for entry_id in gone])
        return _entries([row for row in rows if row[1]])

    def acknowledge(self, group: str, entry_ids: Sequence[str]) -> int:
        with mapped_redis_errors("results"):
            return int(self._redis.xack(self._stream, group, *entry_ids)) if entry_ids else 0

    def count(self) -> int:
        with mapped_redis_errors("results"):
            return int(self._redis.xlen(self._stream))


def _block_ms(block_s: float) -> int | None:
    # Zero would mean "for ever" to Redis; here it means "do not wait".
    return max(1, round(block_s * 1000)) if block_s > 0 else None


def _of_stream(answer: Any) -> list[Any]:
    # One stream was asked for: [[name, rows]], or nothing at all when the wait ran out.
    return list(answer[0][1]) if answer else []


def _entries(rows: list[Any]) -> list[Entry]:
    entries = []
    for entry_id, fields in rows:
        try:
            entries.append(_entry(entry_id.decode(), fields[b"decision"]))
        except JobRejected as unreadable:
            # Written by a newer version: a reader that stopped here would never see what comes after it.
            _log.error("entry %s of the results is skipped: %s", entry_id.decode(), unreadable)
    return entries


def _entry(entry_id: str, text: bytes) -> Entry:
    # The stream's ids begin with the server's time at publication: no need to write it down a second time.
    published_ms = int(entry_id.partition("-")[0])
    return Entry(entry_id, replace(wire.from_json(Decision, text), published_ms=published_ms))
