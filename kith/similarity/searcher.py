"""What every searcher is: `Searcher`. How it searches is its own; what it answers is the same, and how it is proved."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from kith.errors import ModelMismatch
from kith.gallery_settings import Scoring
from kith.journal import BLOCK_ROWS, FREE, Vectors
from kith.similarity.hits import Certificate, Found, Hit
from kith.similarity.means import means_without
from kith.similarity.passes import Pass
from kith.similarity.ranking import Entry, Ranking
from kith.similarity.rows import Indices, Rows
from kith.view import GalleryView


@dataclass(frozen=True, slots=True)
class Without:
    """Whom a search passes over. slots: templates that count as if they were not there; subjects: their numbers."""

    slots: Collection[int] = ()
    subjects: Collection[int] = ()


NOBODY = Without()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A search that is ready to run. passes: cover each of the rows once. left_out: block → rows passed over."""

    rows: Rows
    passes: Sequence[Pass]
    left_out: Mapping[int, Indices]


class Searcher(ABC):
    """Searches views of galleries. Safe to use from many threads; may keep compressed forms of what it searched."""

    def search(self, view: GalleryView, probes: Vectors, k: int = 2, without: Without = NOBODY) -> list[list[Hit]]:
        """For each probe the `k` nearest distinct subjects of `view`, best first; fewer when the gallery has fewer.

        probes: float32 (B, d), unit. Subjects are scored as the gallery's settings say (kith.gallery_settings.Scoring).
        Scores are the exact cosines rounded to float32; equal ones are ordered by slot, lowest first.
        Raises ModelMismatch when the probes' dimension is not the gallery's, ValueError when k < 1.
        """
        ranking, _, _ = self._ranked(view, probes, k, without)
        return named(view, ranking.best)

    def find(self, view: GalleryView, probes: Vectors, k: int = 2, without: Without = NOBODY) -> Found:
        """`search` with the proof."""
        ranking, fallback, plan = self._ranked(view, probes, k, without)
        searched = plan.rows.count
        searched -= sum(int(np.count_nonzero(plan.rows.owners[at][mine] != FREE)) for at, mine in plan.left_out.items())
        floor = np.array([-best[-1][0] if len(best) == k else -np.inf for best in ranking.best], np.float32)
        certificate = Certificate(searched - ranking.rescored, ranking.rescored, floor, fallback, searched)
        return Found(named(view, ranking.best), certificate)

    @abstractmethod
    def renew(self, view: GalleryView) -> None:
        """Bring what is kept of a gallery up to `view`, as the next search would: somebody was forgotten in it."""

    @abstractmethod
    def wipe(self) -> None:
        """Zero what searches have left of vectors in memory that they use again."""

    @abstractmethod
    def close(self) -> None:
        """End what runs in the background; searching goes on working."""

    @abstractmethod
    def _plan(self, view: GalleryView, probes: Vectors, k: int, without: Without) -> Plan:
        """How to search `view`. probes: float32 (B, d), C-contiguous and finite."""

    def _ranked(
        self, view: GalleryView, probes: Vectors, k: int, without: Without
    ) -> tuple[Ranking, NDArray[np.int64], Plan]:
        probes = checked(view, probes, k)
        unusable = None
        if not np.isfinite(probes.sum()):
            unusable = ~np.isfinite(probes.sum(axis=1))
            probes = np.where(unusable[:, np.newaxis], np.float32(0), probes)
        plan = self._plan(view, probes, k, without)
        ranking, fallback = Ranking(plan.rows, probes, k), np.zeros(len(probes), np.int64)
        if unusable is not None:
            # Nothing reaches this floor: a probe that is not made of numbers is near nobody.
            ranking.floor[unusable] = np.inf
        for one in plan.passes if len(probes) else ():
            one.offer(plan.rows, ranking, plan.left_out, fallback)
        ranking.settle()
        return ranking, fallback, plan


def checked(view: GalleryView, probes: Vectors, k: int) -> Vectors:
    """The probes as a pass takes them: float32, C-contiguous. Raises what `Searcher.search` raises."""
    if k < 1:
        raise ValueError(f"a search needs k of at least 1, not {k}")
    if probes.ndim != 2 or probes.shape[1] != view.dimension:
        raise ModelMismatch(
            f"gallery {view.name} holds vectors of {view.dimension} numbers, the probes have shape {probes.shape}"
        )
    return np.ascontiguousarray(probes, np.float32)


def leave_out(view: GalleryView, rows: Rows, without: Without) -> tuple[Rows, dict[int, Indices]]:
    """What is searched when somebody is passed over: the rows (means are made anew), and block → rows to skip."""
    means = rows.slots is not None
    skipped: set[int] = set()
    if not means:
        skipped.update(without.slots)
    elif without.slots:
        rows = means_without(rows, view, without.slots, weighted=view.settings.scoring is Scoring.QUALITY)
    for number in without.subjects:
        skipped.update([number] if means else view.slots_of(number))
    left_out: dict[int, Indices] = {}
    if skipped:
        every = np.array(sorted(skipped), np.intp)
        for block in np.unique(every // BLOCK_ROWS).tolist():
            if block < len(rows.blocks):
                mine = every[every // BLOCK_ROWS == block] % BLOCK_ROWS
                left_out[block] = mine[mine < len(rows.owners[block])]
    return rows, left_out


def named(view: GalleryView, best: Sequence[Sequence[Entry]]) -> list[list[Hit]]:
    """Whom a search found, for each probe."""
    subjects = view.subjects_at([owner for each in best for _, _, owner in each])
    hits = iter([Hit(*who, -score, slot) for who, (score, slot, _) in zip(subjects, chain(*best), strict=True)])
    return [list(islice(hits, len(each))) for each in best]
