"""The exact part of a search: the k best subjects so far of every probe, scored so that one number is right."""

import math
from bisect import insort

import numpy as np
from numpy.typing import NDArray

from kith.journal import Vectors
from kith.similarity.rows import Indices, Rows

Scores = NDArray[np.float32]

#: Rows that are all scored at once: choosing among them would take longer.
_FEW = 24

#: Numbers multiplied at a time: few enough to stay in the cache, and floors rise from one lot to the next.
_AT_ONCE = 1 << 16


#: Added to every bound. Two scores that round to the same float32 tie, and the lower slot wins: a row may be below the
#: floor by the rounding of both (2⁻²⁴ each for scores up to 1) and still belong to the answer. The rest covers the
#: arithmetic of the bounds themselves.
ROUNDING = 2.0**-22


def float32_slack(dimension: int) -> float:
    """How far a float32 dot product of unit vectors may be off.

    d products and their sum are off by at most d · 2⁻²⁴ · Σ|pᵢgᵢ| whatever the order of summation, and Σ|pᵢgᵢ| ≤
    |p||g| = 1. The quarter on top covers norms a little over 1.
    """
    return 1.25 * (dimension + 2) * 2.0**-24


def exact_scores(templates: Vectors, probes: Vectors) -> Scores:
    """Dot products of the rows, rounded once from the exact sum: float32 (n,), from two float32 (n, d).

    Products of two float32 are exact in float64. Their sum in float64 is off by at most d · 2⁻⁵³ · Σ|pᵢgᵢ|; where that
    could change the float32, which is rare, `math.fsum` adds without error. So the order of summation, and with it the
    batch, the block and the machine, has no say.
    """
    products = templates.astype(np.float64)
    products *= probes
    sums = products.sum(axis=1)
    off = np.abs(products, out=products).sum(axis=1)
    off *= (products.shape[1] + 2) * 2.0**-53
    scores: Scores = (sums - off).astype(np.float32)
    unsure = np.flatnonzero(scores != (sums + off).astype(np.float32))
    for at in unsure.tolist():
        scores[at] = math.fsum((templates[at].astype(np.float64) * probes[at]).tolist())
    return scores


class Ranking:
    """The k best distinct subjects of each probe among the rows offered. probes: float32 (B, d).

    floor: float32 (B,), the score a row must reach to change the answer: that of the k-th subject so far.
    """

    def __init__(self, rows: Rows, probes: Vectors, k: int) -> None:
        self._rows = rows
        self._probes = probes
        self.k = k
        self.floor = np.full(len(probes), -np.inf, np.float32)
        #: Per probe, ascending: (−score, slot, owner), one entry per owner.
        self.best: list[list[tuple[float, int, int]]] = [[] for _ in probes]
        #: How many rows were scored exactly, per probe, (B,).
        self.rescored = np.zeros(len(probes), np.int64)
        self._slack = np.float32(float32_slack(probes.shape[1]) + ROUNDING)
        self._at_once = max(1, _AT_ONCE // max(1, probes.shape[1]))

    def offer(self, probe: Indices, row: Indices, upper: NDArray[np.float64]) -> None:
        """Score row[i], which is somebody's, for probe[i] where upper[i], the most it can score, still reaches the
        floor. A row is offered once."""
        if len(row) <= _FEW:
            if row.size:
                self._score(probe, row)
            return
        # The k + 1 nearest of each probe first: they raise the floor for the others.
        order = np.lexsort((-upper, probe))
        probe, row, upper = probe[order], row[order], upper[order]
        rank = np.arange(len(probe)) - np.searchsorted(probe, probe)
        for part in (np.flatnonzero(rank <= self.k), np.flatnonzero(rank > self.k)):
            for start in range(0, len(part), self._at_once):
                some = part[start : start + self._at_once]
                some = some[upper[some] >= self.floor[probe[some]]]
                if some.size:
                    self._score(probe[some], row[some])

    def _score(self, probe: Indices, row: Indices) -> None:
        templates, mine = self._rows.vectors(row), self._probes[probe]
        self.rescored += np.bincount(probe, minlength=len(self.best))
        if len(row) > _FEW:
            near = np.einsum("ij,ij->i", templates, mine) + self._slack
            worth = np.flatnonzero(near >= self.floor[probe])
            probe, row, templates, mine = probe[worth], row[worth], templates[worth], mine[worth]
        scores = exact_scores(templates, mine)
        good = np.flatnonzero(scores >= self.floor[probe])
        probe, row, scores = probe[good], row[good], scores[good]
        owners, slots = self._rows.owners_of(row), self._rows.slots_of(row)
        for at, score, slot, owner in zip(probe.tolist(), scores.tolist(), slots, owners, strict=True):
            self._insert(at, (-score, slot, owner))

    def _insert(self, at: int, entry: tuple[float, int, int]) -> None:
        best = self.best[at]
        if len(best) == self.k and not entry < best[-1]:
            return
        for index, known in enumerate(best):
            if known[2] == entry[2]:
                if known < entry:
                    return
                del best[index]
                break
        insort(best, entry)
        if len(best) > self.k:
            best.pop()
        if len(best) == self.k:
            self.floor[at] = -best[-1][0]
