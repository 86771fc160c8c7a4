"""What the watcher tells: somebody is there, we now know who, they are gone. One record each, never changed.

    new        somebody is there; with a name when that is sure already
    update     who it is has become known, or another; or there is a better picture. `why` says which
    end        the visit is over: who it was, from when to when, on which cameras
    unusable   somebody passed of whom no picture was fit; `why` says why. No visit
    merged     two visits, or two strangers, turned out to be one: `visit` or `stranger` is now part of `into`
    renamed    a stranger was given a name: this visit of the past was `subject`'s

A consumer that opens doors looks at `new` and `update` with a `subject`: both come only while a live crop of the person
is within its deadline. `end`, `merged` and `renamed` are about what was, and open nothing. The schema, for other
languages, is docs/schema/event.json (`kith events --schema`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter

from kith.jobs import Finite, Outcome
from kith.watching.evidence import Evidence


class EventKind(StrEnum):
    """See the module."""

    NEW = "new"
    UPDATE = "update"
    END = "end"
    UNUSABLE = "unusable"
    MERGED = "merged"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class CropEvidence:
    """What one crop contributed. decision: id of its decision; image: its key; score: cosine of the nearest subject."""

    decision: str
    image: str
    camera: str
    at_ms: int
    quality: Finite
    outcome: Outcome
    nearest: str | None = None
    score: Finite | None = None
    runner_up_score: Finite | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """Why it is thought to be that person. crops: the best ones; count: how many there were. nearest, score: the
    subject that is named, else the one that the pooled template is nearest to, and the cosine; cutoff: what a name
    needs. votes: crops that match by themselves. how: `crops` when several agree on the subject, `clear` when one far
    above the cutoff did, `resembles` when the face is that of a stranger (likeness: the cosine), `nobody` when it is
    nobody's yet. pooling: how crops became one score."""

    count: int
    crops: tuple[CropEvidence, ...]
    how: Literal["crops", "clear", "resembles", "nobody"]
    nearest: str | None = None
    score: Finite | None = None
    cutoff: Finite | None = None
    votes: int = 0
    likeness: Finite | None = None
    model_id: str | None = None
    pooling: Literal["quality_weighted_mean"] = "quality_weighted_mean"


@dataclass(frozen=True, slots=True)
class Event:
    """event_id: unique, and the same should it ever be written again. visit: its id; camera, track: where it happened.
    at_ms: of the frame that brought it about. subject, subject_id: who it is; stranger: `stranger-17`, for somebody
    nobody named. was: who it was said to be before. started_ms, ended_ms: seen first and last. snapshot: key of the
    best crop. late: for an `end` that no `new` came before, because every crop was past its deadline. told_ms: when it
    entered the stream, read off its entry id; absent before. All times in Unix milliseconds."""

    event_id: str
    kind: EventKind
    gallery: str
    at_ms: int
    visit: str | None = None
    camera: str | None = None
    track: str | None = None
    subject: str | None = None
    subject_id: str | None = None
    stranger: str | None = None
    was: str | None = None
    into: str | None = None
    why: str | None = None
    cameras: tuple[str, ...] = ()
    started_ms: int | None = None
    ended_ms: int | None = None
    snapshot: str | None = None
    evidence: Proof | None = None
    late: bool = False
    told_ms: int | None = None
    wire: Literal[1] = 1


def stranger_name(number: int) -> str:
    """What stranger `number` is called."""
    return f"stranger-{number}"


def proof(
    evidence: Evidence,
    how: Literal["crops", "clear", "resembles", "nobody"],
    likeness: float | None = None,
    subject: str | None = None,
    subject_id: str | None = None,
) -> Proof:
    """What an event shows of the evidence. likeness: to the stranger it resembles, a cosine. subject, subject_id: whom
    it names."""
    nearest = evidence.nearest()
    if subject is not None:
        named = [(each, evidence.pooled(each)) for each in evidence.tallies if each.is_of(subject, subject_id)]
        nearest = named[0] if named else None
    return Proof(
        count=evidence.crops,
        crops=tuple(
            CropEvidence(
                decision=crop.decision_id,
                image=crop.image,
                camera=crop.camera,
                at_ms=crop.at_ms,
                quality=crop.quality,
                outcome=crop.outcome,
                nearest=crop.nearest,
                score=crop.score,
                runner_up_score=crop.runner_up_score,
            )
            for crop in evidence.kept
        ),
        how=how,
        nearest=nearest[0].subject if nearest else None,
        score=round(nearest[1], 4) if nearest else None,
        cutoff=evidence.cutoff,
        votes=nearest[0].votes if nearest else 0,
        likeness=None if likeness is None else round(likeness, 4),
        model_id=evidence.model_id,
    )


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record as `kith events --json` and the stream have it."""
    made = TypeAdapter(Event).json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event of a Kith camera",
        "description": (__doc__ or "").strip(),
        **{key: value for key, value in made.items() if key not in ("title", "description")},
    }
