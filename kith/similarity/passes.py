"""The fast part of a search: passes over the rows that bound every score.

A pass scores a stretch of blocks in whatever arithmetic is fast and says how far off it may be. What the bounds cannot
exclude is scored exactly by the ranking.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS
from kith.similarity.block_scores import BlockScores, leave_out
from kith.similarity.ranking import ROUNDING, Ranking, float32_slack
from kith.similarity.rows import Indices, Rows

#: Groups that the rows of a block are looked at in.
_GROUPS = 16

#: Rows of a part of a block that are few, for each probe.
_FEW = 16


class Pass(Protocol):
    """How a stretch of blocks is searched."""

    def offer(self, rows: Rows, ranking: Ranking, without: Mapping[int, Indices], fallback: NDArray[np.int64]) -> None:
        """Name every row that may belong to the answer to `ranking`, each once. without: block → rows left out.
        fallback: adds for each probe how often its first choice was not enough."""
        ...


@dataclass(frozen=True, slots=True)
class PlainPass:
    """The float32 pass, in numpy, over `blocks` from row `start` of the first one on."""

    blocks: range
    start: int = 0

    def offer(self, rows: Rows, ranking: Ranking, without: Mapping[int, Indices], fallback: NDArray[np.int64]) -> None:
        if ranking.floored and len(self.blocks) == 1 and self._offer_few(rows, ranking, without):
            return
        probes = ranking.probes
        raw = np.full((len(probes), len(self.blocks), BLOCK_ROWS), -np.inf, np.float32)
        for at, number in enumerate(self.blocks):
            start = self.start if at == 0 else 0
            block = rows.blocks[number]
            raw[:, at, start : len(block)] = probes @ block[start:].T
            leave_out(raw, at, rows.free(number))
            if number in without:
                leave_out(raw, at, without[number])
        shape = (len(probes), len(self.blocks))
        peaks = raw.reshape(*shape, _GROUPS, -1).max(axis=3)
        scores = BlockScores(self.blocks, raw, peaks, np.ones(shape), np.full(shape, float32_slack(probes.shape[1])))
        scores.name(rows, ranking, fallback)

    def _offer_few(self, rows: Rows, ranking: Ranking, without: Mapping[int, Indices]) -> bool:
        """`offer` of a part of a block to probes that have floors, where few of its rows reach them. Whether they were
        few. In a gallery that somebody is enrolled in this is part of every search."""
        number, probes = self.blocks.start, ranking.probes
        raw: NDArray[np.float32] = probes @ rows.blocks[number][self.start :].T
        for left_out in (rows.free(number), without.get(number)):
            if left_out is not None and left_out.size:
                raw[:, left_out[left_out >= self.start] - self.start] = -np.inf
        slack = np.float32(float32_slack(probes.shape[1]) + ROUNDING)
        at = (raw >= (ranking.floor - slack)[:, np.newaxis]).reshape(-1).nonzero()[0]
        if len(at) > _FEW * len(probes):
            return False
        probe, row = np.divmod(at, raw.shape[1])
        score = raw.reshape(-1)[at].astype(np.float64)
        ranking.consider(probe, row + (number * BLOCK_ROWS + self.start), score, score + slack)
        return True
