"""The audit log within one process: for tests, and for what runs without Redis."""

import threading
import time
from collections.abc import Callable

from kith.audit import EVERYTHING, GENESIS, AuditEntry, Deed, Head, Page, Verdict, Where
from kith.audit_chain import Chain, linked


class MemoryAudit:
    """Implements kith.audit.AuditLog. clock: Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._anchor = Head(0, GENESIS)
        self._entries: list[AuditEntry] = []
        self._grown = threading.Condition()

    def record(self, deed: Deed) -> AuditEntry:
        return self.record_many([deed])[0]

    def record_many(self, deeds: list[Deed]) -> list[AuditEntry]:
        with self._grown:
            at_ms = max(round(self._clock() * 1000), self._entries[-1].at_ms if self._entries else 0)
            made = linked(self._end(), at_ms, deeds)
            self._entries += made
            self._grown.notify_all()
            return made

    def page(self, after: int = 0, *, limit: int = 500, where: Where = EVERYTHING, block_s: float = 0.0) -> Page:
        with self._grown:
            if block_s > 0:
                self._grown.wait_for(lambda: self._end().number > after, block_s)
            rest = [each for each in self._entries if each.number > after]
            wanted = [each for each in rest if where.lets(each.deed)][:limit]
            if len(wanted) == limit:
                return Page(tuple(wanted), wanted[-1].number, wanted[-1].number < rest[-1].number)
            return Page(tuple(wanted), rest[-1].number if rest else after, False)

    def latest(self, limit: int, where: Where = EVERYTHING) -> tuple[AuditEntry, ...]:
        with self._grown:
            return tuple([each for each in self._entries if where.lets(each.deed)][-limit:])

    def head(self) -> Head:
        with self._grown:
            return self._end()

    def verify(self, kept: Head | None = None) -> Verdict:
        with self._grown:
            chain = Chain(self._anchor, kept)
            for entry in self._entries:
                if not chain.add(entry):
                    break
            return chain.end(self._end())

    def trim(self, keep_s: float) -> int:
        with self._grown:
            before_ms = (self._clock() - keep_s) * 1000
            old = [each for each in self._entries if each.at_ms < before_ms]
            if old:
                self._anchor = Head(old[-1].number, old[-1].digest)
                self._entries = self._entries[len(old) :]
            return len(old)

    def _end(self) -> Head:
        return Head(self._entries[-1].number, self._entries[-1].digest) if self._entries else self._anchor
