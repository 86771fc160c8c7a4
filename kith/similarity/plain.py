"""Searching with numpy alone: the reference, and what serves where torch is not installed."""

from collections.abc import Collection, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kith.errors import ModelMismatch, UnknownSubject
from kith.gallery_settings import Scoring
from kith.journal import BLOCK_ROWS, FREE, Vectors
from kith.names import subject_name
from kith.similarity.hits import Certificate, Found, Hit
from kith.similarity.means import mean_of, mean_rows, means_without
from kith.similarity.passes import Pass, PlainPass, nearest
from kith.similarity.ranking import Ranking, exact_scores
from kith.similarity.rows import Indices, Rows
from kith.view import GalleryView

#: Blocks of one float32 pass: few enough that the scores of a batch stay in the cache.
_BLOCKS_AT_ONCE = 16


class Searcher(Protocol):
    """Searches views of galleries. Safe to use from many threads; may keep compressed forms of what it searched."""

    def search(
        self,
        view: GalleryView,
        probes: Vectors,
        k: int = 2,
        *,
        without: Collection[int] = (),
        without_subjects: Collection[int] = (),
    ) -> list[list[Hit]]:
        """See `kith.similarity.search`; every searcher gives the same answers."""
        ...

    def close(self) -> None:
        """End what runs in the background; searching goes on working."""
        ...


class PlainSearcher:
    """Searches with numpy, and keeps nothing between searches."""

    def search(
        self,
        view: GalleryView,
        probes: Vectors,
        k: int = 2,
        *,
        without: Collection[int] = (),
        without_subjects: Collection[int] = (),
    ) -> list[list[Hit]]:
        return self.find(view, probes, k, without=without, without_subjects=without_subjects).hits

    def find(
        self,
        view: GalleryView,
        probes: Vectors,
        k: int = 2,
        *,
        without: Collection[int] = (),
        without_subjects: Collection[int] = (),
    ) -> Found:
        """`search` with the proof."""
        probes = checked(view, probes, k)
        scoring = view.settings.scoring
        best = scoring is Scoring.BEST
        rows = Rows.templates(view) if best else mean_rows(view, weighted=scoring is Scoring.QUALITY)
        rows, left_out, searched = leave_out(view, rows, without, without_subjects)
        return found(view, rows, plain_passes(rows), probes, k, left_out, searched)

    def close(self) -> None:
        pass


def search(
    view: GalleryView,
    probes: Vectors,
    k: int = 2,
    *,
    without: Collection[int] = (),
    without_subjects: Collection[int] = (),
) -> list[list[Hit]]:
    """For each probe the `k` nearest distinct subjects of `view`, best first; fewer when the gallery has fewer.

    probes: float32 (B, d), unit. Subjects are scored as the gallery's settings say (kith.gallery_settings.Scoring).
    Scores are the exact cosines rounded to float32; equal ones are ordered by slot, lowest first. without: slots of
    templates that count as if they were not there; without_subjects: numbers of subjects.
    Raises ModelMismatch when the probes' dimension is not the gallery's, ValueError when k < 1.
    """
    return PlainSearcher().search(view, probes, k, without=without, without_subjects=without_subjects)


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
    rows = Rows.templates(view)
    if view.settings.scoring is not Scoring.BEST:
        mean = mean_of(view, slots, weighted=view.settings.scoring is Scoring.QUALITY)
        return Hit(subject_id, name, float(exact_scores(mean[np.newaxis], probes)[0]), slots[0])
    scores = exact_scores(rows.vectors(np.array(slots)), np.repeat(probes, len(slots), axis=0))
    best = int(scores.argmax())
    return Hit(subject_id, name, float(scores[best]), slots[best])


def checked(view: GalleryView, probes: Vectors, k: int) -> Vectors:
    """The probes as a pass takes them: float32, C-contiguous. Raises what `search` raises."""
    if k < 1:
        raise ValueError(f"a search needs k of at least 1, not {k}")
    if probes.ndim != 2 or probes.shape[1] != view.dimension:
        raise ModelMismatch(
            f"gallery {view.name} holds vectors of {view.dimension} numbers, the probes have shape {probes.shape}"
        )
    return np.ascontiguousarray(probes, np.float32)


def leave_out(
    view: GalleryView, rows: Rows, without: Collection[int], without_subjects: Collection[int]
) -> tuple[Rows, dict[int, Indices], int]:
    """What is searched when templates and subjects are left out: the rows (means are made anew), rows to skip by block,
    and how many rows are left."""
    means = rows.slots is not None
    if means and without:
        rows = means_without(rows, view, without, weighted=view.settings.scoring is Scoring.QUALITY)
    skipped: set[int] = set()
    if not means:
        skipped.update(without)
    for number in without_subjects:
        skipped.update([number] if means else view.slots_of(number))
    left_out: dict[int, Indices] = {}
    if skipped:
        every = np.array(sorted(skipped), np.intp)
        for block in np.unique(every // BLOCK_ROWS).tolist():
            if block < len(rows.blocks):
                mine = every[every // BLOCK_ROWS == block] % BLOCK_ROWS
                left_out[block] = mine[mine < len(rows.owners[block])]
    searched = sum(int(np.count_nonzero(owners != FREE)) for owners in rows.owners) if means else view.templates
    searched -= sum(int(np.count_nonzero(rows.owners[at][mine] != FREE)) for at, mine in left_out.items())
    return rows, left_out, searched


def plain_passes(rows: Rows) -> list[Pass]:
    """Float32 passes over everything."""
    count = len(rows.blocks)
    return [
        PlainPass(rows, range(start, min(start + _BLOCKS_AT_ONCE, count))) for start in range(0, count, _BLOCKS_AT_ONCE)
    ]


def found(
    view: GalleryView,
    rows: Rows,
    passes: Iterable[Pass],
    probes: Vectors,
    k: int,
    left_out: dict[int, Indices],
    searched: int,
) -> Found:
    """Run the passes and name whom they found."""
    ranking, fallback = nearest(rows, passes, probes, k, left_out)
    hits = [[Hit(*view.subject_at(owner), -score, slot) for score, slot, owner in best] for best in ranking.best]
    return Found(hits, _certificate(ranking, fallback, k, searched))


def _certificate(ranking: Ranking, fallback: NDArray[np.int64], k: int, searched: int) -> Certificate:
    floor = np.array([-best[-1][0] if len(best) == k else -np.inf for best in ranking.best], np.float32)
    return Certificate(searched - ranking.rescored, ranking.rescored, floor, fallback, searched)
