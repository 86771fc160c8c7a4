"""A stream in Redis of records that can be erased: the stream has the order and the groups, a hash beside it
(`STREAM:told`) the records. What was erased is passed over."""

import logging
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import redis

from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import JobRejected
from kith.results import FROM_START

_log = logging.getLogger(__name__)

Entry = TypeVar("Entry")


class ToldStream(Generic[Entry]):
    """What kith.results.Results and kith.watching.event_log.EventLog have in common. Safe to call from many threads."""

    #: What is read, for errors.
    what = "a stream"

    def __init__(self, client: "redis.Redis", stream: str) -> None:
        self._redis: Any = client
        self._stream = stream

    def entry(self, entry_id: str, text: bytes) -> Entry:
        """The record as readers have it. Raises JobRejected where it cannot be read."""
        raise NotImplementedError

    def place_of(self, entry: Entry) -> str:
        """Its entry id."""
        raise NotImplementedError

    def position(self) -> str:
        """Id of the newest entry, `0-0` when there is none."""
        with mapped_redis_errors(self.what):
            newest = self._redis.xrevrange(self._stream, count=1)
        return bytes(newest[0][0]).decode() if newest else "0-0"

    def after(self, entry_id: str, *, limit: int = 500, block_s: float = 0.0) -> list[Entry]:
        """Up to `limit` entries after `entry_id`, waiting `block_s` for the first."""
        deadline_s = time.monotonic() + block_s
        while True:
            with mapped_redis_errors(self.what):
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
        """These entries; those that aged out are left out."""
        return self._told([entry_id.encode() for entry_id in entry_ids])

    def join(self, group: str, start: str = FROM_START) -> None:
        """Create the group if it does not exist."""
        with mapped_redis_errors(self.what):
            try:
                self._redis.xgroup_create(self._stream, group, id=start, mkstream=True)
            except redis.ResponseError as exists:
                if not str(exists).startswith("BUSYGROUP"):
                    raise

    def take(
        self, group: str, consumer: str, *, limit: int = 100, block_s: float = 0.0, steal_after_s: float = 60.0
    ) -> list[Entry]:
        """Entries for this consumer, see kith.results."""
        while True:
            with mapped_redis_errors(self.what):
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
            kept = {self.place_of(entry) for entry in found}
            self.acknowledge(group, [each for each in (row[0].decode() for row in rows) if each not in kept])
            if found or not rows:
                return found

    def acknowledge(self, group: str, entry_ids: Sequence[str]) -> int:
        """Mark entries as handled; how many were pending."""
        with mapped_redis_errors(self.what):
            return int(self._redis.xack(self._stream, group, *entry_ids)) if entry_ids else 0

    def count(self) -> int:
        """How many entries are kept."""
        with mapped_redis_errors(self.what):
            return int(self._redis.hlen(f"{self._stream}:told"))

    def _told(self, entry_ids: list[bytes]) -> list[Entry]:
        if not entry_ids:
            return []
        with mapped_redis_errors(self.what):
            texts = self._redis.hmget(f"{self._stream}:told", entry_ids)
        entries = []
        for entry_id, text in zip(entry_ids, texts, strict=True):
            if text is None:
                continue
            try:
                entries.append(self.entry(entry_id.decode(), text))
            except JobRejected as unreadable:
                # Written by a newer version: a reader that stopped here would never see what comes after it.
                _log.error("entry %s of %s is skipped: %s", entry_id.decode(), self.what, unreadable)
        return entries


def _block_ms(block_s: float) -> int | None:
    # Zero would mean "for ever" to Redis; here it means "do not wait".
    return max(1, round(block_s * 1000)) if block_s > 0 else None


def _of_stream(answer: Any) -> list[Any]:
    # One stream was asked for: [[name, rows]], or nothing at all when the wait ran out.
    return list(answer[0][1]) if answer else []
