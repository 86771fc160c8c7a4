"""The cutoff of a gallery for the rate it aims at, from what its site has learnt and from its own templates.

In this order: the site's judged searches, where they suffice; those together with the gallery's own templates, each
searched among the other subjects; else a conservative default. Every answer says in its record what it rests on, and
none is given that the data cannot show: see kith.searches for how they are weighed and when they are too few.

A cutoff holds its rate while the gallery grows by up to half, in subjects and in templates (`GROWTH`): it is sought for
that size. Past it, or when the gallery has shrunk so much that the cutoff asks for more than it need, or scores in
another way, it is derived anew: `is_stale`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kith.calibration_samples import SearchSample, Truth, group_of
from kith.evaluation import bootstrap
from kith.evaluation.bootstrap import Estimate, percent
from kith.gallery_settings import CutoffRecord, GallerySettings, Scoring
from kith.left_out import COMPARISONS, LeftOut, couples, left_out
from kith.searches import Searches, cutoff_of
from kith.view import GalleryView

#: Up to so many times the size a cutoff holds its rate; past this change of size it is derived anew.
GROWTH = 1.5

#: The least rate that can be aimed at: to show it takes three million searches of strangers.
LEAST_FPIR = 1e-6

#: Searches made among more, or fewer, subjects than today by this factor are said to be carried to today's size.
_SAME_SIZE = 1.1
#: Searches among fewer, or more, by this factor are left out: who comes and who is enrolled was another lot.
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
    the model's: the highest). comparisons: see `left_out`. Raises ValueError outside LEAST_FPIR <= fpir < 1.
    """
    if not LEAST_FPIR <= fpir < 1:
        raise ValueError(f"a target rate lies between {LEAST_FPIR:g} and 1, not at {fpir:g}")
    near = range(-(-view.subjects // _TOO_FAR), _TOO_FAR * view.subjects + 1)
    used = [each for each in samples if each.model_id == view.model_id and each.subjects in near]
    site = of_site(used, GROWTH * view.subjects, GROWTH * view.templates)
    found = cutoff_of(site, fpir, random)
    if isinstance(found, Estimate):
        carried = _carried(used, view)
        how: Literal["measured", "rule"] = "rule" if carried else "measured"
        record = _record(view, fpir, how, site, f"from {_site(site)}{carried}", at_ms, found)
        return Derived(rounded_up(found.value), record, site)
    own = left_out(view, math.ceil(_TIMES_ENOUGH * GROWTH * bootstrap.trials_for(fpir)), random, comparisons)
    every = site + _of_templates(view, own)
    found = cutoff_of(every, fpir, random)
    basis = f"{_templates(own)}; {_site(site)}" if len(site.scores) else _templates(own)
    if isinstance(found, Estimate):
        record = _record(view, fpir, "measured", every, f"from {basis}", at_ms, found)
        return Derived(rounded_up(found.value), record, every)
    cutoff, until = _by_default(every, random, default)
    why = f"{found.reason} (from {basis}); until then {until}"
    return Derived(cutoff, _record(view, fpir, "default", every, why, at_ms), every)


def is_of_such_scores(record: CutoffRecord, model_id: str, scoring: Scoring) -> bool:
    """Whether a cutoff was derived from scores of this model, made in this way."""
    return record.model_id == model_id and (record.scoring or Scoring.BEST) is scoring


def is_stale(record: CutoffRecord, subjects: int, templates: int, model_id: str, scoring: Scoring) -> bool:
    """Whether the gallery is of another model than its cutoff was derived for, or scores in another way, or has
    outgrown, or shrunk below, the size it was derived at: by more than half, in subjects or in templates."""
    return not is_of_such_scores(record, model_id, scoring) or any(
        not 1 / GROWTH <= max(now, 1) / max(then, 1) <= GROWTH
        for now, then in ((subjects, record.subjects), (templates, record.templates))
    )


def rate_now(record: CutoffRecord, subjects: int, templates: int) -> float:
    """The rate that the cutoff has at most, now that the gallery has so many subjects and templates: the target as far
    as it is sought for, beyond in proportion to the size (kith.searches)."""
    sizes = ((subjects, record.subjects), (templates, record.templates))
    grown = max(now / (GROWTH * max(then, 1)) for now, then in sizes)
    return min(1.0, record.fpir * max(1.0, grown))


def in_force(settings: GallerySettings, model_id: str, default: float) -> float:
    """What applies as long as there is too little data: `default`, or the cutoff in force where that is higher and of
    this model. What is missing must not lower it."""
    record = settings.record
    if settings.cutoff is None or (record is not None and record.model_id != model_id):
        return default
    return max(default, settings.cutoff)


def grows_to(size: int) -> int:
    """The largest size, in subjects or templates, up to which the cutoff derived at `size` holds its rate."""
    return math.floor(GROWTH * max(size, 1))


def rounded_up(cutoff: float) -> float:
    """The next number above `cutoff` with 4 decimals, 1 at most: a decision names a score that is equal to its cutoff,
    and the score found is that of a stranger who must not be named."""
    return min((math.floor(cutoff * _STEPS) + 1) / _STEPS, 1.0)


def of_site(samples: Sequence[SearchSample], subjects: float, templates: float) -> Searches:
    """The non-mated searches that samples of one model hold, for a cutoff in a gallery of that size.

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
        share = min(1.0, each.subjects / max(subjects, 1), each.templates / max(templates, 1))
        rows.append((score, each.group, share, chosen, -1.0 if each.cutoff is None else each.cutoff))
    if not rows:
        return _none()
    scores, groups, shares, objections, cutoffs = (np.array(column) for column in zip(*rows, strict=True))
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return Searches(
        scores=scores.astype(np.float64),
        groups=groups,
        weights=1 / sizes[codes],
        shares=shares.astype(np.float64),
        chosen=objections,
        chosen_above=float(cutoffs[objections].max()) if objections.any() else np.inf,
    )


def _none() -> Searches:
    empty = np.empty(0)
    return Searches(empty, np.empty(0, np.str_), empty, empty, np.empty(0, np.bool_))


def _of_templates(view: GalleryView, own: LeftOut) -> Searches:
    """Pictures of one enrolment are chosen to differ, unlike frames of a track: each counts, as in `kith calibrate`.
    With the own subject left out, they are searched in a gallery that is smaller by one."""
    count = len(own.scores)
    stands = couples(own.scores, own.owners, own.nearest).tolist()
    groups = np.array([group_of(view.subject_at(number)[0]) for number in stands], dtype=np.str_)
    shares = np.full(count, (view.subjects - 1) / (GROWTH * max(view.subjects, 1)))
    return Searches(own.scores, groups, np.ones(count), shares, np.zeros(count, np.bool_))


def _record(
    view: GalleryView,
    fpir: float,
    how: Literal["measured", "rule", "default"],
    searches: Searches,
    why: str,
    at_ms: int,
    found: Estimate | None = None,
) -> CutoffRecord:
    return CutoffRecord(
        fpir=fpir,
        how=how,
        low=found.low if found else None,
        high=found.high if found else None,
        searches=round(searches.independent),
        subjects=view.subjects,
        templates=view.templates,
        model_id=view.model_id,
        at_ms=at_ms,
        why=why,
        scoring=view.settings.scoring,
    )


def _by_default(searches: Searches, random: np.random.Generator, default: float) -> tuple[float, str]:
    """What applies while there is too little data, and so in words: `default`, or what the strictest rate that can be
    shown asks for, whichever is higher."""
    worth = float(searches.worth.sum())
    # A hair above, so that three exceptions are still expected of it after rounding.
    shown = 3 / worth * (1 + 1e-9) if worth else 1.0
    if shown < 0.5:
        found = cutoff_of(searches, shown, random)
        if isinstance(found, Estimate) and rounded_up(found.value) > default:
            return rounded_up(found.value), f"the cutoff for the strictest rate shown, {percent(shown)}"
    return default, f"{default:.4f} applies"


def _templates(own: LeftOut) -> str:
    count = len(own.scores)
    drawn = f" (drawn from {own.templates:,})" if count < own.templates else ""
    return f"{count:,} templates{drawn}, each searched among the other subjects"


def _site(site: Searches) -> str:
    judged = int((~site.chosen).sum())
    groups = len(np.unique(site.groups[~site.chosen]))
    chosen = int(site.chosen.sum())
    searches = f"{judged:,} judged {'search' if judged == 1 else 'searches'} of {groups:,} people or tracks"
    objections = f"{chosen:,} objection{'' if chosen == 1 else 's'}"
    return ", ".join([searches] * bool(judged or not chosen) + [objections] * bool(chosen))


def _carried(samples: Sequence[SearchSample], view: GalleryView) -> str:
    """Said of searches that were mostly made at another size."""
    usual = float(np.median([each.subjects for each in samples]))
    if 1 / _SAME_SIZE <= view.subjects / max(usual, 1.0) <= _SAME_SIZE:
        return ""
    return f", made among {usual:,.0f} subjects and by rule carried to {view.subjects:,}"
