"""Searching with numpy alone: the reference, and what serves where torch is not installed."""

import numpy as np

from kith.errors import UnknownSubject
from kith.gallery_settings import Scoring
from kith.journal import Vectors
from kith.names import subject_name
from kith.similarity.hits import Hit
from kith.similarity.means import mean_of, mean_rows
from kith.similarity.passes import PlainPass
from kith.similarity.ranking import exact_scores
from kith.similarity.rows import Rows
from kith.similarity.searcher import NOBODY, Plan, Searcher, Without, checked, leave_out
from kith.view import GalleryView

#: Blocks of one float32 pass: few enough that the scores of a batch stay in the cache.
_BLOCKS_AT_ONCE = 16


class PlainSearcher(Searcher):
    """Searches with numpy, and keeps nothing between searches."""

    def renew(self, view: GalleryView) -> None:
        pass

    def wipe(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _plan(self, view: GalleryView, probes: Vectors, k: int, without: Without) -> Plan:  # noqa: ARG002
        scoring = view.settings.scoring
        best = scoring is Scoring.BEST
        rows = Rows.templates(view) if best else mean_rows(view, weighted=scoring is Scoring.QUALITY)
        rows, left_out = leave_out(view, rows, without)
        count = len(rows.blocks)
        starts = range(0, count, _BLOCKS_AT_ONCE)
        return Plan(rows, [PlainPass(range(at, min(at + _BLOCKS_AT_ONCE, count))) for at in starts], left_out)


def search(view: GalleryView, probes: Vectors, k: int = 2, without: Without = NOBODY) -> list[list[Hit]]:
    """See `Searcher.search`."""
    return PlainSearcher().search(view, probes, k, without)


def score_subject(view: GalleryView, probe: Vectors, subject: str) -> Hit:
    """The score of the subject claimed, as the gallery's settings say. probe: float32 (d,), unit.

    Raises UnknownSubject, InvalidName, ModelMismatch.
    """
    probes = checked(view, probe[np.newaxis], 1)
    number = view.row_of(subject_name(subject))
    slots = [] if number is None else view.slots_of(number)
    if number is None or not slots:
        raise UnknownSubject(f"nobody is called {subject!r} in gallery {view.name} at sequence {view.sequence}")
    subject_id, name = view.subject_at(number)
    if view.settings.scoring is not Scoring.BEST:
        mean = mean_of(view, slots, weighted=view.settings.scoring is Scoring.QUALITY)
        return Hit(subject_id, name, _scores(mean[np.newaxis], probes)[0], slots[0])
    scores = _scores(Rows.templates(view).vectors(np.array(slots)), probes)
    best = scores.index(max(scores))
    return Hit(subject_id, name, scores[best], slots[best])


def _scores(templates: Vectors, probes: Vectors) -> list[float]:
    return exact_scores(templates.astype(np.float64), probes.astype(np.float64))
