"""Whether an embedding is falling together: what to watch, and what to do about it, in words.

A triplet loss has a trivial way out: all vectors on one spot, every distance 0, the loss exactly the margin. Training
on the hardest triplets of an untrained network goes there (Schroff et al. 2015, section 3.2), and the loss alone looks
like slow learning.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Mean distance between unit vectors below which they have fallen together; unrelated ones are √2 apart.
COLLAPSED = 0.1

#: Effective dimensions below which the vectors lie along a line.
LINE = 1.5

#: Share of active triplets below which there is nothing left to learn from.
IDLE = 0.01

#: Steps before a small distance is a finding: an untrained network may begin near one spot and spread.
WARM_UP_STEPS = 50

#: Weight of what is known already in the running means: about the last 20 steps count.
_MEMORY = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """How a batch's embeddings lie. mean_distance: between any two, 0..2. active: share of active triplets, None where
    there are no triplets. variances: (d,) per dimension. dimensions: effective ones, the participation ratio
    (Σλ)²/Σλ² of the covariance's eigenvalues: 1 on a line, d in a ball; 0 on a spot."""

    mean_distance: float
    active: float | None
    variances: Tensor
    dimensions: float


@torch.no_grad()
def spread(embeddings: Tensor, active: float | None = None) -> Spread:
    """The spread of unit rows (n, d), n ≥ 2. Where a value is not finite, so are the figures."""
    vectors = embeddings.detach().float()
    count = len(vectors)
    squared = (2 - 2 * vectors @ vectors.T).clamp(min=0)
    squared.fill_diagonal_(0.0)
    centred = vectors - vectors.mean(dim=0)
    covariance = centred.T @ centred / count
    total = torch.trace(covariance)
    # Σλ² is the squared Frobenius norm: no eigenvalue has to be computed.
    ratio = total.square() / covariance.square().sum().clamp(min=1e-20)
    return Spread(
        mean_distance=float(squared.sqrt().sum() / max(count * (count - 1), 1)),
        active=active,
        variances=covariance.diagonal(),
        dimensions=float(ratio),
    )


class CollapseGuard:
    """Watches a run, a batch at a time; its figures are running means over some 20 steps."""

    def __init__(self) -> None:
        self._steps = 0
        self._broken_at: int | None = None
        self._distance = _RunningMean()
        self._dimensions = _RunningMean()
        self._active = _RunningMean()
        self._widest = 0.0

    def feed(self, embeddings: Tensor, active: float | None = None) -> Spread:
        """Take note of a step: unit rows (n, d), and the share of active triplets where there are triplets."""
        found = spread(embeddings, active)
        self._steps += 1
        if not math.isfinite(found.mean_distance):
            # It would stay in every mean.
            self._broken_at = self._broken_at or self._steps
            return found
        self._distance.add(found.mean_distance)
        self._dimensions.add(found.dimensions)
        if active is not None:
            self._active.add(active)
        self._widest = max(self._widest, self._distance.value)
        return found

    @property
    def collapsed(self) -> bool:
        """Whether the vectors are no numbers, on one spot or along a line."""
        return self._broken() is not None or self._on_a_spot() is not None or self._on_a_line() is not None

    def diagnosis(self) -> str | None:
        """What is going wrong and what to do, in a sentence; None while all is well."""
        return self._broken() or self._on_a_spot() or self._on_a_line() or self._idle()

    def _broken(self) -> str | None:
        if self._broken_at is None:
            return None
        return (
            f"embeddings are no numbers since step {self._broken_at}: lower the learning rate, or look for pictures or "
            "weights that are none"
        )

    def _on_a_spot(self) -> str | None:
        if self._steps < WARM_UP_STEPS or self._distance.value >= COLLAPSED:
            return None
        now, widest = self._distance.value, self._widest
        how = f"fell from {widest:.2f} to {now:.2f}" if widest >= COLLAPSED else f"is still {now:.2f}"
        return (
            f"embeddings collapse: mean pairwise distance {how} after {self._steps} steps (unrelated unit vectors are "
            "1.41 apart); use the semi-hard miner, lower the learning rate, or begin with softmax"
        )

    def _on_a_line(self) -> str | None:
        if self._steps < WARM_UP_STEPS or self._dimensions.value >= LINE:
            return None
        return (
            f"embeddings lie along a line: {self._dimensions.value:.1f} effective dimensions after {self._steps} "
            "steps; use the semi-hard miner, a lower learning rate, or more than two subjects in a batch"
        )

    def _idle(self) -> str | None:
        if self._active.steps < WARM_UP_STEPS or self._active.value >= IDLE:
            return None
        return (
            f"only {100 * self._active.value:.1f} % of the triplets are active: there is nothing left to learn from "
            "them; use a harder miner, the neighbourhoods sampler, more subjects in a batch, or stop"
        )


class _RunningMean:
    """An exponential mean that does not begin at zero (Kingma and Ba 2015, section 3)."""

    def __init__(self) -> None:
        self._sum, self._weight, self.steps = 0.0, 0.0, 0

    def add(self, value: float) -> None:
        self._sum = _MEMORY * self._sum + (1 - _MEMORY) * value
        self._weight = _MEMORY * self._weight + (1 - _MEMORY)
        self.steps += 1

    @property
    def value(self) -> float:
        return self._sum / self._weight if self.steps else 0.0
