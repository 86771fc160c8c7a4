"""What a watcher knows of one gallery: tracks, visits, strangers, and their vectors. Everything else follows from it.

It is written in small records, each only when it has changed, in the step that writes the events (kith.watching.store).
Vectors stand beside the records, for they are sealed where the gallery is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith import wire
from kith.watching.evidence import Evidence, together
from kith.watching.strangers import Stranger, StrangerCrop, Strangers
from kith.watching.tracks import Over, Track
from kith.watching.visits import Shown, Visit

Vector = NDArray[np.float32]

_NEXT = "next"


@dataclass(frozen=True, slots=True)
class Changes:
    """records: key → JSON, None to delete; vectors: key → float32 (n, d), None to delete. litter: pictures that are
    nobody's any more → Unix milliseconds from when their age counts, 0 to delete them at once."""

    records: Mapping[str, str | None] = field(default_factory=dict)
    vectors: Mapping[str, Vector | None] = field(default_factory=dict)
    litter: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.records or self.vectors or self.litter)


class State:
    """One gallery's. `put_*` and `drop_*` note what `changes` will write."""

    def __init__(self, records: Mapping[str, str] | None = None, vectors: Mapping[str, Vector] | None = None) -> None:
        """From what `changes` gave. Raises MalformedMessage, UnknownWireVersion."""
        records, vectors = records or {}, vectors or {}
        self.tracks: dict[str, Track] = {each.track: each for each in _read(records, "t:", Track)}
        self.over: dict[str, Over] = {each.track: each for each in _read(records, "o:", Over)}
        self.visits: dict[str, Visit] = {each.visit: each for each in _read(records, "v:", Visit)}
        # By number, as they came: what is told must not depend on the order in which records are read.
        known = sorted(_read(records, "s:", Stranger), key=_by_number)
        views = ((each, vectors.get(f"s:{each.number}", np.zeros((0, 0), np.float32))) for each in known)
        # Views that could not be opened are no views; the number and the visits stay.
        held = ((each if len(rows) == len(each.views) else replace(each, views=()), rows) for each, rows in views)
        self.strangers = Strangers(held, int(records.get(_NEXT, 1)))
        self._totals = {key: rows[0] for key, rows in vectors.items() if key[:2] != "s:" and len(rows)}
        self._litter: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._next_written = self.strangers.next_number

    def tracks_in_order(self) -> list[Track]:
        """All tracks, in an order that is the same after the state was written and read."""
        return sorted(self.tracks.values(), key=lambda each: (each.begun_ms, each.track))

    def visits_in_order(self) -> list[Visit]:
        """All visits, likewise."""
        return sorted(self.visits.values(), key=lambda each: (each.started_ms, each.visit))

    def put_track(self, track: Track, total: Vector | None, aside: Vector | None) -> None:
        """total, aside: Σ w v of its evidence and of what is laid aside."""
        self.tracks[track.track] = track
        self._set(f"t:{track.track}", total)
        self._set(f"a:{track.track}", aside)

    def change_track(self, track: Track) -> None:
        """The same crops, other facts."""
        self.tracks[track.track] = track
        self._dirty.add(f"t:{track.track}")

    def drop_track(self, name: str, at_ms: int) -> None:
        """It is over. at_ms: by the log's clock."""
        track = self.tracks.pop(name)
        self._set(f"t:{name}", None)
        self._set(f"a:{name}", None)
        self.over[name] = Over(name, track.turn, track.final, at_ms)
        self._dirty.add(f"o:{name}")

    def forget_over(self, before_ms: int) -> None:
        """Tracks that closed before: nothing of them is on its way any more."""
        for name in [each.track for each in self.over.values() if each.at_ms < before_ms]:
            del self.over[name]
            self._dirty.add(f"o:{name}")

    def change_visit(self, visit: Visit) -> None:
        """A new one, or other facts."""
        self.visits[visit.visit] = visit
        self._dirty.add(f"v:{visit.visit}")

    def drop_visit(self, name: str) -> None:
        """It is over."""
        del self.visits[name]
        self._set(f"v:{name}", None)

    def drop_everything_seen(self) -> None:
        """All visits and tracks, as if they had not been."""
        for visit in list(self.visits):
            self.drop_visit(visit)
        for track in list(self.tracks):
            del self.tracks[track]
            self._set(f"t:{track}", None)
            self._set(f"a:{track}", None)
        self._dirty |= {f"o:{each}" for each in self.over}
        self.over.clear()

    def keep(self, visit: Visit, shown: Shown) -> Visit:
        """The visit, with what a track that leaves it has shown."""
        if shown.total is None:
            return visit
        ended, total = together(visit.ended, self._totals.get(f"v:{visit.visit}"), shown.evidence, shown.total)
        self._set(f"v:{visit.visit}", total)
        visit = replace(visit, ended=ended)
        self.visits[visit.visit] = visit
        return visit

    def aside_of(self, track: str) -> Vector | None:
        """Σ w v of what is laid aside."""
        return self._totals.get(f"a:{track}")

    def shown_by(self, track: Track) -> Shown:
        """What a track shows."""
        return Shown(track.evidence, self._totals.get(f"t:{track.track}"))

    def shown_of(self, visit: Visit, but: str | None = None) -> Shown:
        """What all of a visit shows, or all but one track."""
        evidence: Evidence = visit.ended
        total = self._totals.get(f"v:{visit.visit}")
        for track in self.tracks_of(visit.visit):
            if track.track != but and (its := self._totals.get(f"t:{track.track}")) is not None:
                evidence, total = together(evidence, total, track.evidence, its)
        return Shown(evidence, total)

    def tracks_of(self, visit: str) -> list[Track]:
        """The tracks of a visit that are not over, by when they began."""
        return [each for each in self.tracks_in_order() if each.visit == visit]

    def discard(self, pictures: Iterable[str]) -> None:
        """Have these deleted from the store."""
        self._litter |= dict.fromkeys(pictures, 0)

    def displaced(self, crops: Iterable[StrangerCrop]) -> None:
        """Better ones have taken their place: these are kept as long as other pictures that were asked about."""
        for crop in crops:
            self._litter.setdefault(crop.image, crop.at_ms)

    def touch(self) -> None:
        """Write everything again, sealed by the newest key."""
        self._dirty |= {f"t:{each}" for each in self.tracks} | {f"v:{each}" for each in self.visits}
        self._dirty |= {f"a:{each}" for each in self.tracks} | {f"o:{each}" for each in self.over}
        self.strangers.dirty |= {each.number for each in self.strangers}

    def changes(self) -> Changes:
        """What is to be written; from now on it counts as written."""
        records: dict[str, str | None] = {}
        vectors: dict[str, Vector | None] = {}
        for key in self._dirty:
            kind, _, name = key.partition(":")
            if kind == "o":
                over = self.over.get(name)
                records[key] = None if over is None else wire.to_json(over)
                continue
            total = self._totals.get(key)
            vectors[key] = None if total is None else total[np.newaxis]
            if kind != "a":
                record: Any = (self.tracks if kind == "t" else self.visits).get(name)
                records[key] = None if record is None else wire.to_json(record)
        for number in self.strangers.dirty:
            stranger = self.strangers.at(number)
            records[f"s:{number}"] = None if stranger is None else wire.to_json(stranger)
            rows = None if stranger is None else self.strangers.views_of(number)
            vectors[f"s:{number}"] = rows if rows is not None and len(rows) else None
        if self.strangers.next_number != self._next_written:
            records[_NEXT] = str(self.strangers.next_number)
            self._next_written = self.strangers.next_number
        self._dirty.clear()
        self.strangers.dirty.clear()
        litter, self._litter = self._litter, {}
        return Changes(records, vectors, litter)

    def _set(self, key: str, total: Vector | None) -> None:
        if total is None:
            self._totals.pop(key, None)
        else:
            self._totals[key] = total
        self._dirty.add(key)


def _by_number(stranger: Stranger) -> int:
    return stranger.number


def _read(records: Mapping[str, str], prefix: str, cls: type[Any]) -> Iterator[Any]:
    for key, text in records.items():
        if key.startswith(prefix):
            yield wire.from_json(cls, text)
