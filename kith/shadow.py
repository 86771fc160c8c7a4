"""What another model would have answered: recent probes asked of both, and rates from the templates of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kith.decision import Rule, decide_identify
from kith.jobs import Outcome
from kith.journal import BLOCK_ROWS, FREE, Vectors
from kith.similarity import Without, search
from kith.view import GalleryView

#: Templates searched for the rates; each takes two passes over the gallery.
MOST_TEMPLATES = 500


@dataclass(frozen=True, slots=True)
class Side:
    """A gallery as one model sees it, and the rule it would be decided by."""

    view: GalleryView
    rule: Rule


@dataclass(frozen=True, slots=True)
class Answer:
    """Who it is, None for nobody we know; score: of the nearest subject, None in an empty gallery."""

    subject: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Differs:
    """A probe that the two models answer differently."""

    label: str
    now: Answer
    then: Answer


@dataclass(frozen=True, slots=True)
class Rates:
    """Leave-one-out on the enrolled templates. tpir: share of `mated` templates that find their own subject, by its
    other templates, and would be named; fpir: share of `nonmated` that would be named as somebody else when their own
    subject is not there. None without any."""

    tpir: float | None
    fpir: float | None
    mated: int
    nonmated: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A picture's principal face as both models see it: float32 (d,) each, unit."""

    label: str
    now: Vectors
    then: Vectors


def compare(now: Side, then: Side, probes: Sequence[Probe]) -> list[Differs]:
    """Those of `probes` that the two sides answer differently."""
    answers = [(each.label, _ask(now, each.now), _ask(then, each.then)) for each in probes]
    return [Differs(*each) for each in answers if each[1].subject != each[2].subject]


def rates(side: Side, random: np.random.Generator, at_most: int = MOST_TEMPLATES) -> Rates:
    """Of templates drawn evenly, `at_most` of them. Scored as the gallery scores."""
    view = side.view
    used = [np.flatnonzero(each != FREE) + BLOCK_ROWS * n for n, each in enumerate(view.owners)]
    every = np.concatenate([np.empty(0, np.intp), *used])
    slots = np.sort(random.permutation(every)[:at_most]).tolist()
    mated = found = nonmated = named = 0
    for slot in slots:
        vector, owner = view.vector(slot), int(view.owners[slot // BLOCK_ROWS][slot % BLOCK_ROWS])
        if len(view.slots_of(owner)) > 1:
            mated += 1
            found += _decided(side, vector, Without(slots=[slot])) == view.subject_at(owner)[1]
        if view.subjects > 1:
            nonmated += 1
            named += _decided(side, vector, Without(subjects=[owner])) is not None
    return Rates(found / mated if mated else None, named / nonmated if nonmated else None, mated, nonmated)


def _ask(side: Side, vector: Vectors) -> Answer:
    [hits] = search(side.view, vector[np.newaxis])
    verdict = decide_identify(hits, 1.0, side.rule)
    named = verdict.nearest.subject if verdict.nearest and verdict.outcome is Outcome.MATCH else None
    return Answer(named, verdict.nearest.score if verdict.nearest else None)


def _decided(side: Side, vector: Vectors, without: Without) -> str | None:
    [hits] = search(side.view, vector[np.newaxis], without=without)
    verdict = decide_identify(hits, 1.0, side.rule)
    return verdict.nearest.subject if verdict.nearest and verdict.outcome is Outcome.MATCH else None
