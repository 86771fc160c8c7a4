"""Growing a classifier: more rows in its last layer, which then learns, and if wanted the layers before it after that.

The new rows begin where the new pictures are, so that little has to be learned (weight imprinting: Qi, Brown and Lowe,
"Low-Shot Learning with Imprinted Weights", CVPR 2018), and all rows are held near where they began, so that few
pictures do not pull them far (L2-SP: Li, Grandvalet and Davoine, ICML 2018).
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kith.training.augment import Augmentation
from kith.training.errors import Diverged
from kith.training.loader import Loader
from kith.training.objective import Normalise
from kith.training.replay import Examples, balanced

Floats = NDArray[np.float32]

#: Told after each epoch: what learns, the epoch, of how many, the mean loss, pictures a second.
Tell = Callable[[str, int, int, float, float], None]

#: Pictures of one forward pass without learning.
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Schedule:
    """epochs, all_epochs: passes over the pictures for the last layer, and for all of them afterwards (0: not at all).
    rate: learning rate of the last layer, as a share of the size of its weights. all_rate: of all layers, as it is.
    hold: how strongly rows are held where they began. batch: pictures in a step."""

    epochs: int = 30
    all_epochs: int = 0
    rate: float = 0.05
    all_rate: float = 1e-4
    hold: float = 0.1
    batch: int = 32
    seed: int = 0


def features_of(network: nn.Module, pixels: NDArray[np.uint8], normalise: Normalise, batch: int = _BATCH) -> Floats:
    """(n, 112, 112, 3) uint8 to (n, d) float32, not normalised, in eval mode; always `batch` at a time."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), batch):
            some = np.ascontiguousarray(pixels[start : start + batch])
            # A network may have been recorded for one batch size: the last batch is filled up.
            full = np.concatenate([some, np.zeros((batch - len(some), *some.shape[1:]), np.uint8)])
            out = network(normalise(torch.from_numpy(full).to(device)))
            parts.append(out[: len(some)].float().cpu().numpy())
    return np.concatenate(parts)


def grow(head: nn.Linear, features: Floats, labels: NDArray[np.int64], classes: int) -> nn.Linear:
    """`head` with rows for `classes` classes: the old ones exactly as they were, the new ones from the mean features.

    features: (n, d) of pictures of old and new classes, labels: (n,). With μ the mean of the class means, a new row
    points from μ to its class's mean, is as long as the old rows are on average, and gives at μ the logit that the old
    rows give there on average. Without a bias it points from the origin.
    """
    old = head.out_features
    grown = nn.Linear(head.in_features, classes, bias=head.bias is not None)
    means = {label: features[labels == label].mean(axis=0) for label in np.unique(labels)}
    centre = torch.from_numpy(np.mean(list(means.values()), axis=0)) if head.bias is not None else None
    with torch.no_grad():
        grown.weight[:old] = head.weight
        length = head.weight.norm(dim=1).mean()
        usual = None
        if centre is not None:
            grown.bias[:old] = head.bias
            usual = (head.weight @ centre + head.bias).mean()
        for label in range(old, classes):
            towards = torch.from_numpy(means[label]) - (0 if centre is None else centre)
            row = functional.normalize(towards, dim=0) * length
            grown.weight[label] = row
            if centre is not None and usual is not None:
                grown.bias[label] = usual - row @ centre
    return grown


def retrain_last(
    head: nn.Linear, features: Floats, labels: NDArray[np.int64], rows: NDArray[np.int64], how: Schedule, tell: Tell
) -> nn.Linear:
    """A copy of `head` that has learned `rows` of `features`, classes balanced. Raises Diverged."""
    size = float(np.sqrt(np.mean(np.square(features[rows], dtype=np.float64)))) or 1.0
    if not np.isfinite(size):
        raise Diverged("the network gives features that are no numbers: check --mean, --std and the weights")
    learner = copy.deepcopy(head)
    with torch.no_grad():
        # Features of size 1, whatever the network gives: then one learning rate suits all.
        learner.weight.mul_(size)
    hold = _Hold(learner, how.hold)
    scale = float(learner.weight.detach().square().mean().sqrt()) or 1.0
    optimiser = torch.optim.Adam(learner.parameters(), lr=how.rate * scale)
    inputs, targets = torch.from_numpy(features / np.float32(size)), torch.from_numpy(labels)
    for epoch in range(how.epochs):
        losses, began_s = [], time.perf_counter()
        _slow_down(optimiser, how.rate * scale, epoch, how.epochs)
        for batch in balanced(labels, rows, how.batch, np.random.default_rng((how.seed, 1, epoch))):
            loss = functional.cross_entropy(learner(inputs[batch]), targets[batch]) + hold.pull(learner)
            losses.append(_step(optimiser, loss, "the last layer"))
        rate = len(losses) * how.batch / (time.perf_counter() - began_s)
        tell("last layer", epoch + 1, how.epochs, float(np.mean(losses)), rate)
    with torch.no_grad():
        learner.weight.div_(size)
    return learner


def retrain_all(
    network: nn.Module, head: nn.Linear, examples: Examples, normalise: Normalise, how: Schedule, tell: Tell
) -> nn.Linear:
    """A copy of `head` that has learned together with `network`, which is changed. Raises Diverged.

    Batch norms keep their statistics: those of a few dozen pictures would be worse.
    """
    device = next(network.parameters()).device
    learner = copy.deepcopy(head).to(device)
    hold = _Hold(learner, how.hold)
    parts = [{"params": network.parameters()}, {"params": learner.parameters()}]
    optimiser = torch.optim.AdamW(parts, lr=how.all_rate, weight_decay=0.0)
    loader = Loader(examples.pixels, examples.labels, Augmentation(), how.seed)
    network.eval()
    for epoch in range(how.all_epochs):
        losses, began_s = [], time.perf_counter()
        _slow_down(optimiser, how.all_rate, epoch, how.all_epochs)
        random = np.random.default_rng((how.seed, 2, epoch))
        plan = list(balanced(examples.labels, examples.learn, how.batch, random))
        for _, batch in loader.load(plan, epoch):
            logits = learner(network(normalise(batch.pixels.to(device))))
            loss = functional.cross_entropy(logits, batch.labels.to(device)) + hold.pull(learner)
            losses.append(_step(optimiser, loss, "all layers"))
        rate = len(losses) * how.batch / (time.perf_counter() - began_s)
        tell("all layers", epoch + 1, how.all_epochs, float(np.mean(losses)), rate)
    return learner.cpu()


class _Hold:
    """Holds rows near where they are now: mean squared distance as a share of the mean square of the weights."""

    def __init__(self, head: nn.Linear, strength: float) -> None:
        self._start = head.weight.detach().clone()
        self._strength = strength / float(self._start.square().mean() or 1.0)

    def pull(self, head: nn.Linear) -> Tensor:
        return (head.weight - self._start).square().mean() * self._strength


def _step(optimiser: torch.optim.Optimizer, loss: Tensor, what: str) -> float:
    if not torch.isfinite(loss):
        raise Diverged(f"the loss of {what} is {float(loss.detach())}: lower the learning rate (--rate, --all-rate)")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _slow_down(optimiser: torch.optim.Optimizer, rate: float, epoch: int, of: int) -> None:
    """Half a cosine from `rate` towards nothing."""
    for group in optimiser.param_groups:
        group["lr"] = rate * (1 + np.cos(np.pi * epoch / of)) / 2
