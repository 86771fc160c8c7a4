"""One track as the watcher knows it, and whether its crops are all of one person.

A tracker that loses two people where they cross may go on with the other one under the same name. It knows when that
may have been: within one stretch of a track (kith.jobs.Seen) there was nobody else to follow, and crops are of one
person, however little alike they look. Elsewhere a crop that is unlike the track so far is laid aside; when the next
ones are of its stretch or like it, the track has changed hands and begins anew there, and when they are like the track
again, it was one bad picture and is dropped. So neither person's evidence is spoilt.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kith.jobs import Outcome
from kith.settings import Watch
from kith.watching.evidence import NOTHING, Evidence, added
from kith.watching.news import Sighted, Unfit

Vector = NDArray[np.float32]

#: How far below the cutoff the cosine to its own track must be before a crop is thought to be somebody else's. Crops of
#: one person a moment apart are far more alike than two photographs, people who have nothing in common far less.
FOREIGN = 0.2


@dataclass(frozen=True, slots=True)
class Track:
    """seen_ms: of the newest frame, by the producer; heard_ms: of the newest word about it, by the log. visit: the
    visit it belongs to, None before there is one. turn: how often it has changed hands. held_ms: by when it is
    announced, when it is in doubt. ended_ms: when its end was heard, or it had been silent for too long; final: it was
    told that it ended. sent, got: crops sent and decided. crop_ms: frame
    of the newest crop; fresh_ms: until when it may announce anybody. unfit: what was wrong with crops that were of no
    use. evidence: of the person it follows; aside: of somebody else perhaps. stretch, aside_stretch: of their newest
    crops."""

    track: str
    camera: str
    begun_ms: int
    seen_ms: int
    heard_ms: int
    visit: str | None = None
    turn: int = 0
    held_ms: int | None = None
    ended_ms: int | None = None
    final: bool = False
    sent: int | None = None
    got: int = 0
    crop_ms: int = 0
    fresh_ms: int = 0
    unfit: Unfit | None = None
    evidence: Evidence = NOTHING
    aside: Evidence = NOTHING
    stretch: int | None = None
    aside_stretch: int | None = None

    @property
    def next_visit(self) -> str:
        """What a visit that begins with this track is called: tracks are named once for ever, so visits are too."""
        return self.track if self.turn == 0 else f"{self.track}.{self.turn + 1}"

    @property
    def complete(self) -> bool:
        """Whether it ended and every crop that was sent has been decided."""
        return self.ended_ms is not None and self.sent is not None and self.got >= self.sent


@dataclass(frozen=True, slots=True)
class Over:
    """What is remembered of a track for a while after it is closed, so that news that were held up begin no visit of a
    name that has been given. turn, final: as they were; at_ms: when, by the log."""

    track: str
    turn: int
    final: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A track with one more crop. total, aside: Σ w v of its evidence and of what is laid aside. taken: the crop counts
    for the person the track follows. changed: the track has just gone over to somebody else."""

    track: Track
    total: Vector | None
    aside: Vector | None
    taken: bool
    changed: bool = False


def placed(
    track: Track, total: Vector | None, aside: Vector | None, news: Sighted, vector: Vector, rule: Watch
) -> Placed:
    """Where a crop belongs. vector: unit, float32 (d,)."""
    stretch = news.seen.stretch
    if _one(stretch, track.stretch):
        evidence, total = added(track.evidence, total, news, vector, rule)
        return Placed(replace(track, evidence=evidence), total, aside, taken=True)
    vouched = track.aside.crops > 0 and _one(stretch, track.aside_stretch)
    if not vouched and not _foreign(track.evidence, total, news, vector, FOREIGN):
        # What is not unlike the track may be in it. Only what is surely of its person vouches for a whole stretch: the
        # other crops of one are looked at no more.
        theirs = not _foreign(track.evidence, total, news, vector, 0.0)
        evidence, total = added(track.evidence, total, news, vector, rule)
        return Placed(_at(track, evidence, stretch if theirs else track.stretch), total, None, taken=True)
    if news.quality < rule.min_quality and news.outcome is not Outcome.MATCH:
        # So blurred that it is unlike anybody.
        return Placed(track, total, aside, taken=False)
    if track.evidence.good == 0 and not track.evidence.named(rule):
        # What the track was so far is worth less than this crop: it begins here, with the same person for all we know.
        evidence, total = added(NOTHING, None, news, vector, rule)
        return Placed(_at(track, evidence, stretch), total, None, taken=True)
    beside = track.aside if vouched or not _foreign(track.aside, aside, news, vector, FOREIGN) else NOTHING
    beside, aside = added(beside, aside if beside.crops else None, news, vector, rule)
    if beside.crops < 2:
        return Placed(replace(track, aside=beside, aside_stretch=stretch), total, aside, taken=False)
    gone = replace(_at(track, beside, stretch), turn=track.turn + 1, visit=None, held_ms=None)
    return Placed(gone, aside, None, taken=True, changed=True)


def _at(track: Track, evidence: Evidence, stretch: int | None) -> Track:
    return replace(track, evidence=evidence, stretch=stretch, aside=NOTHING, aside_stretch=None)


def _one(stretch: int | None, other: int | None) -> bool:
    """Whether crops of these stretches are of one person."""
    return stretch is not None and stretch == other


def _foreign(evidence: Evidence, total: Vector | None, news: Sighted, vector: Vector, by: float) -> bool:
    """Whether the crop is less like the evidence than the cutoff, by more than this."""
    if total is None or evidence.model_id != news.model_id or evidence.length <= 0:
        return False
    cutoff = news.cutoff if news.cutoff is not None else evidence.cutoff
    likeness = float(total @ vector) / evidence.length
    return cutoff is not None and likeness < cutoff - by
