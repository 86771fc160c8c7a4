"""People nobody has named: stable numbers for them, given as they come.

Online clustering of what tracks pooled (kith.watching.evidence), in the manner of core points with deferral (Ester et
al., "A Density-Based Algorithm for Discovering Clusters", 1996): a face alone is never a person. Somebody has up to
`VIEWS` views, each the pooled template of one visit; the likeness of a face to somebody is the cosine of the nearest
view. With `same` = cutoff + `watch.stranger_margin`, a face

    is stranger n       when its likeness to n reaches `same`: stricter than a match, as both sides are crops of cameras
    is somebody new     when it is like nobody: below `same` − `_BAND`, or so near to several that nearness says nothing
    waits               otherwise, and gets no number from this visit, unless a better crop decides it

A number once given to a visit stays; what changes it is only that two strangers are merged. They are when a visit of
one reaches `same` with the other as well, or when somebody says so. The younger becomes a part of the older one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kith.jobs import Finite
from kith.watching.views import Views

#: Views of one stranger that are kept.
VIEWS = 4
#: Crops that are kept for naming somebody, the best ones.
MAX_CROPS = 8
#: Visits that are kept of one stranger: those a name is given to afterwards.
MAX_VISITS = 500
_NO_VIEWS: NDArray[np.float32] = np.zeros((0, 0), np.float32)
#: Below `same` by more than this, likeness is chance.
_BAND = 0.2
#: Between, a face is like nobody in particular unless it is this much more like one stranger than like the next.
_LEAD = 0.1

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """One visit's part. weight: Σ of its crops' qualities."""

    visit: str
    weight: Finite


@dataclass(frozen=True, slots=True)
class StrangerVisit:
    """A visit that ended."""

    visit: str
    started_ms: int
    ended_ms: int
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StrangerCrop:
    """A picture of a stranger, aligned."""

    image: str
    quality: Finite
    at_ms: int


@dataclass(frozen=True, slots=True)
class Stranger:
    """views: their unit vectors stand beside it, (n, d) in the same order. subject: the name given since; into: the
    stranger it became part of. Either way nobody is likened to it any more, and it has no views."""

    number: int
    model_id: str | None
    first_ms: int
    last_ms: int
    views: tuple[View, ...] = ()
    crops: tuple[StrangerCrop, ...] = ()
    visits: tuple[StrangerVisit, ...] = ()
    ignored: bool = False
    subject: str | None = None
    into: int | None = None

    @property
    def lives(self) -> bool:
        """Whether faces are likened to it."""
        return self.subject is None and self.into is None


@dataclass(frozen=True, slots=True)
class Likeness:
    """The stranger a face is most like, and what follows from it. new: it is nobody's face yet."""

    number: int | None
    score: float
    same: bool
    new: bool


class Strangers:
    """The strangers of one gallery. `dirty` gathers the numbers of those that changed; who writes them clears it."""

    def __init__(self, held: Iterable[tuple[Stranger, Vector]] = (), next_number: int = 1) -> None:
        self.dirty: set[int] = set()
        self._held: dict[int, tuple[Stranger, Vector]] = {}
        self._views: dict[str | None, Views] = {}
        for stranger, views in held:
            self._put(stranger, views)
        self.next_number = next_number
        self.dirty.clear()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Stranger]:
        return iter([stranger for stranger, _ in self._held.values()])

    def get(self, number: int | None) -> Stranger | None:
        """The stranger of this number, or the one it became part of."""
        return None if number is None else self.at(self._end_of(number))

    def at(self, number: int) -> Stranger | None:
        """The record of this number itself, merged or not."""
        held = self._held.get(number)
        return held[0] if held else None

    def views_of(self, number: int) -> Vector:
        """(n, d) unit vectors."""
        return self._held[number][1]

    def like(self, vector: Vector, model_id: str | None, same: float, but: int | None = None) -> Likeness:
        """Whom a unit vector is most like, of all but one. same: the cosine from which on it is the same person."""
        found = self._views[model_id].nearest(vector, but) if model_id in self._views else None
        if found is None:
            return Likeness(None, -1.0, same=False, new=True)
        number, score, second = found
        chance = score < same - _BAND or (score < same and score - second < _LEAD)
        return Likeness(number, score, same=score >= same, new=chance)

    def mint(self, model_id: str | None, at_ms: int) -> int:
        """A new number."""
        number = self.next_number
        self.next_number += 1
        self._put(Stranger(number, model_id, at_ms, at_ms), _NO_VIEWS)
        return number

    def learn(
        self, number: int, visit: str, vector: Vector, weight: float, crops: Iterable[StrangerCrop], at_ms: int
    ) -> list[StrangerCrop]:
        """What a visit shows of a stranger; told again of the same visit, the newer word stands. The crops that better
        ones displaced.

        Of more than `VIEWS` the one of least weight goes: it is of the fewest and worst crops.
        """
        stranger = self.get(number)
        if stranger is None or not stranger.lives:
            return []
        rows = dict(zip(stranger.views, self._held[stranger.number][1], strict=True))
        rows = {view: row for view, row in rows.items() if view.visit != visit} | {View(visit, weight): vector}
        while len(rows) > VIEWS:
            del rows[min(rows, key=lambda view: view.weight)]
        pictures = {crop.image: crop for crop in (*stranger.crops, *crops)}
        best = sorted(pictures.values(), key=lambda crop: (-crop.quality, crop.at_ms))[:MAX_CROPS]
        changed = replace(stranger, views=tuple(rows), crops=tuple(best), last_ms=max(stranger.last_ms, at_ms))
        self._put(changed, np.stack(list(rows.values())))
        return [crop for crop in stranger.crops if crop not in best]

    def visited(self, number: int, visit: StrangerVisit) -> None:
        """A visit of theirs is over."""
        stranger = self.get(number)
        if stranger is not None:
            visits = (*(each for each in stranger.visits if each.visit != visit.visit), visit)[-MAX_VISITS:]
            self._put(
                replace(stranger, visits=visits, last_ms=max(stranger.last_ms, visit.ended_ms)),
                self._held[stranger.number][1],
            )

    def merge(self, number: int, into: int) -> list[StrangerCrop]:
        """Two are one; `into` goes on. The other's number remains as a pointer to it. The crops displaced."""
        gone, kept = self.at(number), self.at(into)
        if gone is None or kept is None or number == into or not gone.lives or not kept.lives:
            return []
        rows = list(zip(kept.views, self.views_of(into), strict=True)) if kept.views else []
        if gone.model_id == kept.model_id and gone.views:
            rows += zip(gone.views, self.views_of(number), strict=True)
        rows = sorted(rows, key=lambda row: -row[0].weight)[:VIEWS]
        crops = sorted({*gone.crops, *kept.crops}, key=lambda crop: (-crop.quality, crop.at_ms))[:MAX_CROPS]
        visits = sorted({*gone.visits, *kept.visits}, key=lambda visit: visit.ended_ms)[-MAX_VISITS:]
        merged = replace(
            kept,
            first_ms=min(gone.first_ms, kept.first_ms),
            last_ms=max(gone.last_ms, kept.last_ms),
            views=tuple(view for view, _ in rows),
            crops=tuple(crops),
            visits=tuple(visits),
            # Whoever wants no news of one of them wants none of the person.
            ignored=gone.ignored or kept.ignored,
        )
        self._put(merged, np.stack([row for _, row in rows]) if rows else self.views_of(into))
        self._put(replace(gone, into=into, views=(), crops=(), visits=()), _NO_VIEWS)
        return [crop for crop in (*gone.crops, *kept.crops) if crop not in crops]

    def name(self, number: int, subject: str) -> None:
        """They are in the gallery now, under this name; nobody is likened to them here any more."""
        stranger = self.at(number)
        if stranger is not None:
            self._put(replace(stranger, subject=subject, views=(), crops=()), _NO_VIEWS)

    def ignore(self, number: int, ignored: bool) -> None:
        """Whether events tell of them."""
        stranger = self.at(number)
        if stranger is not None:
            self._put(replace(stranger, ignored=ignored), self.views_of(number))

    def forget(self, number: int) -> tuple[str, ...]:
        """Gone, with all numbers that became part of them; the pictures they had."""
        gone = [each.number for each in self if self._end_of(each.number) == number]
        pictures = [crop.image for each in gone for crop in self._held[each][0].crops]
        for each in gone:
            stranger, _ = self._held.pop(each)
            self._index(stranger).put(each, _NO_VIEWS)
            self.dirty.add(each)
        return tuple(dict.fromkeys(pictures))

    def stale(self, before_ms: int, most: int) -> list[int]:
        """Who was seen last before that time, and who is too many, longest unseen first."""
        by_age = sorted((stranger.last_ms, stranger.number) for stranger in self)
        old = [number for last_ms, number in by_age if last_ms < before_ms]
        return old if len(by_age) - len(old) <= most else [number for _, number in by_age[: len(by_age) - most]]

    def _end_of(self, number: int) -> int:
        # No circle: only one that lives takes others in, and who was taken in lives no more.
        while (stranger := self.at(number)) is not None and stranger.into is not None:
            number = stranger.into
        return number

    def _put(self, stranger: Stranger, views: Vector) -> None:
        self._held[stranger.number] = stranger, views
        self._index(stranger).put(stranger.number, views if stranger.lives else _NO_VIEWS)
        self.dirty.add(stranger.number)

    def _index(self, stranger: Stranger) -> Views:
        return self._views.setdefault(stranger.model_id, Views())
