"""Approximate scores of a stretch of blocks, and the search for those that may belong to the answer: `BlockScores`.

Whatever is not below the k-th best exact score by more than its bound is named to the ranking.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS
from kith.similarity.ranking import ROUNDING, Ranking, float32_slack
from kith.similarity.rows import Indices, Rows

#: Rows of one block left by a compressed pass beyond which the float32 pass is cheaper than scoring them singly.
_MANY = 64

#: Less than any score, more than what stands for a row left out.
_LEAST = -1e30

#: Leaders looked at for a floor to begin with, of each of the k subjects.
_LEADERS = 4

#: The ends of int32, which sums of products of int8 are far from.
_INT32 = 2**31 - 1

#: Stands for the score of a row that must not be found, where scores are int32.
LEFT_OUT = -_INT32


def leave_out(raw: NDArray[Any], block: int, rows: Indices | slice) -> None:
    """Leave rows of the j-th block out of `raw`, as in BlockScores: they will never be found."""
    raw[:, block, rows] = _left_out(raw)


def _left_out(raw: NDArray[Any]) -> float:
    return LEFT_OUT if raw.dtype == np.int32 else -np.inf


class BlockScores:
    """Approximate scores of the blocks numbered `blocks`, which follow one another.

    raw: int32 or float32 (B, blocks, BLOCK_ROWS). peaks: (B, blocks, groups), the greatest in each group of
    BLOCK_ROWS ÷ groups rows. unit, bound: float64 (B, blocks). The score of row r of the j-th block for probe i lies
    within bound[i, j] of unit[i, j] · raw[i, j, r].
    """

    def __init__(
        self,
        blocks: range,
        raw: NDArray[Any],
        peaks: NDArray[Any],
        unit: NDArray[np.float64],
        bound: NDArray[np.float64],
    ) -> None:
        self._blocks, self._raw, self._peaks, self._unit, self._bound = blocks, raw, peaks, unit, bound + ROUNDING

    def name(self, rows: Rows, ranking: Ranking, fallback: NDArray[np.int64]) -> None:
        """Name every row to `ranking` that may belong to the answer. fallback: adds 1 for each block of a probe of
        which float32 scores were needed."""
        if not ranking.floored:
            self._set_floors(rows, ranking)
        at = self._reaching(ranking.floor)
        if not at.size:
            return
        pair, row = np.divmod(at, BLOCK_ROWS)
        score = self._raw.reshape(-1)[at] * self._unit.reshape(-1)[pair]
        upper = score + self._bound.reshape(-1)[pair]
        probe, block = np.divmod(pair, len(self._blocks))
        block += self._blocks.start
        if len(at) > _MANY:
            count = np.bincount(pair)
            many = np.flatnonzero(count > _MANY)
            if many.size:
                for one in many.tolist():
                    mine = np.flatnonzero(pair == one)
                    fallback[probe[mine[0]]] += 1
                    _name_by_float32(rows, ranking, int(probe[mine[0]]), int(block[mine[0]]), row[mine])
                few = count[pair] <= _MANY
                probe, block, row, score, upper = probe[few], block[few], row[few], score[few], upper[few]
        block *= BLOCK_ROWS
        block += row
        ranking.consider(probe, block, score, upper)

    def _reaching(self, floor: NDArray[np.float32]) -> Indices:
        """Where in `raw`, read as one row of numbers, a score may reach the floor of its probe."""
        # Scores that no block can have: with no floor yet, a block with nothing in it would pass.
        least = (np.maximum(floor, _LEAST)[:, np.newaxis] - self._bound) / self._unit
        if self._raw.dtype == np.int32:
            least = np.minimum(np.maximum(np.ceil(least), 1 - _INT32), _INT32).astype(np.int32)
        else:
            # Rounding it may move it up by 2⁻²⁵; the bounds are wider than they need to be by more.
            least = np.maximum(least, _LEAST).astype(np.float32)
        # Flat: nonzero of several dimensions takes several times as long.
        group = (self._peaks >= least[..., np.newaxis]).reshape(-1).nonzero()[0]
        groups = self._peaks.shape[2]
        rows = BLOCK_ROWS // groups
        mine = self._raw.reshape(-1, rows)[group]
        at = (mine >= least.reshape(-1)[group // groups, np.newaxis]).reshape(-1).nonzero()[0]
        which, row = np.divmod(at, rows)
        where: Indices = group[which] * rows + row
        return where

    def _set_floors(self, rows: Rows, ranking: Ranking) -> None:
        """Floors to begin with: k different subjects lead groups of rows with scores of at least so much."""
        k, (batch, blocks, groups) = ranking.k, self._peaks.shape
        each = self._peaks.reshape(batch, -1)
        # Blocks, where there are enough of them: fewer to sort.
        whole = blocks >= _LEADERS * k
        raw = self._peaks.max(axis=2) if whole else each
        block = np.arange(raw.shape[1]) // (raw.shape[1] // blocks)
        lower = raw * self._unit[:, block] - self._bound[:, block]
        order = np.argsort(lower, axis=1)[:, : -_LEADERS * k - 1 : -1]
        probe = np.arange(batch)[:, np.newaxis]
        leads = raw[probe, order]
        group = order * groups + _where(self._peaks[probe, order], leads) if whole else order
        row = group * (BLOCK_ROWS // groups) + _where(self._raw.reshape(*each.shape, -1)[probe, group], leads)
        row += self._blocks.start * BLOCK_ROWS
        lower, bound = lower[probe, order], self._bound[probe, block[order]]
        lower[leads <= _left_out(self._raw)] = -np.inf
        ranking.floored = True
        found: list[tuple[int, int]] = []
        for at, (numbers, least) in enumerate(zip(row.tolist(), lower.tolist(), strict=True)):
            owners: set[int] = set()
            for place, number in enumerate(numbers):
                if least[place] > -np.inf:
                    owners.add(rows.owner_of(number))
                    if len(owners) == k:
                        found.append((at, place))
                        break
            else:
                ranking.floored = False
        if found:
            which, leader = np.array(found).T
            higher = lower[which, leader] > ranking.floor[which]
            which, leader = which[higher], leader[higher]
            floor = lower[which, leader]
            ranking.floor[which], ranking.likely[which] = floor, floor + bound[which, leader]


def _where(raw: NDArray[Any], peaks: NDArray[Any]) -> Indices:
    """Where the last axis of `raw` has its peak."""
    where: Indices = (raw == peaks[..., np.newaxis]).argmax(axis=-1)
    return where


def _name_by_float32(rows: Rows, ranking: Ranking, probe: int, block: int, mine: Indices) -> None:
    """Too much of a block was left for one probe: score its rows in float32. mine: those in question. What another row
    of the same subject is certain to beat is not named."""
    slack = float32_slack(ranking.probes.shape[1]) + ROUNDING
    near: NDArray[np.float32] = rows.blocks[block] @ ranking.probes[probe]
    score = near[mine].astype(np.float64)
    _, whose = np.unique(rows.owners[block][mine], return_inverse=True)
    best = np.full(whose.max(initial=-1) + 1, -np.inf)
    np.maximum.at(best, whose, score)
    worth = np.flatnonzero(score + slack >= best[whose] - slack)
    ranking.offer(np.full(worth.size, probe), block * BLOCK_ROWS + mine[worth], score[worth] + slack)
