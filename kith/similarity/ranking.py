"""The exact part of a search: the k best subjects so far of every probe, scored so that one number is right."""

import math
from bisect import insort

import numpy as np
from numpy.typing import NDArray

from kith.journal import Vectors
from kith.similarity.rows import Indices, Rows

Scores = NDArray[np.float32]

#: Rows scored at a time: bounds the memory of a search in which everybody ties.
_AT_ONCE = 4096


def exact_scores(templates: Vectors, probes: Vectors) -> Scores:
    """Dot products of the rows, rounded once from the exact sum: float32 (n,), from two float32 (n, d).

    Products of two float32 are exact in float64. Their sum in float64 is off by at most d · 2⁻⁵³ · Σ|pᵢgᵢ|; where that
    could change the float32, which is rare, `math.fsum` adds without error. So the order of summation, and with it the
    batch, the block and the machine, has no say.
    """
    products = templates.astype(np.float64) * probes
    sums = products.sum(axis=1)
    off = (products.shape[1] + 2) * 2.0**-53 * np.abs(products).sum(axis=1)
    scores: Scores = (sums - off).astype(np.float32)
    for unsure in np.flatnonzero(scores != (sums + off).astype(np.float32)).tolist():
        scores[unsure] = math.fsum(products[unsure].tolist())
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
        #: A probe that is no number at all is near nobody: nothing reaches this floor.
        self.floor[~np.isfinite(probes).all(axis=1)] = np.inf
        self.rescored = np.zeros(len(probes), np.int64)
        #: Per probe, ascending: (−score, slot, owner), one entry per owner.
        self.best: list[list[tuple[float, int, int]]] = [[] for _ in probes]
        self._seen: list[set[int]] = [set() for _ in probes]

    def offer(self, probe: Indices, row: Indices, upper: NDArray[np.float64]) -> None:
        """Score row[i], which is nobody's free row and not excluded, for probe[i], where upper[i], the most it can
        score, still reaches the floor."""
        if len(row) > 1:
            # The nearest first: they raise the floor for the others.
            order = np.argsort(-upper, kind="stable")
            probe, row, upper = probe[order], row[order], upper[order]
        for start in range(0, len(row), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            worth = np.flatnonzero(upper[part] >= self.floor[probe[part]])
            if worth.size:
                self._score(probe[part][worth], row[part][worth])

    def _score(self, probe: Indices, row: Indices) -> None:
        scores = exact_scores(self._rows.vectors(row), self._probes[probe])
        owners, slots = self._rows.owners_of(row), self._rows.slots_of(row)
        for at, number, score, slot, owner in zip(
            probe.tolist(), row.tolist(), scores.tolist(), slots, owners, strict=True
        ):
            seen = self._seen[at]
            if number not in seen:
                seen.add(number)
                self._insert(at, (-score, slot, owner))
        for at in set(probe.tolist()):
            self.rescored[at] = len(self._seen[at])

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
