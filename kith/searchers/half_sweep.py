"""A search on a GPU: a sweep over everything packed, then exact scores for what may be among the nearest.

The device finds the best approximate score of each group of rows (GROUP_ROWS), scores the rows of the few best groups
of each probe again, and answers with the best rows of those. A score is off by no more than a bound, so a row can only
belong to the answer if it reaches the k-th exact score less that bound. The host scores such rows exactly and looks
whether anything the device did not name could still reach the answer. Rarely it could: then further groups follow,
best first, until nothing can.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kith.journal import BLOCK_ROWS, FREE, Owners, Vectors
from kith.searchers.half import GROUP_ROWS, PROBES, Probes
from kith.searchers.half_layout import Layout, Layouts, Pieces
from kith.searchers.half_products import Groups, Products
from kith.similarity.ranking import ROUNDING, Ranking
from kith.similarity.rows import Indices, Rows

#: Groups of each probe whose rows are scored again, beside one for each of the k subjects. The scores of strangers lie
#: close together: with 2, one batch of 64 in six had to look further.
_LOOKED_AT = 4

#: Groups that a probe is looked at in further at once, to begin with.
_FURTHER = 16


class HalfSweep:
    """A sweep over `pieces`, begun at once: the device works while the host does other things.

    probes: up to PROBES. there: the same on the device. first: the number of the first of them among the probes of the
    search.
    """

    def __init__(
        self, pieces: Pieces, layout: Layout, probes: Probes, there: Tensor, first: int, k: int, products: Products
    ) -> None:
        self._layout, self._probes, self._there, self._products = layout, probes, there, products
        self._mine = slice(first, first + len(probes.exact))
        self._groups = Groups([piece.form.vectors for piece in pieces], layout.offsets)
        count = len(layout.row_of)
        self._maxima = torch.empty((len(there), count), device=there.device)
        products.maxima(self._groups, there, self._maxima)
        # What follows is asked for at once too. The device goes from one to the next without the host.
        self._looked = min(_LOOKED_AT + k, count)
        self._more = min(self._looked + 1, count)
        self._kept = min(8 + 4 * k, self._looked * GROUP_ROWS)
        maxima = self._maxima[: len(probes.exact)]
        self._answer = products.best(self._groups, maxima, there, self._looked, self._kept)

    def offer(self, rows: Rows, ranking: Ranking, without: Mapping[int, Indices], fallback: NDArray[np.int64]) -> None:  # noqa: ARG002
        """See kith.similarity.passes.Pass."""
        # Before the answer is waited for.
        bound = self._probes.bounds(self._layout.off, self._layout.norm) + ROUNDING
        answer, floor = self._answer(), ranking.floor[self._mine]
        # Of what is swept later, most probes have nobody who reaches those found before.
        hopeful = np.flatnonzero(answer[:, 0] + bound >= floor)
        at = self._places(answer[hopeful])
        row, owner = self._named(at, without)
        upper = answer[hopeful, : self._kept] + bound[hopeful, np.newaxis]
        which, place = _worth(owner, upper, 2 * bound[hopeful], floor[hopeful], ranking.k)
        probe = hopeful[which]
        ranking.score(probe + self._mine.start, row[which, place], owner[which, place])
        beyond = self._beyond(answer) + bound
        for one in np.flatnonzero(beyond >= ranking.floor[self._mine]).tolist():
            mine = probe == one
            self._look_further(ranking, one, at[which[mine], place[mine]], float(bound[one]), without)
            fallback[self._mine.start + one] += 1

    def _places(self, answer: NDArray[np.float32]) -> Indices:
        """Where the rows are that an answer names, counted through all groups, (B, n)."""
        which, row = np.divmod(answer[:, -self._kept :].astype(np.intp), GROUP_ROWS)
        group = np.take_along_axis(answer[:, self._kept + self._more : -self._kept], which, axis=1)
        places: Indices = group.astype(np.intp) * GROUP_ROWS + row
        return places

    def _beyond(self, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        """The most that any row scores which an answer does not name, (B,)."""
        beyond: NDArray[np.float32] = np.full(len(answer), -np.inf, np.float32)
        if self._more > self._looked:
            beyond = answer[:, self._kept + self._looked]
        if self._kept < self._looked * GROUP_ROWS:
            # The last row that is named bounds the others of its groups.
            beyond = np.maximum(beyond, answer[:, self._kept - 1])
        return beyond

    def _named(self, at: Indices, without: Mapping[int, Indices]) -> tuple[Indices, Owners]:
        """Which rows of the gallery those are, and whose; FREE where they are left out."""
        layout = self._layout
        row, owner = layout.row_of[at // GROUP_ROWS] + at % GROUP_ROWS, layout.owners[at]
        for block, rows in without.items():
            owner[np.isin(row, block * BLOCK_ROWS + rows)] = FREE
        return row, owner

    def _look_further(
        self, ranking: Ranking, probe: int, offered: Indices, bound: float, without: Mapping[int, Indices]
    ) -> None:
        """All groups of one probe, best first, until no other can reach the answer. offered: where rows are that
        were."""
        number = self._mine.start + probe
        value, group = torch.sort(self._maxima[probe], descending=True)
        best = value.cpu().numpy().astype(np.float64) + bound
        start, many = 0, _FURTHER
        while start < len(best) and best[start] >= ranking.floor[number]:
            some = group[start : start + many]
            scores = self._products.scores(self._groups, some.unsqueeze(0), self._there[probe : probe + 1])
            upper = scores.flatten().cpu().numpy().astype(np.float64) + bound
            at = (some.cpu().numpy()[:, np.newaxis] * GROUP_ROWS + np.arange(GROUP_ROWS)).ravel()
            worth = (upper >= ranking.floor[number]) & ~np.isin(at, offered)
            at, upper = at[worth], upper[worth]
            row, owner = self._named(at, without)
            stay = owner != FREE
            ranking.offer(np.full(np.count_nonzero(stay), number), row[stay], upper[stay])
            start, many = start + many, many * 4


def half_sweeps(pieces: Pieces, layouts: Layouts, probes: Vectors, k: int, products: Products) -> list[HalfSweep]:
    """The sweeps of a search. All are begun, and each but the first runs while the one before is looked at."""
    parts = layouts.swept_together(pieces)
    device = pieces[0].form.vectors.device
    sweeps = []
    for first in range(0, len(probes), PROBES):
        some = Probes.of(probes[first : first + PROBES])
        there = some.half.to(device)
        sweeps += [HalfSweep(part, layout, some, there, first, k, products) for part, layout in parts]
    return sweeps


def _worth(
    owner: Owners, upper: NDArray[np.float64], width: NDArray[np.float64], floor: NDArray[np.float32], k: int
) -> tuple[Indices, Indices]:
    """Which rows may belong to the answer, as (probe, place): what reaches the k-th subject, and is not certain to be
    beaten by another row of its own. All of them would take the host longer to score than the device took for
    everything.

    owner: (B, n), FREE where a row is left out; upper: (B, n), the most it can score, best first; width: (B,), how far
    below that a score can be; floor: (B,).
    """
    probes: list[int] = []
    places: list[int] = []
    every = (each.tolist() for each in (owner, upper, width, floor))
    for probe, (owners, most, off, least) in enumerate(zip(*every, strict=True)):
        reach, best = least, dict[int, float]()
        for place, whose in enumerate(owners):
            high = most[place]
            if high < reach:
                break
            if whose == FREE:
                continue
            if whose not in best:
                best[whose] = high - off
                if len(best) == k:
                    reach = max(reach, high - off)
            elif high < best[whose]:
                continue
            probes.append(probe)
            places.append(place)
    return np.array(probes, np.intp), np.array(places, np.intp)
