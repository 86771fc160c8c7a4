"""The cutoff for a target false-positive identification rate at the size of a gallery, and how it moves as that grows.

Measured: galleries of N subjects are drawn from the identities at hand, everybody else's pictures are searched in them,
and the cutoff is the lowest score that at most the share FPIR of these non-mated searches exceeds. A live gallery is
searched with its own templates instead, the subject of each left out (kith.searches).

By rule, beyond the sizes the data allows: FPIR(N) = 1 − (1 − FMR)^N, FMR being the share of comparisons of two people
that reach the cutoff. It takes the subjects of a gallery for independent, which is safe where they are a mixed lot and
dangerous where they are alike. So it is an extrapolation, is called one, and stands beside what it says at a size that
was measured. Nothing is fitted to a tail: what the data cannot show is refused.

Calibrate on identities the network was not trained on: those it has learnt to tell apart say nothing about strangers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import Counts, Estimate, Figure, Sample
from kith.evaluation.nonmated import NonMated, Rows, Vectors
from kith.left_out import couples
from kith.searches import Searches, cutoff_of

GROWTH = (10, 100)

#: Galleries drawn of each size.
_DRAWS = 20
#: How much more of the highest scores is kept than the rule needs: resamples differ in how much of them they draw.
_TAIL_MARGIN = 8

_SEARCHES = "non-mated searches"
_COMPARISONS = "comparisons of two people"


@dataclass(frozen=True, slots=True)
class AtSize:
    """The cutoff of a gallery of so many subjects. how: `measured` in `trials` non-mated searches, or by `rule` from
    `trials` comparisons of two people: an extrapolation."""

    subjects: int
    cutoff: Figure
    how: Literal["measured", "rule"]
    trials: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """cutoff: for the target `fpir` at the gallery's size. rule: what the rule says at that size, its own test.

    smaller: measured at sizes below. growth: at 10 and 100 times the size, measured where the data allows it.
    fpir_if_kept: factor → by rule, the FPIR that the same cutoff then has.
    """

    fpir: float
    cutoff: AtSize
    rule: AtSize
    smaller: tuple[AtSize, ...]
    growth: tuple[AtSize, ...]
    fpir_if_kept: dict[int, float]
    templates_per_subject: float


def calibrate(
    vectors: Vectors,
    labels: NDArray[Any],
    fpir: float,
    random: np.random.Generator,
    subjects: int | None = None,
    templates: int = 2,
) -> Calibration:
    """From faces of people: (n, d) unit rows and the (n,) identity of each.

    subjects: the size of the gallery to calibrate for; None for the largest size that leaves enough strangers.
    templates: most of a subject. Identities with that many pictures are enrolled first. Raises ValueError for fewer
    than two identities, and outside 0 < fpir < 1.
    """
    if not 0 < fpir < 1:
        raise ValueError(f"a target rate lies between 0 and 1, not at {fpir:g}")
    faces = NonMated(vectors, labels, templates, random)
    most = faces.most_subjects(bootstrap.trials_for(fpir))
    size = subjects or max(most, 1)
    drawn = bootstrap.draw(random, faces.people)
    # A size that is too large is asked for all the same: its refusal says what it takes.
    sizes = [step for step in (*_steps(size), size, *(factor * size for factor in GROWTH)) if step <= max(most, size)]
    measured = {step: _measured(_galleries(faces, step, random), drawn, fpir, step) for step in sizes}
    return _calibration(faces, fpir, size, measured, drawn)


def calibrate_gallery(vectors: Vectors, labels: NDArray[Any], fpir: float, random: np.random.Generator) -> Calibration:
    """From the templates of a live gallery: (n, d) unit rows and the (n,) subject of each.

    Each template is searched among all other subjects (`searched_by_itself`), so the size measured is one below the
    gallery's. Enrolment pictures are often better than those of cameras: where these are at hand, `calibrate` on them.
    Raises ValueError as `calibrate`.
    """
    if not 0 < fpir < 1:
        raise ValueError(f"a target rate lies between 0 and 1, not at {fpir:g}")
    faces = NonMated(vectors, labels, None, random)
    size = faces.people - 1
    drawn = bootstrap.draw(random, faces.people)
    measured = {step: _measured(_galleries(faces, step, random), drawn, fpir, step) for step in _steps(size)}
    measured[size] = searched_by_itself(faces, fpir, random)
    return _calibration(faces, fpir, size, measured, drawn)


def searched_by_itself(faces: NonMated, fpir: float, random: np.random.Generator) -> AtSize:
    """The cutoff by searches of everybody's pictures among all others. The interval says how much depends on who asks,
    the others are as they are; of two who are each other's nearest one speaks for both, as in `kith.gallery_cutoff`."""
    own, nearest = faces.nearest_others()
    scores, ones = own.scores.astype(np.float64), np.ones(len(own.scores))
    searches = Searches(scores, couples(scores, own.people, nearest), ones, ones, np.zeros(len(ones), np.bool_))
    return AtSize(faces.people - 1, cutoff_of(searches, fpir, random), "measured", len(ones))


def rate_by_rule(fpir: float, subjects: int) -> float:
    """The FMR at which a gallery of `subjects` has the false-positive identification rate `fpir`: FPIR(N) = 1 − (1 −
    FMR)^N, solved for FMR."""
    return float(-np.expm1(np.log1p(-fpir) / subjects))


def fpir_by_rule(fpir: float, factor: float) -> float:
    """What `fpir` becomes when the gallery grows by `factor` and the cutoff stays."""
    return float(-np.expm1(factor * np.log1p(-fpir)))


def _steps(limit: int) -> list[int]:
    """10, 30, 100, 300, … below `limit`."""
    return [size for power in range(1, 8) for size in (10**power, 3 * 10**power) if size < limit]


def _galleries(faces: NonMated, subjects: int, random: np.random.Generator) -> list[Sample]:
    """Non-mated searches in several galleries; none where all people together are too few for one and strangers."""
    return [faces.searched(subjects, random) for _ in range(_DRAWS)] if subjects < faces.people else []


def _measured(galleries: Sequence[Sample], drawn: Counts, fpir: float, subjects: int) -> AtSize:
    """Each resample looks at one of the galleries, with the people outside it drawn anew."""
    trials = min((len(each.scores) for each in galleries), default=0)
    people = min((len(np.unique(each.people)) for each in galleries), default=0)
    if refused := bootstrap.too_small(fpir, trials, _SEARCHES) or bootstrap.too_few(people, "strangers"):
        return AtSize(subjects, refused, "measured", trials)
    galleries = [each.sorted() for each in galleries]
    plain = np.ones(drawn.shape[1], np.float32)
    value = np.mean([bootstrap.cutoffs(each, each.weights(plain), [fpir])[0] for each in galleries])
    samples = np.empty(len(drawn))
    for row, taken in enumerate(drawn):
        each = galleries[row % len(galleries)]
        samples[row] = bootstrap.cutoffs(each, each.weights(taken), [fpir])[0]
    return AtSize(subjects, bootstrap.interval(float(value), samples), "measured", trials)


def _calibration(faces: NonMated, fpir: float, size: int, measured: dict[int, AtSize], drawn: Counts) -> Calibration:
    sizes = [size, *(factor * size for factor in GROWTH)]
    columns = faces.enrolled_first(min(size, faces.people))
    by_rule = _by_rule(faces, columns, fpir, sizes, drawn)
    growth = [measured.get(each, by_rule[each]) for each in sizes[1:]]
    return Calibration(
        fpir=fpir,
        cutoff=measured[size],
        rule=by_rule[size],
        smaller=tuple(measured[each] for each in sorted(measured) if each < size),
        growth=tuple(each if isinstance(each.cutoff, Estimate) else by_rule[each.subjects] for each in growth),
        fpir_if_kept={factor: fpir_by_rule(fpir, factor) for factor in GROWTH},
        templates_per_subject=float(faces.templates_of[columns].mean()),
    )


def _by_rule(faces: NonMated, columns: Rows, fpir: float, sizes: Sequence[int], drawn: Counts) -> dict[int, AtSize]:
    """The cutoff by rule at each of `sizes`, from comparisons of every picture with the people in `columns`; resampled
    by identity on both sides of a comparison."""
    rates = {size: rate_by_rule(fpir, size) for size in sizes}
    own = faces.pictures[columns].astype(np.float64)
    trials = int(len(faces.codes) * len(columns) - own.sum())
    few = bootstrap.too_few(faces.people, "people")
    found = {size: few or bootstrap.too_small(rate, trials, _COMPARISONS) for size, rate in rates.items()}
    shown = [size for size in sizes if found[size] is None]
    figures: dict[int, Figure] = {size: refused for size, refused in found.items() if refused}
    if shown:
        wanted = np.array([rates[size] for size in shown])
        tail = faces.highest(columns, int(_TAIL_MARGIN * wanted.max() * trials) + 1000)
        # All comparisons of a resample without making them: its pictures × its subjects, less everybody with himself.
        subjects = drawn[:, columns].astype(np.float64)
        totals = (drawn @ faces.pictures.astype(np.float64)) * subjects.sum(axis=1) - subjects**2 @ own
        value = bootstrap.cutoffs(tail, np.ones(len(tail.scores), np.float32), wanted, trials)
        samples = np.array(
            [
                bootstrap.cutoffs(tail, tail.weights(taken), wanted, total)
                for taken, total in zip(drawn, totals, strict=True)
            ]
        )
        figures |= {size: bootstrap.interval(float(value[at]), samples[:, at]) for at, size in enumerate(shown)}
    return {size: AtSize(size, figures[size], "rule", trials) for size in sizes}
