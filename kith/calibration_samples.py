"""What a site has learnt of its own searches: samples of scores with the truth beside them, for the gallery's cutoff.

A sample is the score of one search that somebody judged: its person was enrolled (mated), was not (non-mated), or was
enrolled and taken for somebody else (mistaken). It holds numbers and ids, never a vector and never a name, and goes
when the picture or the person it is of is forgotten.

Implemented in kith.backends for Redis and for a single process; one contract suite tests both.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from kith.jobs import Finite

#: Samples kept of one gallery: what it takes to show an FPIR of 1 in 10,000, with as many mated ones beside them.
KEPT = 60_000


class Truth(StrEnum):
    """Who was searched for. MATED: the nearest subject it was. NONMATED: nobody enrolled. MISTAKEN: somebody enrolled,
    but not the nearest."""

    MATED = "mated"
    NONMATED = "nonmated"
    MISTAKEN = "mistaken"


@dataclass(frozen=True, slots=True)
class SearchSample:
    """One judged search of `gallery`, one per decision.

    score: of the nearest subject; runner_up: of the second, None where there was one only. group: searches that are not
    independent of each other share it (frames of one track, searches for one person): opaque. subjects, templates: the
    gallery's size at the time. subject_id: who it was, '' for a stranger. image: the probe's key. sampled: picked
    whatever the answer; False where the answer was the reason to look. cutoff: what a match needed. at_ms: when it was
    judged, Unix milliseconds.
    """

    decision_id: str
    gallery: str
    truth: Truth
    score: Finite
    group: str
    subjects: int
    templates: int
    model_id: str
    subject_id: str
    image: str
    sampled: bool
    at_ms: int
    runner_up: Finite | None = None
    cutoff: Finite | None = None
    wire: Literal[1] = 1


def group_of(subject_id: str) -> str:
    """The group of all searches for one subject."""
    return f"subject {subject_id}"


class SampleStore(Protocol):
    """Where samples live. Safe to call from many threads and processes. Raises StateUnavailable; `put` also StateFull.

    The newest (by at_ms) of each gallery are kept, as many as the store was made for (default KEPT).
    """

    def put(self, sample: SearchSample) -> None:
        """Keep a sample in place of an earlier one of its decision: who judges again has changed his mind."""
        ...

    def drop(self, gallery: str, decision_id: str) -> bool:
        """Take a judgement back; whether there was one."""
        ...

    def samples(self, gallery: str) -> list[SearchSample]:
        """All that are kept of a gallery, oldest first, in the order of decision ids among equals."""
        ...

    def count(self, gallery: str, after_ms: int = -1) -> int:
        """How many are kept that were judged later than `after_ms`; cheap."""
        ...

    def trim(self, gallery: str, before_ms: int) -> int:
        """Drop samples that were judged before `before_ms`; how many."""
        ...

    def forget_images(self, keys: Collection[str]) -> int:
        """Erase samples of these probes, in all galleries; how many.

        Reads every sample. One that is put meanwhile may be missed: erase the decisions first, then nobody can judge
        them any more.
        """
        ...

    def forget_subject(self, subject_id: str) -> int:
        """Erase samples of searches for this subject, in all galleries; how many. As `forget_images`."""
        ...

    def forget_gallery(self, gallery: str) -> int:
        """Erase all samples of a gallery; how many."""
        ...
