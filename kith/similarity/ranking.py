"""The exact part of a search: the k best subjects so far of every probe, scored so that one number is right."""

import math
from bisect import insort
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kith.journal import Owners, Vectors
from kith.similarity.rows import Indices, Rows

#: Rows that are all scored at once: choosing among them would take longer.
_FEW = 24

#: Rows that may wait at the most, of all probes together.
_WAITING = 1 << 16

#: Numbers multiplied at a time: few enough to stay in the cache, and floors rise from one lot to the next.
_AT_ONCE = 1 << 16

#: Added to every bound. Two scores that round to the same float32 tie, and the lower slot wins: a row may be below the
#: floor by the rounding of both (2⁻²⁴ each for scores up to 1) and still belong to the answer. The rest covers the
#: arithmetic of the bounds themselves.
ROUNDING = 2.0**-22

#: (−score, slot, owner) of somebody found.
Entry = tuple[float, int, int]


def float32_slack(dimension: int) -> float:
    """How far a float32 dot product of unit vectors may be off.

    d products and their sum are off by at most d · 2⁻²⁴ · Σ|pᵢgᵢ| whatever the order of summation, and Σ|pᵢgᵢ| ≤
    |p||g| = 1. The quarter on top covers norms a little over 1.
    """
    return 1.25 * (dimension + 2) * 2.0**-24


def exact_scores(templates: NDArray[np.float64], probes: NDArray[np.float64]) -> list[float]:
    """Dot products of rows that came from float32, rounded once from the exact sum to float32. templates: (n, d),
    probes: (n, d), or (1, d) for all.

    Products of two float32 are exact in float64. Their sum in float64 is off by at most d · 2⁻⁵³ · Σ|pᵢgᵢ|, and Σ|pᵢgᵢ|
    ≤ |p||g|, which for unit vectors is far below 2; where that could change the float32, which is rare, `math.fsum`
    adds without error. So the order of summation, and with it the batch, the block and the machine, has no say.
    """
    sums = templates @ probes[0] if len(probes) == 1 else np.vecdot(templates, probes)
    off = _lost(templates.shape[1])
    low, high = (sums - off).astype(np.float32), (sums + off).astype(np.float32)
    scores: list[float] = low.tolist()
    if low.tobytes() != high.tobytes():
        for at in np.flatnonzero(low != high).tolist():
            scores[at] = _exactly(templates[at], probes[0] if len(probes) == 1 else probes[at])
    return scores


def exact_score(about: float, template: NDArray[np.float64], probe: NDArray[np.float64]) -> float:
    """`exact_scores` of a single pair, whose sum in float64 is `about`."""
    off = _lost(len(probe))
    low, high = np.float32(about - off), np.float32(about + off)
    return float(low) if low == high else _exactly(template, probe)


def _lost(dimension: int) -> float:
    return (dimension + 2) * 2.0**-52


def _exactly(template: NDArray[np.float64], probe: NDArray[np.float64]) -> float:
    return float(np.float32(math.fsum((template * probe).tolist())))


class Ranking:
    """The k best distinct subjects of each probe among the rows it is told of. probes: float32 (B, d).

    floor: float32 (B,), the score a row must reach to change the answer: that of the k-th subject so far, or less.
    likely: float64 (B,), the approximate score from which on a row probably does.
    """

    def __init__(self, rows: Rows, probes: Vectors, k: int) -> None:
        self._rows = rows
        self.probes = probes
        self.k = k
        self.floor = np.full(len(probes), -np.inf, np.float32)
        self.likely = np.full(len(probes), -np.inf)
        #: Whether every probe has a floor.
        self.floored = False
        #: Per probe, ascending, one entry per owner.
        self.best: list[list[Entry]] = [[] for _ in probes]
        #: How many rows were scored exactly, per probe, (B,).
        self.rescored = np.zeros(len(probes), np.int64)
        self._exact = probes.astype(np.float64)
        self._waiting: list[tuple[Indices, Indices, NDArray[np.float64], NDArray[np.float64]]] = []
        self._waits, self._enough = 0, _FEW

    def consider(self, probe: Indices, row: Indices, score: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        """Row[i], which is somebody's, is about score[i] from probe[i], and upper[i] at the most. A row is named once.

        Rows wait until there are many. Then those that probably belong to the answer are scored, the floor rises, and
        most of the others need not be."""
        self._waiting.append((probe, row, score, upper))
        self._waits += len(row)
        if self._waits > self._enough:
            probe, row, score, upper = self._waited()
            now = score >= self.likely[probe]
            self._score_in_lots(probe[now], row[now], upper[now])
            rest = np.flatnonzero(~now)
            rest = rest[upper[rest] >= self.floor[probe[rest]]]
            if len(rest) > _WAITING:
                self._score_in_lots(probe[rest], row[rest], upper[rest])
                rest = rest[:0]
            self._waiting.append((probe[rest], row[rest], score[rest], upper[rest]))
            self._waits = len(rest)
            self._enough = 2 * len(rest) + _FEW

    def settle(self) -> None:
        """Score those that waited, as far as they still reach the floor."""
        if self._waiting:
            probe, row, _, upper = self._waited()
            some = upper >= self.floor[probe]
            self._score_in_lots(probe[some], row[some], upper[some])

    def _waited(self) -> tuple[Indices, Indices, NDArray[np.float64], NDArray[np.float64]]:
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            return waiting[0]
        probe, row, score, upper = (np.concatenate(column) for column in zip(*waiting, strict=True))
        return probe, row, score, upper

    def offer(self, probe: Indices, row: Indices, upper: NDArray[np.float64]) -> None:
        """Score row[i], which is somebody's, for probe[i] where upper[i], the most it can score, still reaches the
        floor. A row is offered once."""
        if len(row) > _FEW:
            some = upper >= self.floor[probe]
            probe, row, upper = probe[some], row[some], upper[some]
        if len(row) <= _FEW:
            self.score(probe, row)
            return
        # The k + 1 nearest of each probe first: they raise the floor for the others.
        order = np.lexsort((-upper, probe))
        probe, row, upper = probe[order], row[order], upper[order]
        rank = np.arange(len(probe)) - np.searchsorted(probe, probe)
        for part in (np.flatnonzero(rank <= self.k), np.flatnonzero(rank > self.k)):
            self._score_in_lots(probe[part], row[part], upper[part])

    def score(self, probe: Indices, row: Indices, owner: Owners | None = None) -> None:
        """Score row[i], which is somebody's, for probe[i], all of them at once. A row is named once. owner: whose they
        are, where that is known."""
        if row.size:
            self._count(probe)
            self._rank(probe, row, self._rows.exact(row), owner)

    def _score_in_lots(self, probe: Indices, row: Indices, upper: NDArray[np.float64]) -> None:
        at_once = max(_FEW, _AT_ONCE // self.probes.shape[1])
        if len(row) <= at_once:
            self._score_near(probe, row)
            return
        for start in range(0, len(row), at_once):
            lot = slice(start, start + at_once)
            some = upper[lot] >= self.floor[probe[lot]]
            self._score_near(probe[lot][some], row[lot][some])

    def _score_near(self, probe: Indices, row: Indices) -> None:
        """`score` for those that still may reach the floor once they are scored in float32."""
        floor = self.floor[probe]
        if len(row) <= _FEW or floor.max() == -np.inf:
            self.score(probe, row)
            return
        self._count(probe)
        every = self._rows.vectors(row)
        slack = np.float32(float32_slack(self.probes.shape[1]) + ROUNDING)
        worth = np.flatnonzero(np.vecdot(every, self.probes[probe]) + slack >= floor)
        templates = every[worth]
        self._rank(probe[worth], row[worth], templates.astype(np.float64))
        for copy in (every, templates):
            copy.fill(0)

    def _count(self, probe: Indices) -> None:
        alone = len(self.probes) == 1
        self.rescored += probe.size if alone else np.bincount(probe, minlength=len(self.best))

    def _rank(self, probe: Indices, row: Indices, exact: NDArray[np.float64], owner: Owners | None = None) -> None:
        scores = exact_scores(exact, self._exact if len(self.probes) == 1 else self._exact[probe])
        # Whoever is given this memory next may not write to all of it, and people may be forgotten meanwhile.
        exact.fill(0)
        rows = row.tolist()
        owners = self._rows.owners_of(rows) if owner is None else owner.tolist()
        k, every = self.k, self.best
        for at, score, number, whose in zip(probe.tolist(), scores, rows, owners, strict=True):
            best = every[at]
            # What is not a number is near nobody.
            if -score <= best[-1][0] if len(best) >= k else not math.isnan(score):
                self._insert(at, (-score, self._rows.slot_of(number), whose))

    def _insert(self, at: int, entry: Entry) -> None:
        best = self.best[at]
        for index, known in enumerate(best):
            if known[2] == entry[2]:
                if known < entry:
                    return
                del best[index]
                break
        insort(best, entry)
        if len(best) >= self.k:
            del best[self.k :]
            floor = -best[-1][0]
            if floor >= self.floor[at]:
                self.floor[at] = self.likely[at] = floor


def best_of(entries: Sequence[Entry], k: int) -> list[Entry]:
    """The first of each of the first k owners. entries: ascending."""
    best: list[Entry] = []
    owners: set[int] = set()
    for entry in entries:
        if entry[2] not in owners:
            owners.add(entry[2])
            best.append(entry)
            if len(best) == k:
                break
    return best
