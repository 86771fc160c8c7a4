"""What one gallery decides by, where it differs from the installation: held with the gallery, changed like its
subjects.

A change of the settings is an entry of the gallery's journal. So every worker decides by the same ones from the same
sequence number on, and they can be looked up, compared and undone like any other change.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from kith.errors import Misconfigured
from kith.jobs import Finite


class Scoring(StrEnum):
    """How the templates of a subject make one score: the best template's cosine; the cosine of their mean, normalised;
    or of their mean weighted by quality."""

    BEST = "best"
    MEAN = "mean"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoffRecord:
    """How a gallery's cutoff was derived. low, high: its 95 % interval. searches: non-mated ones it rests on.

    fpir: the rate it is for, while the gallery grows by up to half. subjects, templates: its size then. how: `measured`
    on searches among about as many subjects, or on its templates; by `rule` from searches among more or fewer
    (kith.searches); or a stated conservative `default` because there is too little data (`why` says what is missing).
    model_id: whose scores they are; scoring: of which kind, None in records from before that was noted, when it was
    hardly ever another than the best template's. at_ms: Unix milliseconds.
    """

    fpir: Finite
    how: Literal["measured", "rule", "default"]
    low: Finite | None = None
    high: Finite | None = None
    searches: int
    subjects: int
    templates: int
    at_ms: int
    model_id: str = ""
    why: str = ""
    scoring: Scoring | None = None


@dataclass(frozen=True, slots=True)
class GallerySettings:
    """cutoff: cosine a match needs, None for the installation's or the model's. record: how it was derived, None when
    somebody set it by hand. fpir: the target the gallery carries; with it, upkeep derives the cutoff anew as the
    gallery grows. margin: lead over the second subject, None for the installation's. scoring: see `Scoring`.

    keep_probes_s, keep_decisions_s, keep_strangers_s: seconds after which upkeep erases what was asked and answered;
    None keeps what the installation keeps. Raises Misconfigured outside the ranges.
    """

    cutoff: Finite | None = None
    record: CutoffRecord | None = None
    fpir: Finite | None = None
    margin: Finite | None = None
    scoring: Scoring = Scoring.BEST
    keep_probes_s: int | None = None
    keep_decisions_s: int | None = None
    keep_strangers_s: int | None = None

    def __post_init__(self) -> None:
        # Written so that NaN fails each of them.
        if self.cutoff is not None and not -1 <= self.cutoff <= 1:
            raise Misconfigured(f"the cutoff is {self.cutoff}, a cosine lies in −1..1")
        if self.fpir is not None and not 0 < self.fpir < 1:
            raise Misconfigured(f"the target FPIR is {self.fpir}, a rate lies between 0 and 1")
        if self.margin is not None and not 0 <= self.margin <= 2:
            raise Misconfigured(f"the margin is {self.margin}, a lead lies in 0..2")
        for knob in ("keep_probes_s", "keep_decisions_s", "keep_strangers_s"):
            value = getattr(self, knob)
            if value is not None and value < 1:
                raise Misconfigured(f"{knob} is {value}, a time to keep is at least 1 second")
