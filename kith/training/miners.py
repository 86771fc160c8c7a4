"""Which triplets of a batch to learn from: one interface, four answers.

Distances are squared and of unit vectors, as in the loss. Every miner but batch-hard forms one triplet for each ordered
pair (anchor, positive), batch-hard one for each anchor. Randomness comes from the generator that is handed in and from
nowhere else; pytorch-metric-learning's own random and distance-weighted miners draw from the global one.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from kith.errors import Rejected
from kith.training.triplet_loss import MARGIN, Triplets

#: Nearer negatives count as if they were this far (a distance, not squared): noise would choose among them.
_NEAREST = 0.5

#: Farther negatives (a distance, not squared) have no loss to speak of.
_FARTHEST = 1.4


class Miner(Protocol):
    """Finds triplets in a batch."""

    def __call__(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Triplets:
        """embeddings: (n, d) unit rows, labels: (n,) integers. The triplets lie on the device of `embeddings`.

        A label that stands alone in the batch makes no anchor, it is a negative to the others; where all do, there are
        no triplets. Raises Rejected for a batch of a single label.
        """
        ...


def miner(name: str, margin: float = MARGIN) -> Miner:
    """`random`, `batch-hard`, `semi-hard` or `distance-weighted`. Raises Rejected for any other name."""
    find = _FINDERS.get(name)
    if find is None:
        raise Rejected(f"no miner is called {name!r}; known: {', '.join(MINERS)}")
    return partial(_mine, find, margin)


def _mine(find: "_Finder", margin: float, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Triplets:
    if len(labels) and bool((labels == labels[0]).all()):
        raise Rejected(
            f"all {len(labels)} images of the batch have the label {int(labels[0])}: a triplet needs somebody else; "
            "make batches of at least 2 subjects"
        )
    return find(embeddings.detach().float(), labels, margin, generator)


def _random(_: Tensor, labels: Tensor, __: float, generator: torch.Generator) -> Triplets:
    """Any negative."""
    anchors, positives = _pairs(labels)
    return Triplets(anchors, positives, _draw(_even(_others(labels)[anchors]), generator))


def _batch_hard(embeddings: Tensor, labels: Tensor, _: float, __: torch.Generator) -> Triplets:
    """Each anchor with its farthest positive and its nearest negative (Hermans, Beyer and Leibe 2017)."""
    # Loaded when used: it is slow to load, and comes with the extra `train`.
    from pytorch_metric_learning.miners import BatchHardMiner  # noqa: PLC0415

    return Triplets(*BatchHardMiner()(embeddings, labels))


def _semi_hard(embeddings: Tensor, labels: Tensor, margin: float, generator: torch.Generator) -> Triplets:
    """FaceNet's: a negative farther than the positive but within the margin, any of them.

    Where there is none: the nearest of those beyond the margin, which has no loss until something moves; where the
    positive is farther than everybody, the farthest negative, the least hard there is. pytorch-metric-learning's
    `semihard` is every triplet within the margin instead: many of one pair, none of another.
    """
    anchors, positives = _pairs(labels)
    squared = _squared_distances(embeddings)
    to_all, to_positive = squared[anchors], squared[anchors, positives][:, None]
    others = _others(labels)[anchors]
    farther = others & (to_all > to_positive)
    within = farther & (to_all < to_positive + margin)
    nearest_farther = to_all.masked_fill(~farther, torch.inf).argmin(dim=1)
    farthest = to_all.masked_fill(~others, -torch.inf).argmax(dim=1)
    instead = torch.where(farther.any(dim=1), nearest_farther, farthest)
    drawn = _draw(_even(within), generator)
    return Triplets(anchors, positives, torch.where(within.any(dim=1), drawn, instead))


def _distance_weighted(embeddings: Tensor, labels: Tensor, _: float, generator: torch.Generator) -> Triplets:
    """Negatives from near and far alike (Wu, Manmatha, Smola and Krähenbühl, "Sampling matters", ICCV 2017).

    A negative at distance D is as likely as 1/q(D), where q(D) ∝ D^(d−2) (1 − D²/4)^((d−3)/2) says how often points of
    a sphere are D apart; drawn evenly, nearly all would be √2 away. D counts as at least 0.5, and none beyond 1.4 is
    drawn unless an anchor has no other.
    """
    anchors, positives = _pairs(labels)
    distances, others = _squared_distances(embeddings).sqrt(), _others(labels)
    near = others & (distances < _FARTHEST)
    weights = _inverse_density(distances, embeddings.shape[1]).masked_fill(~near, -torch.inf)
    weights = torch.where(near.any(dim=1, keepdim=True), weights, _even(others))
    return Triplets(anchors, positives, _draw(weights[anchors], generator))


def _inverse_density(distances: Tensor, dimension: int) -> Tensor:
    """−log q, up to a constant. It stays a logarithm: in 512 dimensions 1/q spans a hundred orders of magnitude."""
    near = distances.clamp(min=_NEAREST, max=_FARTHEST)
    return (2 - dimension) * near.log() - (dimension - 3) / 2 * (1 - near.square() / 4).log()


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """All ordered pairs of different rows of one label."""
    same = ~_others(labels)
    same.fill_diagonal_(False)
    anchors, positives = same.nonzero(as_tuple=True)
    return anchors, positives


def _others(labels: Tensor) -> Tensor:
    """(n, n) whether two rows show different subjects."""
    return labels[:, None] != labels


def _squared_distances(embeddings: Tensor) -> Tensor:
    return (2 - 2 * embeddings @ embeddings.T).clamp(min=0)


def _even(allowed: Tensor) -> Tensor:
    """Logarithms of equal weights where `allowed`, of zero elsewhere."""
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, -torch.inf)


def _draw(log_weights: Tensor, generator: torch.Generator) -> Tensor:
    """(t,) a column of each row of (t, n), as likely as its weight; column 0 where no column has any.

    The largest log(weight) − log(−log(uniform)) is drawn in proportion to the weights (Gumbel 1954).
    """
    # Drawn where the generator lives: one of the CPU serves embeddings of any device.
    uniform = torch.rand(log_weights.shape, generator=generator, device=generator.device).to(log_weights.device)
    return (log_weights - (-uniform.clamp(min=1e-20).log()).log()).argmax(dim=1)


_Finder = Callable[[Tensor, Tensor, float, torch.Generator], Triplets]

_FINDERS: dict[str, _Finder] = {
    "random": _random,
    "batch-hard": _batch_hard,
    "semi-hard": _semi_hard,
    "distance-weighted": _distance_weighted,
}

#: Names that `miner` knows.
MINERS = tuple(_FINDERS)
