"""Right or wrong: decisions against what is known of the pictures."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from kith.jobs import Decision, Outcome


class Verdict(StrEnum):
    """How a decision compares with the truth."""

    HIT = "hit"
    REJECTED_STRANGER = "unknown, rightly"
    MISSED = "missed"
    WRONG_NAME = "wrong name"
    NO_FACE = "no usable face"
    REFUSED = "rejected"

    @property
    def mark(self) -> str:
        """One sign for a list."""
        if self in (Verdict.HIT, Verdict.REJECTED_STRANGER):
            return "✓"
        return "✗" if self in (Verdict.MISSED, Verdict.WRONG_NAME) else "·"


def judge(decision: Decision, truth: str | None) -> Verdict:
    """truth: who is on the picture, None for somebody the gallery does not know."""
    if decision.outcome is Outcome.MATCH:
        return Verdict.HIT if decision.subject == truth else Verdict.WRONG_NAME
    if decision.outcome is Outcome.UNKNOWN:
        return Verdict.REJECTED_STRANGER if truth is None else Verdict.MISSED
    if decision.outcome in (Outcome.NO_FACE, Outcome.LOW_QUALITY):
        return Verdict.NO_FACE
    return Verdict.REFUSED


@dataclass
class Tally:
    """What came of all probes. latencies_ms: from handing in to publication, one per decision."""

    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    latencies_ms: list[int] = field(default_factory=list)
    first_ms: int = 0
    last_ms: int = 0

    def add(self, decision: Decision, truth: str | None) -> Verdict:
        """Count one decision."""
        verdict = judge(decision, truth)
        self.counts[verdict] += 1
        ended_ms = decision.published_ms or decision.decided_ms
        self.latencies_ms.append(ended_ms - decision.created_ms)
        self.first_ms = min(self.first_ms or decision.created_ms, decision.created_ms)
        self.last_ms = max(self.last_ms, ended_ms)
        return verdict

    @property
    def decided(self) -> int:
        """How many were counted."""
        return len(self.latencies_ms)

    @property
    def images_per_s(self) -> float:
        """From the first image handed in to the last decision."""
        return 1000 * self.decided / max(1, self.last_ms - self.first_ms)

    def latency_s(self, share: float) -> float:
        """The latency that `share` (0..1) of the decisions do not exceed, in seconds; nearest rank."""
        ordered = sorted(self.latencies_ms)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1000 if ordered else math.nan
