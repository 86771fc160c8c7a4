"""Open-set identification of a set of embeddings: kith.evaluation.open_set with intervals and at several gallery sizes.

A smaller gallery is drawn from the enrolled subjects, several times; its mated probes are those of the subjects drawn,
its strangers are the same as for the whole gallery. Figures are means over the draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import AtRate, Figure, Refused, Sample
from kith.evaluation.curves import Curve, at_rates_with_curve
from kith.evaluation.open_set import Labels, OpenSet, Vectors, evaluate, search
from kith.evaluation.split import split_identities

RANKS = (1, 5, 10)
FPIRS = (0.01, 0.001)

#: Galleries drawn of each size below the whole.
_DRAWS = 20

#: What the trials are called in refusals.
SEARCHES = "non-mated searches"


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Every probe against every subject, by the best of its templates.

    subjects: (s,) names. mated: (m, s) and non_mated: (u, s) float32 cosines. truth: (m,) the right column of each
    mated probe. strangers: (u,) a code 0, 1, … per identity of the non-mated ones. templates: of all subjects together.
    """

    subjects: Labels
    mated: Vectors
    truth: NDArray[np.intp]
    non_mated: Vectors
    strangers: NDArray[np.intp]
    templates: int


@dataclass(frozen=True, slots=True)
class AtSize:
    """Figures at one gallery size. draws: galleries drawn; mated: probes of one of them, on average; ranks: k → share
    of mated probes with the right subject among the k nearest; at: DIR and cutoff at each FPIR."""

    subjects: int
    draws: int
    mated: int
    non_mated: int
    ranks: dict[int, Figure]
    at: tuple[AtRate, ...]


@dataclass(frozen=True, slots=True)
class AtCutoff:
    """What a cutoff that is in use gives: the share of strangers who are named, and of people known named rightly."""

    cutoff: float
    fpir: Figure
    dir: Figure


@dataclass(frozen=True, slots=True)
class Identification:
    """sizes: smallest gallery first, the whole one last. det, in_use: of the whole gallery."""

    sizes: tuple[AtSize, ...]
    det: Curve | Refused
    in_use: AtCutoff
    templates_per_subject: float


def score(gallery: Vectors, names: Labels, mated: Vectors, truth: Labels, non_mated: Vectors, who: Labels) -> Scored:
    """Compare all probes with a gallery: unit rows (n, d) and the identity of each.

    Memory: 4 bytes for every probe and subject. Raises ValueError when the gallery is empty, a mated probe's subject is
    not in it, or a stranger is.
    """
    subjects, owner = np.unique(names, return_inverse=True)
    if not len(subjects):
        raise ValueError("nobody is enrolled")
    if unknown := set(truth.tolist()) - set(subjects.tolist()):
        raise ValueError(f"mated probes of somebody who is not enrolled: {min(unknown)}")
    if enrolled := set(who.tolist()) & set(subjects.tolist()):
        raise ValueError(f"an enrolled subject among the strangers: {min(enrolled)}")
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(subjects)))

    def against(probes: Vectors) -> Vectors:
        best: Vectors = np.maximum.reduceat(probes @ gallery[order].T, starts, axis=1)
        return best

    return Scored(
        subjects=subjects,
        mated=against(mated),
        truth=np.searchsorted(subjects, truth),
        non_mated=against(non_mated),
        strangers=np.unique(who, return_inverse=True)[1],
        templates=len(names),
    )


def identify(
    scored: Scored,
    cutoff: float,
    random: np.random.Generator,
    fpirs: Sequence[float] = FPIRS,
    sizes: Sequence[int] | None = None,
) -> Identification:
    """The figures at each of `sizes` (default: 10, 30, 100, 300, …) below the whole gallery, and at the whole.

    cutoff: the one in use, a cosine. Raises ValueError when there are no mated or no non-mated probes.
    """
    if not len(scored.truth) or not len(scored.strangers):
        raise ValueError(f"{len(scored.truth)} mated and {len(scored.strangers)} non-mated probes")
    whole = len(scored.subjects)
    strangers = int(scored.strangers.max(initial=-1)) + 1
    drawn = bootstrap.draw(random, whole, strangers)
    found = []
    for size in [*(size for size in sizes or usual_sizes(whole) if size < whole), whole]:
        draws = 1 if size == whole else _DRAWS
        galleries = [np.sort(random.permutation(whole)[:size]) for _ in range(draws)]
        found.append(_at_size(scored, galleries, drawn, fpirs))
    everybody = np.arange(whole)
    named, strange = _named(*_ranked(scored, everybody)), _strangers(scored, everybody)
    return Identification(
        sizes=tuple(found),
        det=at_rates_with_curve([(named, strange)], drawn, (), SEARCHES)[1],
        in_use=AtCutoff(
            cutoff,
            fpir=bootstrap.share([_reaching(strange, cutoff)], drawn),
            dir=bootstrap.share([_reaching(named, cutoff)], drawn),
        ),
        templates_per_subject=scored.templates / whole,
    )


def usual_sizes(limit: int) -> list[int]:
    """10, 30, 100, 300, … below `limit`."""
    steps = [step * 10**power for power in range(1, 9) for step in (1, 3)]
    return [size for size in steps if size < limit]


def quick_open_set(vectors: Vectors, labels: Labels, fpir: float = 0.01, seed: int = 0) -> OpenSet:
    """rank-1 and DIR at `fpir` for validation during training: no intervals, one split, the same for the same seed.

    vectors: (n, d) unit rows, labels: (n,) identities. Half of the identities are enrolled with up to two templates,
    their other pictures are the mated probes; everybody else is a stranger (see kith.evaluation.split). Raises
    ValueError when nobody has two pictures, or when the strangers are too few to show `fpir` (fewer than 1 / `fpir`
    pictures).
    """
    split = split_identities(labels, np.random.default_rng(seed))
    if not len(split.mated):
        raise ValueError(
            "nobody can be asked about: every identity has a single picture, or there is only one identity"
        )
    templates, names = vectors[split.gallery], labels[split.gallery]
    mated = search(vectors[split.mated], templates, names)
    return evaluate(mated, labels[split.mated], search(vectors[split.non_mated], templates, names), fpir)


def _at_size(
    scored: Scored, galleries: Sequence[NDArray[np.intp]], drawn: bootstrap.Counts, fpirs: Sequence[float]
) -> AtSize:
    ranked = [_ranked(scored, columns) for columns in galleries]
    size = len(galleries[0])
    # Among k of k subjects the right one always is.
    shares = {
        k: bootstrap.share([Sample((ranks <= k).astype(np.float64), right.people) for ranks, right in ranked], drawn)
        for k in RANKS
        if k == 1 or k < size
    }
    parts = [(_named(*one), _strangers(scored, columns)) for one, columns in zip(ranked, galleries, strict=True)]
    return AtSize(
        subjects=size,
        draws=len(galleries),
        mated=round(float(np.mean([len(ranks) for ranks, _ in ranked]))),
        non_mated=len(scored.strangers),
        ranks=shares,
        at=bootstrap.at_rates(parts, drawn, fpirs, SEARCHES),
    )


def _ranked(scored: Scored, columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], Sample]:
    """Of the probes of the subjects in `columns`: the rank at which the right subject comes, and its score."""
    rows = np.flatnonzero(np.isin(scored.truth, columns))
    right = scored.mated[rows, scored.truth[rows]]
    # Not `>`: a stranger's template that is just as near could as well have been named.
    ranks: NDArray[np.intp] = (scored.mated[np.ix_(rows, columns)] >= right[:, None]).sum(axis=1)
    return ranks, Sample(right.astype(np.float64), scored.truth[rows])


def _named(ranks: NDArray[np.intp], right: Sample) -> Sample:
    """With a wrong subject nearest, no cutoff gives the right name."""
    return Sample(np.where(ranks == 1, right.scores, -np.inf), right.people)


def _reaching(sample: Sample, cutoff: float) -> Sample:
    # As kith.decision has it: a score equal to the cutoff is enough.
    return Sample((sample.scores >= cutoff).astype(np.float64), sample.people)


def _strangers(scored: Scored, columns: NDArray[np.intp]) -> Sample:
    # Their identities follow those of the subjects in the columns of what is drawn.
    return Sample(
        scored.non_mated[:, columns].max(axis=1, initial=-1).astype(np.float64), len(scored.subjects) + scored.strangers
    )
