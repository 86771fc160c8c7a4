"""The fast part of a search: passes over the rows that bound every score, and what is done with the bounds.

A pass scores a stretch of blocks in whatever arithmetic is fast and says how far off it may be. Whatever is not below
the k-th best exact score by more than that is offered to the ranking.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Vectors
from kith.similarity.ranking import ROUNDING, Ranking, Scores, float32_slack
from kith.similarity.rows import Indices, Rows

#: Rows of one block left by a compressed pass beyond which the float32 pass is cheaper than scoring them singly.
_MANY = 64

#: Less than any score, more than what stands for a row left out.
_LEAST = -1e30


#: Groups that the rows of a block can be looked at in, to have a floor to begin with where there are few blocks.
GROUPS = 16


class BlockScores(Protocol):
    """Approximate scores of a stretch of blocks, wherever they lie. blocks: their numbers, ascending.

    unit, bound: float64 (B, blocks). The score of row r of block j for probe i lies within bound[i, j] of
    unit[i, j] · raw[i, j, r].
    """

    blocks: range
    unit: NDArray[np.float64]
    bound: NDArray[np.float64]

    def drop(self, block: int, rows: Indices | slice) -> None:
        """Leave out rows of the j-th block, for all probes: they will never be found."""
        ...

    def peaks(self) -> NDArray[np.float64]:
        """The greatest raw of each block, (B, blocks); far below −1/unit where all its rows were dropped."""
        ...

    def leaders(self, groups: int) -> tuple[Indices, NDArray[np.float64]]:
        """The row of the greatest raw in each of so many groups that the rows of a block fall into, and that raw,
        (B, blocks, groups): far below −1/unit where all were dropped. groups: a power of two up to GROUPS."""
        ...

    def reaching(
        self, probe: Indices, block: Indices, raw: NDArray[np.float64]
    ) -> tuple[Indices, Indices, NDArray[Any]]:
        """Of pair i (a probe and a j-th block) the rows not dropped of at least raw[i]: their pairs, rows and raws."""
        ...


class Pass(Protocol):
    """How one stretch of blocks is scored. `rows` gives their number, without free ones."""

    def score(self, probes: Vectors) -> BlockScores:
        """Score every row of the stretch, free ones dropped. probes: float32 (B, d), C-contiguous."""
        ...


class ArrayScores:
    """BlockScores in an array of the host: raw, int32 or float32 (B, blocks, width), the width a multiple of GROUPS."""

    def __init__(self, blocks: range, raw: NDArray[Any], unit: NDArray[np.float64], bound: NDArray[np.float64]) -> None:
        self.blocks, self._raw, self.unit, self.bound = blocks, raw, unit, bound
        self._least = np.iinfo(np.int32).min if raw.dtype == np.int32 else -np.inf

    def drop(self, block: int, rows: Indices | slice) -> None:
        self._raw[:, block, rows] = self._least

    def peaks(self) -> NDArray[np.float64]:
        peaks: NDArray[np.float64] = self._raw.max(axis=2).astype(np.float64)
        if peaks.min(initial=0) <= self._least:
            peaks[peaks == self._least] = -np.inf
        return peaks

    def leaders(self, groups: int) -> tuple[Indices, NDArray[np.float64]]:
        grouped = self._raw.reshape(*self._raw.shape[:2], groups, -1)
        row: Indices = grouped.argmax(axis=3)
        best: NDArray[np.float64] = grouped.max(axis=3).astype(np.float64)
        best[best == self._least] = -np.inf
        return row + np.arange(groups) * grouped.shape[3], best

    def reaching(
        self, probe: Indices, block: Indices, raw: NDArray[np.float64]
    ) -> tuple[Indices, Indices, NDArray[Any]]:
        mine = self._raw[probe, block]
        if mine.dtype == np.int32:
            # Sums of products of int8 are far from the ends of int32.
            least = np.maximum(np.ceil(raw), self._least + 1).astype(np.int32)
        else:
            # Rounding it may move it up by 2⁻²⁵; the bounds are wider than they need to be by more.
            least = np.maximum(raw, _LEAST).astype(np.float32)
        # Flat: nonzero of two dimensions takes several times as long.
        at = np.flatnonzero(mine >= least[:, np.newaxis])
        pair, row = np.divmod(at, mine.shape[1])
        return pair, row, mine.ravel()[at]


class PlainPass:
    """The float32 pass, in numpy, over `blocks` of `rows` from row `start` of the first one on."""

    def __init__(self, rows: Rows, blocks: range, start: int = 0) -> None:
        self._rows, self._blocks, self._start = rows, blocks, start

    def score(self, probes: Vectors) -> ArrayScores:
        own = [self._rows.blocks[block] for block in self._blocks]
        width = -(-max(map(len, own), default=0) // GROUPS) * GROUPS
        raw = np.full((len(probes), len(own), width), -np.inf, np.float32)
        for at, block in enumerate(own):
            start = self._start if at == 0 else 0
            raw[:, at, start : len(block)] = probes @ block[start:].T
        shape = (len(probes), len(own))
        bound = np.full(shape, float32_slack(probes.shape[1]))
        scores = ArrayScores(self._blocks, raw, np.ones(shape), bound)
        for at, number in enumerate(self._blocks):
            free = self._rows.free(number)
            if free.size:
                scores.drop(at, free)
        return scores


def nearest(
    rows: Rows, passes: Iterable[Pass], probes: Vectors, k: int, without: Mapping[int, Indices]
) -> tuple[Ranking, NDArray[np.int64]]:
    """The k best subjects of each probe, and for how many blocks each fell back on float32, (B,).

    passes: cover each row once. without: block → rows left out.
    """
    usable = np.isfinite(probes.sum(axis=1))
    if not usable.all():
        probes = np.where(usable[:, np.newaxis], probes, np.float32(0))
    ranking = Ranking(rows, probes, k)
    # Nothing reaches this floor: a probe that is not made of numbers is near nobody.
    ranking.floor[~usable] = np.inf
    fallback = np.zeros(len(probes), np.int64)
    for one in passes:
        scores = one.score(probes)
        if without:
            for at, block in enumerate(scores.blocks):
                if block in without:
                    scores.drop(at, without[block])
        _take(scores, rows, probes, ranking, fallback)
    return ranking, fallback


def _take(scores: BlockScores, rows: Rows, probes: Vectors, ranking: Ranking, fallback: NDArray[np.int64]) -> None:
    bound = scores.bound + ROUNDING
    peaks = scores.peaks() * scores.unit
    upper = peaks + bound
    new = np.flatnonzero(ranking.floor == -np.inf)
    if new.size:
        _first_floors(scores, rows, ranking, new, bound)
    # Scores that no block can have: with no floor yet, a block with nothing in it would pass.
    floor = np.maximum(ranking.floor, _LEAST)
    at = np.flatnonzero(upper >= floor[:, np.newaxis])
    if not at.size:
        return
    probe, block = np.divmod(at, upper.shape[1])
    unit, bound = scores.unit[probe, block], bound[probe, block]
    pair, row, raw = scores.reaching(probe, block, (floor[probe] - bound) / unit)
    each = raw * unit[pair] + bound[pair]
    number = (scores.blocks.start + block) * BLOCK_ROWS
    if len(pair) > _MANY:
        count = np.bincount(pair, minlength=len(probe))
        many = np.flatnonzero(count > _MANY)
        if many.size:
            few = count[pair] <= _MANY
            ranking.offer(probe[pair[few]], number[pair[few]] + row[few], each[few])
            for one in many.tolist():
                fallback[probe[one]] += 1
                _take_plainly(rows, probes, ranking, int(probe[one]), int(number[one]), row[pair == one])
            return
    ranking.offer(probe[pair], number[pair] + row, each)


def _first_floors(
    scores: BlockScores, rows: Rows, ranking: Ranking, probes: Indices, bound: NDArray[np.float64]
) -> None:
    """Floors for probes that have none: k different subjects lead groups of rows with scores of at least so much."""
    k = ranking.k
    groups = 1
    while groups < GROUPS and groups * len(scores.blocks) < 4 * k:
        groups *= 2
    row, raw = scores.leaders(groups)
    lower = (raw * scores.unit[..., np.newaxis] - bound[..., np.newaxis]).reshape(len(raw), -1)
    row = (row + (np.arange(row.shape[1])[:, np.newaxis] + scores.blocks.start) * BLOCK_ROWS).reshape(len(raw), -1)
    mine = probes[:, np.newaxis]
    near = np.argsort(-lower[probes], axis=1)[:, : 4 * k]
    for at, theirs, leaders in zip(probes.tolist(), lower[mine, near].tolist(), row[mine, near].tolist(), strict=True):
        owners: set[int] = set()
        for score, leader in zip(theirs, leaders, strict=True):
            if score == -np.inf:
                break
            owners.add(int(rows.owners[leader // BLOCK_ROWS][leader % BLOCK_ROWS]))
            if len(owners) == k:
                ranking.floor[at] = score
                break


def _take_plainly(rows: Rows, probes: Vectors, ranking: Ranking, probe: int, number: int, mine: Indices) -> None:
    """Too much of a block was left for one probe: score the rows of the block in float32.

    mine: the rows in question; number: that of the block's first row. What another row of the same subject is certain
    to beat is not offered.
    """
    slack = float32_slack(probes.shape[1]) + ROUNDING
    near: Scores = rows.blocks[number // BLOCK_ROWS] @ probes[probe]
    score = near[mine].astype(np.float64)
    _, whose = np.unique(rows.owners[number // BLOCK_ROWS][mine], return_inverse=True)
    best = np.full(whose.max(initial=-1) + 1, -np.inf)
    np.maximum.at(best, whose, score)
    worth = np.flatnonzero(score + slack >= best[whose] - slack)
    ranking.offer(np.full(worth.size, probe), number + mine[worth], score[worth] + slack)
