"""A search on a GPU: one sweep over everything packed, then exact scores for what may be among the nearest.

The device finds the best approximate score of each group of rows (GROUP_ROWS), scores the rows of the few best groups
of each probe again, and answers with the best rows of those. A score is off by no more than a bound, so a row can only
belong to the answer if it reaches the k-th exact score less that bound. The host scores such rows exactly and looks
whether anything the device did not name could still reach the answer. Rarely it could: then further groups follow,
best first, until nothing can.
"""

import weakref
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.arrangement import Piece
from kith.searchers.half import GROUP_ROWS, PROBES, HalfStretch, Products, bounds, representable
from kith.similarity.ranking import ROUNDING, Ranking
from kith.similarity.rows import Indices, Rows

#: Groups that a probe is looked at in further at once, to begin with.
_FURTHER = 16


class Layout:
    """What the sweeps of one arrangement have in common; kept, for its dozens of small steps would cost each search as
    much as the sweep. It holds numbers only: no form lives longer for being known here.

    starts: the number of each piece's first group, and of all groups. row_of: on the device, int64, the first row of
    each group in the gallery. dropped: block of the gallery → rows of it that must not be found. off, norm: of all
    forms, see HalfStretch.
    """

    def __init__(self, pieces: Sequence[Piece[HalfStretch]]) -> None:
        self._made_for = [weakref.ref(piece) for piece in pieces]
        counts = [len(piece.form.vectors) // GROUP_ROWS for piece in pieces]
        self.starts: list[int] = np.cumsum([0, *counts]).tolist()
        first = [
            np.arange(count) * GROUP_ROWS + piece.blocks.start * BLOCK_ROWS
            for count, piece in zip(counts, pieces, strict=True)
        ]
        self.row_of = torch.from_numpy(np.concatenate(first)).to(pieces[0].form.vectors.device)
        self.off = max(float(piece.form.off.max(initial=0.0)) for piece in pieces)
        self.norm = max(float(piece.form.norm.max(initial=0.0)) for piece in pieces)
        self.dropped: dict[int, Indices] = {}
        for piece in pieces:
            for block, rows in piece.drops:
                every = np.arange(BLOCK_ROWS)[rows] if isinstance(rows, slice) else rows
                self.dropped = _joined(self.dropped, {piece.blocks.start + block: every})

    def fits(self, pieces: Sequence[Piece[HalfStretch]]) -> bool:
        """Whether it was made for these very pieces."""
        made_for = [ref() for ref in self._made_for]
        return len(made_for) == len(pieces) and all(a is b for a, b in zip(made_for, pieces, strict=True))


class HalfSweep:
    """The sweep of up to PROBES probes over `pieces`, begun at once: the device works while the host does other things.

    probes: float32 (B, d). first: the number of the first of them among the probes of the search.
    """

    def __init__(
        self,
        pieces: Sequence[Piece[HalfStretch]],
        layout: Layout,
        probes: Vectors,
        first: int,
        k: int,
        products: Products,
    ) -> None:
        self._layout, self._first, self._count, self._products = layout, first, len(probes), products
        self._forms = [piece.form.vectors for piece in pieces]
        device, groups = self._forms[0].device, layout.starts[-1]
        wide = 16
        while wide < self._count:
            wide *= 2
        self._probes = torch.zeros((wide, probes.shape[1]), dtype=torch.float16, device=device)
        self._probes[: self._count] = torch.from_numpy(representable(probes)).to(device)
        self._maxima = torch.empty((wide, groups), device=device)
        for form, start, end in zip(self._forms, layout.starts, layout.starts[1:], strict=False):
            products.maxima(form, self._probes, self._maxima[:, start:end])
        # All that follows is asked for at once too. The device goes from one to the next without the host.
        looked = min(2 + k, groups)
        value, group = torch.topk(self._maxima[: self._count], min(looked + 1, groups))
        scores = products.scores(self._forms, group[:, :looked], self._probes)
        kept = min(8 + 4 * k, looked * GROUP_ROWS)
        raw, at = torch.topk(scores.view(self._count, -1), kept)
        self._rows = layout.row_of[group.gather(1, at // GROUP_ROWS)] + at % GROUP_ROWS
        # Beside the rows named, the best of what is not: the last row bounds those of its groups, the next group the
        # others.
        beyond = value[:, looked:] if looked < groups else value[:, :1] - torch.inf
        self._raw = torch.cat((raw, beyond), dim=1)
        self._bound = bounds(probes, layout.off, layout.norm) + ROUNDING
        self._all_rows = kept == looked * GROUP_ROWS

    def offer(self, rows: Rows, ranking: Ranking, without: Mapping[int, Indices], fallback: NDArray[np.int64]) -> None:
        """See kith.similarity.passes.Sweep."""
        left_out = _joined(self._layout.dropped, without) if without else self._layout.dropped
        raw, named = self._raw.cpu().numpy().astype(np.float64), self._rows.cpu().numpy()
        raw, beyond = raw[:, :-1], raw[:, -1]
        upper, lower = raw + self._bound[:, np.newaxis], raw - self._bound[:, np.newaxis]
        probe, at = _worth(rows, named, upper, lower, ranking.floor[self._first :], ranking.k, left_out)
        ranking.offer(probe + self._first, named[probe, at], upper[probe, at])
        rest = beyond if self._all_rows else np.maximum(beyond, raw[:, -1])
        floor = ranking.floor[self._first : self._first + self._count]
        for one in np.flatnonzero(rest + self._bound >= floor).tolist():
            self._look_further(ranking, one, named[one, at[probe == one]], left_out)
            fallback[self._first + one] += 1

    def _look_further(self, ranking: Ranking, probe: int, offered: Indices, left_out: Mapping[int, Indices]) -> None:
        """All groups of one probe, best first, until no other can reach the answer. offered: rows that were."""
        value, group = torch.sort(self._maxima[probe], descending=True)
        best = value.cpu().numpy().astype(np.float64) + self._bound[probe]
        start, many = 0, _FURTHER
        while start < len(best) and best[start] >= ranking.floor[self._first + probe]:
            some = group[start : start + many]
            scores = self._products.scores(self._forms, some.unsqueeze(0), self._probes[probe : probe + 1])
            upper = scores.flatten().cpu().numpy().astype(np.float64) + self._bound[probe]
            number = (self._layout.row_of[some].cpu().numpy()[:, np.newaxis] + np.arange(GROUP_ROWS)).ravel()
            worth = (upper >= ranking.floor[self._first + probe]) & ~np.isin(number, offered)
            number, upper = number[worth], upper[worth]
            stay = np.array([not _is_left_out(row, left_out) for row in number.tolist()], bool)
            number, upper = number[stay], upper[stay]
            ranking.offer(np.full(len(number), self._first + probe), number, upper)
            start, many = start + many, many * 4


def half_sweeps(
    pieces: Sequence[Piece[HalfStretch]], layout: Layout, probes: Vectors, k: int, products: Products
) -> list[HalfSweep]:
    """The sweeps of a search. All are begun, and each but the first runs while the one before is looked at."""
    starts = range(0, len(probes), PROBES)
    return [HalfSweep(pieces, layout, probes[start : start + PROBES], start, k, products) for start in starts]


def _worth(
    rows: Rows,
    named: NDArray[np.int64],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    floor: NDArray[np.float32],
    k: int,
    left_out: Mapping[int, Indices],
) -> tuple[Indices, Indices]:
    """Which of the rows named (best first) may belong to the answer, as (probe, place): what reaches the k-th subject,
    and is not certain to be beaten by another row of its own subject. All of them would take the host longer to score
    than the device took for everything."""
    probes: list[int] = []
    places: list[int] = []
    every = zip(named.tolist(), upper.tolist(), lower.tolist(), floor.tolist(), strict=False)
    for probe, (numbers, most, least, before) in enumerate(every):
        reach, best = before, dict[int, float]()
        for place, number in enumerate(numbers):
            if most[place] < reach:
                break
            block = number // BLOCK_ROWS
            if block in left_out and _is_left_out(number, left_out):
                continue
            owner = int(rows.owners[block][number % BLOCK_ROWS])
            if owner not in best:
                best[owner] = least[place]
                if len(best) == k:
                    reach = max(reach, least[place])
            elif most[place] < best[owner]:
                continue
            probes.append(probe)
            places.append(place)
    return np.array(probes, np.intp), np.array(places, np.intp)


def _joined(some: dict[int, Indices], more: Mapping[int, Indices]) -> dict[int, Indices]:
    return some | {block: np.concatenate((some.get(block, rows[:0]), rows)) for block, rows in more.items()}


def _is_left_out(number: int, left_out: Mapping[int, Indices]) -> bool:
    rows = left_out.get(number // BLOCK_ROWS)
    return rows is not None and bool((rows == number % BLOCK_ROWS).any())
