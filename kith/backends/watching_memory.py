"""What a watcher has come to, and its events, in one process: where there is no Redis, and for tests."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from kith import wire
from kith.backends.sightings_memory import MemorySightings
from kith.watching.event_log import EventEntry
from kith.watching.events import Event
from kith.watching.evidence import Vector
from kith.watching.log import FROM_START
from kith.watching.store import Committed, Saved, Step

Value = TypeVar("Value")


class MemoryWatch:
    """Implements kith.watching.store.WatchStore. sightings: the log whose news are erased once taken, and whose clock
    counts."""

    def __init__(self, sightings: MemorySightings) -> None:
        self._sightings, self._clock = sightings, sightings.clock
        self._lock = threading.RLock()
        self._leader: tuple[str, int] | None = None
        self._saved: dict[str, Saved] = {}
        self._litter: dict[str, dict[str, int]] = {}
        self._told: list[tuple[str, str, str]] = []
        self._numbers = 0

    def lead(self, holder: str, lease_s: float) -> int | None:
        with self._lock:
            if self.leader() not in (None, holder):
                return None
            self._leader = holder, self._clock() + round(lease_s * 1000)
            return self._clock()

    def leave(self, holder: str) -> None:
        with self._lock:
            if self.leader() == holder:
                self._leader = None

    def leader(self) -> str | None:
        with self._lock:
            return self._leader[0] if self._leader is not None and self._clock() < self._leader[1] else None

    def load(self, gallery: str) -> Saved:
        with self._lock:
            return self._saved.get(gallery, Saved())

    def records(self, gallery: str) -> Mapping[str, str]:
        return self.load(gallery).records

    def position(self, gallery: str) -> str:
        return self.load(gallery).position if gallery in self._saved else FROM_START

    def commit(self, holder: str, step: Step) -> Committed:
        with self._lock:
            was = self.load(step.gallery)
            if self.leader() != holder:
                return Committed.LOST
            if was.step == step.step:
                return Committed.DONE
            if was.step != step.step - 1:
                return Committed.LOST
            if step.deadline_ms is not None and self._clock() > step.deadline_ms:
                return Committed.LATE
            records = _changed(was.records, step.changes.records)
            vectors: dict[str, Vector] = _changed(was.vectors, step.changes.vectors)
            self._saved[step.gallery] = Saved(records, vectors, step.position, step.step)
            self._litter.setdefault(step.gallery, {}).update(step.changes.litter)
            for event in step.events:
                self._numbers += 1
                self._told.append((f"{self._clock()}-{self._numbers}", step.gallery, wire.to_json(event)))
            if step.taken:
                self._sightings.taken(step.gallery, step.position)
            return Committed.DONE

    def litter(self, gallery: str) -> Mapping[str, int]:
        with self._lock:
            return dict(self._litter.get(gallery, {}))

    def swept(self, gallery: str, pictures: Sequence[str]) -> None:
        with self._lock:
            for picture in pictures:
                self._litter.get(gallery, {}).pop(picture, None)

    def wipe(self, gallery: str) -> None:
        with self._lock:
            self._saved.pop(gallery, None)
            self._litter.pop(gallery, None)
            self._sightings.wipe(gallery)

    def events(self) -> Iterator[EventEntry]:
        """Everything told."""
        with self._lock:
            told = list(self._told)
        for entry_id, _, text in told:
            told_ms = int(entry_id.partition("-")[0])
            yield EventEntry(entry_id, replace(wire.from_json(Event, text), told_ms=told_ms))


def _changed(was: Mapping[str, Value], changes: Mapping[str, Value | None]) -> dict[str, Value]:
    kept = {key: value for key, value in was.items() if key not in changes}
    return kept | {key: value for key, value in changes.items() if value is not None}
