"""The cutoff of a gallery for the rate it aims at, from what its site has learnt and from its own templates.

In this order: the site's judged searches, where they suffice; those together with the gallery's own templates, each
searched among the other subjects; else a conservative default. Every answer says in its record what it rests on, and
none is given that the data cannot show: see kith.searches for how they are weighed and when they are too few.

A cutoff is valid while the gallery is about as large as it was: `is_stale`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kith.calibration import fpir_by_rule
from kith.calibration_samples import SearchSample, Truth, group_of
from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import LEAST_IDENTITIES, Estimate, Refused, percent
from kith.gallery_settings import CutoffRecord
from kith.left_out import COMPARISONS, LeftOut, couples, left_out
from kith.searches import Searches, cutoff_of
from kith.view import GalleryView

#: Past this change of size a cutoff is derived anew; by rule, its rate has changed as much by then.
GROWTH = 1.5

#: Searches made among more, or fewer, subjects than today by this factor are extrapolated to today's size.
_SAME_SIZE = 1.1
#: Searches among fewer, or more, by this factor are left out: the rule is not to be trusted that far.
_TOO_FAR = 3
#: Templates searched: ten times what shows the rate at all, beyond which the interval hardly narrows.
_TIMES_ENOUGH = 10
#: A cutoff is set in steps of 0.0001.
_STEPS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """A cutoff with its record. searches: what was looked at, for a plot."""

    cutoff: float
    record: CutoffRecord
    searches: Searches


def derive(
    view: GalleryView,
    samples: Sequence[SearchSample],
    fpir: float,
    random: np.random.Generator,
    *,
    default: float,
    at_ms: int,
    comparisons: int = COMPARISONS,
) -> Derived:
    """The cutoff of `view` for the rate `fpir`.

    samples: of its site; those of another model, and of a time when the gallery was less than a third or more than
    three times as large, are left out. default: the cutoff that applies without (the one in force, the installation's,
    the model's: the highest). comparisons: see `left_out`. Raises ValueError outside 0 < fpir < 1.
    """
    if not 0 < fpir < 1:
        raise ValueError(f"a target rate lies between 0 and 1, not at {fpir:g}")
    near = range(-(-view.subjects // _TOO_FAR), _TOO_FAR * view.subjects + 1)
    site = of_site([each for each in samples if each.model_id == view.model_id and each.subjects in near])
    found = cutoff_of(site, fpir, view.subjects, random)
    if isinstance(found, Estimate):
        return _derived(view, fpir, found, site, f"{_site(site)}{_scaled(site, view)}", at_ms)
    own = left_out(view, _TIMES_ENOUGH * bootstrap.trials_for(fpir), random, comparisons)
    every = site + _of_templates(view, own)
    found = cutoff_of(every, fpir, view.subjects, random)
    basis = f"{_templates(own)}; {_site(site)}" if len(site.scores) else _templates(own)
    if isinstance(found, Estimate):
        return _derived(view, fpir, found, every, basis, at_ms)
    return _by_default(view, fpir, found, every, basis, random, default, at_ms)


def is_stale(record: CutoffRecord, subjects: int, templates: int, model_id: str) -> bool:
    """Whether the gallery is of another model than its cutoff was derived for, or has outgrown, or shrunk below, the
    size it was derived at: by more than half, in subjects or in templates."""
    return record.model_id != model_id or any(
        not 1 / GROWTH <= max(now, 1) / max(then, 1) <= GROWTH
        for now, then in ((subjects, record.subjects), (templates, record.templates))
    )


def rate_now(record: CutoffRecord, subjects: int) -> float:
    """What the record's rate has become by rule, now that the gallery has so many subjects."""
    return fpir_by_rule(record.fpir, subjects / max(record.subjects, 1))


def rounded_up(cutoff: float) -> float:
    """The next number above `cutoff` with 4 decimals, 1 at most: a decision names a score that is equal to its cutoff,
    and the score found is that of a stranger who must not be named."""
    return min((math.floor(cutoff * _STEPS) + 1) / _STEPS, 1.0)


def of_site(samples: Sequence[SearchSample]) -> Searches:
    """The non-mated searches that samples of one model hold.

    A stranger's is one as it is. Of a person who is enrolled, the best score with anybody else is one: the second where
    the person was the nearest, the first where he was mistaken. That a confirmed person was the nearest hides second
    scores above his own; those are reported as mistaken or lost, and are as rare as a person who scores below them.
    """
    rows = []
    for each in samples:
        score = each.runner_up if each.truth is Truth.MATED else each.score
        if score is None or each.subjects < 1:
            continue
        # Said of an answer that named somebody, because it named somebody.
        chosen = not each.sampled and each.truth is not Truth.MATED
        rows.append((score, each.group, each.subjects, chosen, -1.0 if each.cutoff is None else each.cutoff))
    if not rows:
        return _none()
    scores, groups, subjects, objections, cutoffs = (np.array(column) for column in zip(*rows, strict=True))
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return Searches(
        scores=scores.astype(np.float64),
        groups=groups,
        weights=1 / sizes[codes],
        subjects=subjects.astype(np.float64),
        chosen=objections,
        chosen_above=float(cutoffs[objections].max()) if objections.any() else np.inf,
    )


def _none() -> Searches:
    empty = np.empty(0)
    return Searches(empty, np.empty(0, np.str_), empty, empty, np.empty(0, np.bool_))


def _of_templates(view: GalleryView, own: LeftOut) -> Searches:
    """Pictures of one enrolment are chosen to differ, unlike frames of a track: each counts, as in `kith calibrate`.
    One subject left out of N is taken for N: it is by the own size that a gallery is known."""
    count = len(own.scores)
    groups = np.array([group_of(view.subject_at(number)[0]) for number in couples(own).tolist()], dtype=np.str_)
    return Searches(own.scores, groups, np.ones(count), np.full(count, float(view.subjects)), np.zeros(count, np.bool_))


def _derived(view: GalleryView, fpir: float, found: Estimate, searches: Searches, basis: str, at_ms: int) -> Derived:
    record = CutoffRecord(
        fpir=fpir,
        how="rule" if _scaled(searches, view) else "measured",
        low=found.low,
        high=found.high,
        searches=round(searches.independent),
        subjects=view.subjects,
        templates=view.templates,
        model_id=view.model_id,
        at_ms=at_ms,
        why=f"from {basis}",
    )
    return Derived(rounded_up(found.value), record, searches)


def _by_default(
    view: GalleryView,
    fpir: float,
    refused: Refused | Estimate,
    searches: Searches,
    basis: str,
    random: np.random.Generator,
    default: float,
    at_ms: int,
) -> Derived:
    """What applies while there is too little data: `default`, or what the strictest rate that can be shown asks for,
    whichever is higher."""
    assert isinstance(refused, Refused)
    why, cutoff = f"{refused.reason} (from {basis}); until then {default:.4f} applies", default
    # A hair above, so that three exceptions are still expected of it after rounding.
    shown = 3 / searches.independent * (1 + 1e-9) if searches.independent else 1.0
    if shown < 0.5 and len(np.unique(searches.groups)) >= LEAST_IDENTITIES:
        found = cutoff_of(searches, shown, view.subjects, random)
        if isinstance(found, Estimate) and rounded_up(found.value) > default:
            cutoff = rounded_up(found.value)
            why = (
                f"{refused.reason} (from {basis}); until then the cutoff for the strictest rate shown, {percent(shown)}"
            )
    record = CutoffRecord(
        fpir=fpir,
        how="default",
        low=None,
        high=None,
        searches=round(searches.independent),
        subjects=view.subjects,
        templates=view.templates,
        model_id=view.model_id,
        at_ms=at_ms,
        why=why,
    )
    return Derived(cutoff, record, searches)


def _templates(own: LeftOut) -> str:
    count = len(own.scores)
    drawn = f" (drawn from {own.templates:,})" if count < own.templates else ""
    return f"{count:,} templates{drawn}, each searched among the other subjects"


def _site(site: Searches) -> str:
    judged = int((~site.chosen).sum())
    groups = len(np.unique(site.groups[~site.chosen]))
    objections = f", {int(site.chosen.sum()):,} objections" if site.chosen.any() else ""
    return f"{judged:,} judged searches of {groups:,} people or tracks{objections}"


def _scaled(searches: Searches, view: GalleryView) -> str:
    """Said of searches that were mostly made at another size: the rule carried them to today's."""
    sizes = searches.subjects[~searches.chosen]
    usual = float(np.median(sizes)) if len(sizes) else float(view.subjects)
    if 1 / _SAME_SIZE <= view.subjects / max(usual, 1.0) <= _SAME_SIZE:
        return ""
    return f", made among {usual:,.0f} subjects and by rule carried to {view.subjects:,}"
