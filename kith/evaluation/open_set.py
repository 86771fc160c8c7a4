"""Who is this, or nobody we know? Identification against a gallery, with probes of strangers.

Words as in ISO/IEC 19795-1 and the Handbook of Face Recognition (Phillips, Grother and Micheals 2011): a *mated* probe
shows somebody who is enrolled, a *non-mated* one does not.

    rank-1   share of mated probes whose nearest subject is the right one, whatever the score
    FPIR     share of non-mated probes that are given a name: nearest subject above the cutoff
    DIR      share of mated probes that are given the right name: rank-1 and above the cutoff (TPIR at rank 1, 1 − FNIR)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.evaluation.verification import cutoff_at_rate

Vectors = NDArray[np.float32]
Labels = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """The nearest subject of each probe. scores: (n,) cosine to their best template, subjects: (n,) their labels."""

    scores: NDArray[np.float64]
    subjects: Labels


@dataclass(frozen=True, slots=True)
class OpenSet:
    """rank_1 and dir: shares of mated probes; dir at `cutoff`, where the share `fpir` of non-mated ones is named."""

    rank_1: float
    dir: float
    fpir: float
    cutoff: float


def search(probes: Vectors, templates: Vectors, labels: Labels) -> Searches:
    """Every probe against every template: (n, d) and (m, d) unit rows, (m,) the subject of each template.

    A subject with several templates counts with the best of them. Raises ValueError for an empty gallery.
    """
    if not len(templates) or len(templates) != len(labels):
        raise ValueError(f"{len(templates)} templates with {len(labels)} labels are not a gallery")
    scores = probes.astype(np.float64) @ templates.astype(np.float64).T
    nearest = scores.argmax(axis=1)
    return Searches(scores[np.arange(len(probes)), nearest], labels[nearest])


def evaluate(mated: Searches, truth: Labels, non_mated: Searches, fpir: float) -> OpenSet:
    """rank-1 and DIR at a false positive identification rate of at most `fpir`.

    truth: (n,) who the mated probes are. Raises ValueError when there are no mated probes or too few non-mated ones to
    show the rate (fewer than 1 / `fpir`).
    """
    if not len(truth) or len(truth) != len(mated.scores):
        raise ValueError(f"{len(mated.scores)} mated searches with {len(truth)} labels")
    cutoff = cutoff_at_rate(non_mated.scores, fpir)
    right = mated.subjects == truth
    return OpenSet(
        rank_1=float(right.mean()),
        dir=float((right & (mated.scores > cutoff)).mean()),
        fpir=float((non_mated.scores > cutoff).mean()),
        cutoff=cutoff,
    )
