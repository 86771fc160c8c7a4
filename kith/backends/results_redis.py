"""The results stream in Redis (`P:results`, written by ledger.lua in the step that strikes a job off).

The stream has the order and the groups, a hash beside it the decisions, from which they can be erased; what was erased
is passed over.
"""

import logging
import time
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
        deadline_s = time.monotonic() + block_s
        while True:
            with mapped_redis_errors("results"):
                left_s = max(0.0, deadline_s - time.monotonic()) if block_s > 0 else 0.0
                answer = self._redis.xread({self._stream: entry_id}, count=limit, block=_block_ms(left_s))
            rows = _of_stream(answer)
            if not rows:
                return []
            found = self._told([row[0] for row in rows])
            if found:
                return found
            # All of the page was erased: a reader who heard of nothing would think this the end.
            entry_id = rows[-1][0].decode()

    def fetch(self, entry_ids: Sequence[str]) -> list[Entry]:
        return self._told([entry_id.encode() for entry_id in entry_ids])

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
        while True:
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
            found = self._told([row[0] for row in rows])
            # What aged out or was erased while pending, and what cannot be read: nothing is left to hand over.
            kept = {entry.entry_id for entry in found}
            self.acknowledge(group, [each for each in (row[0].decode() for row in rows) if each not in kept])
            if found or not rows:
                return found

    def acknowledge(self, group: str, entry_ids: Sequence[str]) -> int:
        with mapped_redis_errors("results"):
            return int(self._redis.xack(self._stream, group, *entry_ids)) if entry_ids else 0

    def count(self) -> int:
        with mapped_redis_errors("results"):
            return int(self._redis.hlen(f"{self._stream}:told"))

    def _told(self, entry_ids: list[bytes]) -> list[Entry]:
        if not entry_ids:
            return []
        with mapped_redis_errors("results"):
            texts = self._redis.hmget(f"{self._stream}:told", entry_ids)
        return _entries([pair for pair in zip(entry_ids, texts, strict=True) if pair[1] is not None])


def _block_ms(block_s: float) -> int | None:
    # Zero would mean "for ever" to Redis; here it means "do not wait".
    return max(1, round(block_s * 1000)) if block_s > 0 else None


def _of_stream(answer: Any) -> list[Any]:
    # One stream was asked for: [[name, rows]], or nothing at all when the wait ran out.
    return list(answer[0][1]) if answer else []


def _entries(told: list[tuple[bytes, bytes]]) -> list[Entry]:
    entries = []
    for entry_id, text in told:
        try:
            entries.append(_entry(entry_id.decode(), text))
        except JobRejected as unreadable:
            # Written by a newer version: a reader that stopped here would never see what comes after it.
            _log.error("entry %s of the results is skipped: %s", entry_id.decode(), unreadable)
    return entries


def _entry(entry_id: str, text: bytes) -> Entry:
    # The stream's ids begin with the server's time at publication: no need to write it down a second time.
    published_ms = int(entry_id.partition("-")[0])
    return Entry(entry_id, replace(wire.from_json(Decision, text), published_ms=published_ms))
