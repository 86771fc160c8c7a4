"""One person's visit: everything one gallery's cameras saw of somebody, from when they came to when they were gone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kith.jobs import Finite
from kith.settings import Watch
from kith.watching.events import stranger_name
from kith.watching.evidence import NOTHING, Evidence

Vector = NDArray[np.float32]

#: How far below the cutoff the likeness to somebody may be for it to be in doubt whether it is them.
DOUBT = 0.2


@dataclass(frozen=True, slots=True)
class Who:
    """A subject, a stranger, or, with nothing set, somebody."""

    subject: str | None = None
    subject_id: str | None = None
    stranger: int | None = None

    def __str__(self) -> str:
        return self.subject or (stranger_name(self.stranger) if self.stranger is not None else "somebody")

    @property
    def known(self) -> bool:
        """Whether there is a name or a number."""
        return self.subject is not None or self.stranger is not None

    def is_subject(self, subject: str, subject_id: str | None) -> bool:
        """Whether it is this one; the id decides where both are known, for a name may have been changed since."""
        if self.subject is None:
            return False
        return self.subject_id == subject_id if self.subject_id and subject_id else self.subject == subject

    def same_as(self, other: "Who") -> bool:
        """Whether both are known and one person."""
        if other.subject is not None:
            return self.is_subject(other.subject, other.subject_id)
        return self.subject is None and self.stranger is not None and self.stranger == other.stranger


@dataclass(frozen=True, slots=True)
class Visit:
    """who: as it is thought now; told: as events have it, None before any. how: why it is thought so. likeness: to the
    stranger. started_ms, seen_ms: by the producers' clocks; heard_ms: newest word, by the log's. ended: what its tracks
    that are over showed; what the others show stands with them. events: how many were told. shown: the picture told
    last, and when."""

    visit: str
    started_ms: int
    seen_ms: int
    heard_ms: int
    who: Who = Who()
    told: Who | None = None
    how: Literal["crops", "clear", "resembles", "nobody"] = "nobody"
    likeness: Finite | None = None
    cameras: tuple[str, ...] = ()
    ended: Evidence = NOTHING
    events: int = 0
    shown: str | None = None
    shown_quality: Finite = 0.0
    shown_ms: int = 0

    def seen_by(self, camera: str, seen_ms: int, heard_ms: int) -> "Visit":
        """Seen there once more."""
        return replace(
            self,
            started_ms=min(self.started_ms, seen_ms),
            seen_ms=max(self.seen_ms, seen_ms),
            heard_ms=max(self.heard_ms, heard_ms),
            cameras=self.cameras if camera in self.cameras else (*self.cameras, camera),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a visit, or a track, shows: evidence and Σ w v."""

    evidence: Evidence
    total: Vector | None

    @property
    def face(self) -> Vector | None:
        """The pooled template, unit, float32 (d,); None where there is no crop."""
        if self.total is None or self.evidence.length <= 0:
            return None
        return self.total / np.float32(self.evidence.length)

    def likeness(self, other: "Shown") -> float:
        """Cosine of the pooled templates; −1 where they cannot be compared."""
        mine, theirs = self.face, other.face
        if mine is None or theirs is None or self.evidence.model_id != other.evidence.model_id:
            return -1.0
        return float(mine @ theirs)


def visit_of(
    track: Shown, stranger: int | None, visits: Sequence[tuple[Visit, Shown]], rule: Watch
) -> tuple[Visit | None, bool]:
    """Which visit, of those that are not over, a face belongs to; and whether it is in doubt, so that a better crop
    should be waited for.

    By name, where several crops name somebody, or one does and is not unlike; by the number of the stranger it is; else
    by its likeness to what was seen on the visit, which is of this very hour and needs no more than the cutoff.
    """
    evidence = track.evidence
    if evidence.cutoff is None:
        return None, False
    doubt = evidence.cutoff - DOUBT
    verdict, foremost = evidence.named(rule), evidence.foremost()
    alike = [(track.likeness(shown), visit) for visit, shown in visits]
    if foremost is not None:
        for likeness, visit in alike:
            if visit.who.is_subject(foremost.subject, foremost.subject_id) and (verdict or likeness >= doubt):
                return visit, False
    if stranger is not None:
        for _, visit in alike:
            if visit.who.subject is None and visit.who.stranger == stranger:
                return visit, False
    # Two names are two people, however alike they are.
    others = [pair for pair in alike if foremost is None or pair[1].who.subject is None]
    likeness, nearest = max(others, key=lambda pair: pair[0], default=(-1.0, None))
    if likeness >= evidence.cutoff:
        return nearest, False
    return None, likeness >= doubt


def belongs(track: Shown, who: Who, rest: Shown, rule: Watch) -> bool:
    """Whether a track is still thought to be of the visit it was given to. rest: what the visit's other tracks show."""
    verdict, evidence = track.evidence.named(rule), track.evidence
    if verdict is not None and who.subject is not None:
        return who.is_subject(verdict.subject, verdict.subject_id)
    if rest.total is None or evidence.good < rule.confirm_crops or evidence.cutoff is None:
        return True
    return track.likeness(rest) >= evidence.cutoff - DOUBT


def decided(visit: Visit, evidence: Evidence, rule: Watch) -> Visit:
    """Who it is by the crops that match somebody; a name falls where the score does. Numbers are the book's to give."""
    verdict = evidence.named(rule)
    if verdict is not None:
        who = Who(verdict.subject, verdict.subject_id)
        # Who was renamed meanwhile keeps the name they were announced by until the visit is over.
        same = who == visit.who or (visit.who.subject_id is not None and who.same_as(visit.who))
        return visit if same else replace(visit, who=who, how=verdict.how, likeness=None)
    who, cutoff = visit.who, evidence.cutoff
    if who.subject is None or cutoff is None or evidence.score_of(who.subject, who.subject_id) >= cutoff - rule.slack:
        return visit
    return replace(visit, who=Who(), how="nobody")
