"""The audit log in Redis. What each step does stands in audit.lua, with the key schema at its head."""

import functools
import logging
import threading
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import redis

from kith.audit import EVERYTHING, AuditEntry, Deed, Head, Page, Verdict, Where
from kith.audit_chain import COLUMNS, Chain, columns_of, deed_of, linked
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import KithError, StateUnavailable

_log = logging.getLogger(__name__)

#: Entries per request when many are looked at, and cut off at once: a server that is busy with us answers nobody else.
_PAGE = 500

#: Each time another process was faster somebody's entry got in; who is beaten so often meets no ordinary load.
_ATTEMPTS = 300


class RedisAudit:
    """Implements kith.audit.AuditLog."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies; ours are bytes (RESP2, not decoded).
        self._redis: Any = client
        self._stream = f"{prefix}:audit"
        self._keys = [self._stream, f"{prefix}:audit:ends"]
        self._script = client.register_script(_source())
        # Threads of one process queue here, so that only processes race for the end of the chain.
        self._turn = threading.Lock()

    def record(self, deed: Deed) -> AuditEntry:
        return self.record_many([deed])[0]

    def record_many(self, deeds: list[Deed]) -> list[AuditEntry]:
        if not deeds:
            return []
        made: list[AuditEntry] = []
        for start in range(0, len(deeds), _PAGE):
            made += self._append(deeds[start : start + _PAGE])
        return made

    def page(self, after: int = 0, *, limit: int = 500, where: Where = EVERYTHING, block_s: float = 0.0) -> Page:
        wanted: list[AuditEntry] = []
        while True:
            rows = self._rows(after, block_s if not wanted else 0.0)
            for index, (number, entry) in enumerate(rows):
                after = number
                if entry is not None and where.lets(entry.deed):
                    wanted.append(entry)
                    if len(wanted) == limit:
                        return Page(tuple(wanted), after, index < len(rows) - 1 or len(rows) == _PAGE)
            if len(rows) < _PAGE:
                return Page(tuple(wanted), after, False)
            block_s = 0.0

    def latest(self, limit: int, where: Where = EVERYTHING) -> tuple[AuditEntry, ...]:
        found: list[AuditEntry] = []
        newest = "+"
        while True:
            with mapped_redis_errors("audit log"):
                rows = [_parsed(row) for row in self._redis.xrevrange(self._stream, newest, "-", count=_PAGE)]
            for number, entry in rows:
                if len(found) < limit and entry is not None and where.lets(entry.deed):
                    found.append(entry)
                newest = f"({number}-0"
            if len(rows) < _PAGE or len(found) == limit:
                return tuple(reversed(found))

    def head(self) -> Head:
        return _ends(self._ask("head"))[0]

    def verify(self, kept: Head | None = None) -> Verdict:
        while True:
            head, anchor = _ends(self._ask("head"))
            chain = Chain(anchor, kept)
            for number, entry in self._walk(anchor.number, head.number):
                if not chain.add(number if entry is None else entry):
                    break
            verdict = chain.end(head)
            # Trimmed while we walked: entries we had not seen yet were cut off, not stolen.
            if verdict.broken is None or _ends(self._ask("head"))[1] == anchor:
                return verdict

    def trim(self, keep_s: float) -> int:
        cut = 0
        while True:
            some = int(self._ask("trim", round(keep_s * 1000), _PAGE))
            cut += some
            if some < _PAGE:
                return cut

    def _append(self, deeds: list[Deed]) -> list[AuditEntry]:
        with self._turn:
            ends = self._ask("head")
            for _ in range(_ATTEMPTS):
                head, _anchor = _ends(ends)
                entries = linked(head, int(ends[2]), deeds)
                rows = [text for each in entries for text in (str(each.at_ms), each.digest, *columns_of(each.deed))]
                status, *ends = self._ask("append", head.number, head.digest, *rows)
                if status == b"ok":
                    return entries
        raise StateUnavailable(f"the audit log: {_ATTEMPTS} times another process was faster; try again")

    def _walk(self, after: int, last: int) -> Iterator[tuple[int, AuditEntry | None]]:
        while rows := self._rows(after, 0.0):
            for number, entry in rows:
                if number > last:
                    return
                yield number, entry
                after = number

    def _rows(self, after: int, block_s: float) -> list[tuple[int, AuditEntry | None]]:
        with mapped_redis_errors("audit log"):
            # Zero would mean "for ever" to Redis.
            block_ms = max(1, round(block_s * 1000)) if block_s > 0 else None
            answer = self._redis.xread({self._stream: f"{after}-0"}, count=_PAGE, block=block_ms)
        return [_parsed(row) for row in answer[0][1]] if answer else []

    def _ask(self, operation: str, *arguments: str | int) -> Any:
        with mapped_redis_errors(f"audit log {operation}"):
            return self._script(keys=self._keys, args=[operation, *arguments])


def _ends(reply: list[bytes]) -> tuple[Head, Head]:
    """The end of the chain and its anchor."""
    number, digest, _, anchor_number, anchor_digest = reply
    return Head(int(number), digest.decode()), Head(int(anchor_number), anchor_digest.decode())


def _parsed(row: tuple[bytes, dict[bytes, bytes]]) -> tuple[int, AuditEntry | None]:
    """An entry's number, and the entry where it can be read."""
    number, fields = int(row[0].partition(b"-")[0]), row[1]
    try:
        deed = deed_of(tuple(fields[name.encode()].decode() for name in COLUMNS))
        return number, AuditEntry(number, int(fields[b"at"]), deed, fields[b"digest"].decode())
    except (KithError, ValueError, KeyError, TypeError) as fault:
        # Of a newer version, or written by somebody else: a reader that stopped here would not see what comes after.
        _log.error("entry %d of the audit log is skipped: it cannot be read (%s)", number, type(fault).__name__)
        return number, None


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("audit.lua").read_text(encoding="utf-8")
