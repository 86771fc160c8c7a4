"""The fast part of a search: passes over the rows that bound every score, and what is done with the bounds.

A pass scores a stretch of blocks in whatever arithmetic is fast and says how far off it may be. Whatever is not below
the k-th best exact score by more than that is offered to the ranking.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Vectors
from kith.similarity.hits import Certificate
from kith.similarity.ranking import Ranking, Scores
from kith.similarity.rows import Indices, Rows

#: Rows of one block left by a compressed pass beyond which the float32 pass is cheaper than scoring them singly.
_MANY = 64

#: Added to every bound. Two scores that round to the same float32 tie, and the lower slot wins: a row may be below the
#: floor by the rounding of both (2⁻²⁴ each for scores up to 1) and still belong to the answer. The rest covers the
#: arithmetic of the bounds themselves, float64.
ROUNDING = 2.0**-22


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

    def leaders(self) -> Indices:
        """A row of each block that has it, (B, blocks)."""
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
    """BlockScores in an array of the host: raw, int32 or float32 (B, blocks, width)."""

    def __init__(self, blocks: range, raw: NDArray[Any], unit: NDArray[np.float64], bound: NDArray[np.float64]) -> None:
        self.blocks, self._raw, self.unit, self.bound = blocks, raw, unit, bound
        self._least = np.iinfo(np.int32).min if raw.dtype == np.int32 else -np.inf

    def drop(self, block: int, rows: Indices | slice) -> None:
        self._raw[:, block, rows] = self._least

    def peaks(self) -> NDArray[np.float64]:
        peaks = self._raw.max(axis=2).astype(np.float64)
        peaks[peaks == self._least] = -np.inf
        return peaks

    def leaders(self) -> Indices:
        return self._raw.argmax(axis=2)

    def reaching(
        self, probe: Indices, block: Indices, raw: NDArray[np.float64]
    ) -> tuple[Indices, Indices, NDArray[Any]]:
        mine = self._raw[probe, block]
        pair, row = np.nonzero((mine >= raw[:, np.newaxis]) & (mine > self._least))
        return pair, row, mine[pair, row]


def float32_slack(dimension: int) -> float:
    """How far a float32 dot product of unit vectors may be off.

    d products and their sum are off by at most d · 2⁻²⁴ · Σ|pᵢgᵢ| whatever the order of summation, and Σ|pᵢgᵢ| ≤
    |p||g| = 1. The quarter on top covers norms a little over 1.
    """
    return 1.25 * (dimension + 2) * 2.0**-24


class PlainPass:
    """The float32 pass, in numpy, over `blocks` of `rows` from row `start` of the first one on."""

    def __init__(self, rows: Rows, blocks: range, start: int = 0) -> None:
        self._rows, self._blocks, self._start = rows, blocks, start

    def score(self, probes: Vectors) -> ArrayScores:
        own = [self._rows.blocks[block] for block in self._blocks]
        raw = np.full((len(probes), len(own), max(map(len, own), default=0)), -np.inf, np.float32)
        for at, block in enumerate(own):
            start = self._start if at == 0 else 0
            raw[:, at, start : len(block)] = probes @ block[start:].T
        shape = (len(probes), len(own))
        bound = np.full(shape, float32_slack(probes.shape[1]))
        scores = ArrayScores(self._blocks, raw, np.ones(shape), bound)
        for at, block in enumerate(self._blocks):
            free = self._rows.free(block)
            if free.size:
                scores.drop(at, free)
        return scores


def nearest(
    rows: Rows, passes: Iterable[Pass], probes: Vectors, k: int, without: Mapping[int, Indices], searched: int
) -> tuple[Ranking, Certificate]:
    """The k best subjects of each probe. passes: cover each row once. without: block → rows left out.
    searched: rows that are neither free nor left out."""
    ranking = Ranking(rows, probes, k)
    fallback = np.zeros(len(probes), np.int64)
    for one in passes:
        scores = one.score(probes)
        if without:
            for at, block in enumerate(scores.blocks):
                if block in without:
                    scores.drop(at, without[block])
        _take(scores, rows, probes, ranking, fallback)
    certificate = Certificate(
        searched - ranking.rescored, ranking.rescored, np.where(ranking.floor == np.inf, -np.inf, ranking.floor),
        fallback, searched,
    )  # fmt: skip
    return ranking, certificate


def _take(scores: BlockScores, rows: Rows, probes: Vectors, ranking: Ranking, fallback: NDArray[np.int64]) -> None:
    first = scores.blocks.start
    upper = scores.peaks() * scores.unit + (scores.bound + ROUNDING)
    new = np.flatnonzero(ranking.floor == -np.inf)
    if new.size:
        # No floor yet: the best of the blocks' best rows give one.
        some = min(upper.shape[1], ranking.k + 1)
        block = np.argpartition(-upper[new], some - 1, axis=1)[:, :some].ravel()
        probe = np.repeat(new, some)
        worth = upper[probe, block] > -np.inf
        probe, block = probe[worth], block[worth]
        row = scores.leaders()[probe, block]
        ranking.offer(probe, (first + block) * BLOCK_ROWS + row, upper[probe, block])
    probe, block = np.nonzero((upper >= ranking.floor[:, np.newaxis]) & (upper > -np.inf))
    if not probe.size:
        return
    unit, bound = scores.unit[probe, block], scores.bound[probe, block] + ROUNDING
    pair, row, raw = scores.reaching(probe, block, (ranking.floor[probe] - bound) / unit)
    upper_each = raw * unit[pair] + bound[pair]
    count = np.bincount(pair, minlength=len(probe))
    many = np.flatnonzero(count > _MANY)
    if many.size:
        few = count[pair] <= _MANY
        slack = float32_slack(probes.shape[1]) + ROUNDING
        ranking.offer(probe[pair[few]], (first + block[pair[few]]) * BLOCK_ROWS + row[few], upper_each[few])
        for one in many.tolist():
            at, number = int(probe[one]), first + int(block[one])
            mine = row[pair == one]
            near: Scores = rows.blocks[number] @ probes[at]
            fallback[at] += 1
            _offer_best_of_each(ranking, rows, at, number * BLOCK_ROWS + mine, near[mine].astype(np.float64), slack)
        return
    ranking.offer(probe[pair], (first + block[pair]) * BLOCK_ROWS + row, upper_each)


def _offer_best_of_each(
    ranking: Ranking, rows: Rows, probe: int, row: Indices, near: NDArray[np.float64], slack: float
) -> None:
    """Offer rows near[i] ± slack, without those that another row of the same subject is certain to beat."""
    owners = np.array(rows.owners_of(row))
    _, whose = np.unique(owners, return_inverse=True)
    best = np.full(whose.max(initial=-1) + 1, -np.inf)
    np.maximum.at(best, whose, near)
    worth = near + slack >= best[whose] - slack
    ranking.offer(np.full(int(worth.sum()), probe), row[worth], near[worth] + slack)
