"""What a search answers with: `Hit`, and `Certificate`, the proof that nobody nearer was passed over."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Hit(NamedTuple):
    """One subject found. score: cosine of its best template, which is in `slot`; where a gallery scores by means, that
    of the mean, and `slot` is the lowest of the templates it is made of.

    A tuple for its price: a search of a small gallery spends more on building its answer than on finding it.
    """

    subject_id: str
    subject: str
    score: float
    slot: int


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """Why the answers are exact, per probe; arrays of shape (B,).

    excluded: int64, templates (means) whose bound lay below the answer's last score. rescored: int64, those that
    were scored again from float32. excluded + rescored = searched for every probe: nothing was left undecided.
    floor: float32, the score of the answer's last hit, −inf where fewer than k were found; every template that was
    excluded is below it, or below another one of its subject. fallback: int64, blocks of which too much was left by
    the compressed pass, so that the float32 pass ran. searched: how many templates (means) there were, without what
    the caller excluded.
    """

    excluded: NDArray[np.int64]
    rescored: NDArray[np.int64]
    floor: NDArray[np.float32]
    fallback: NDArray[np.int64]
    searched: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """hits: for each probe, best first. certificate: see there."""

    hits: list[list[Hit]]
    certificate: Certificate
