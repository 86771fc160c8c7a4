"""The study on digits: a network that knows some of them is to recognise the others from one, three or five images.

scikit-learn's 1,797 handwritten digits of 8×8 pixels. Trained on all images of 0–5 (or 0–6). Of the digits it has never
seen, some images each are enrolled and all others are asked about: the share that is given the right digit, by the
nearest image enrolled, the mean over several drawings of who is enrolled. Beside are two ways that train again: a new
last layer, and new last layers, learned from the images enrolled.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.triplets_training import Pixels, Stage, Task, embed, to_input, train
from kith.evaluation.open_set import search
from kith.training.margin_losses import margin_loss

#: Digits trained on: those below.
KNOWN = (6, 7)

SHOTS = (1, 3, 5)

RAW = "nearest raw pixels"

_TRAININGS: dict[str, tuple[Stage, ...]] = {
    "softmax": (Stage("NormalizedSoftmaxLoss"),),
    "semi-hard": (Stage("triplet", "semi-hard"),),
    "softmax, then semi-hard": (
        Stage("NormalizedSoftmaxLoss", part=0.6),
        Stage("triplet", "semi-hard", part=0.4, rate=3e-4),
    ),
}

#: What answers, as figures name it.
METHODS = (
    RAW,
    "softmax, head cut",
    "softmax, cut at the convolutions",
    "semi-hard",
    "semi-hard, cut at the convolutions",
    "softmax, then semi-hard",
    "last layer retrained",
    "last layers retrained",
)

_RETRAINING_STEPS = 100


@dataclass(frozen=True, slots=True)
class Digits:
    """pixels: (n, 8, 8, 1) uint8, labels: (n,) 0..9."""

    pixels: Pixels
    labels: NDArray[np.int64]


def read() -> Digits:
    """The digits that come with scikit-learn."""
    from sklearn.datasets import load_digits  # noqa: PLC0415

    found = load_digits()
    return Digits(np.rint(found.images * 255 / 16).astype(np.uint8)[..., None], found.target.astype(np.int64))


def build() -> nn.Sequential:
    """(n, 1, 8, 8) to (n, 32). Children: the convolutions, flattened to 1,024 values; the layers behind them."""
    convolutions = nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Flatten(),
    )
    return nn.Sequential(convolutions, _last_layers())


def _last_layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(1024, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 32, bias=False),
        nn.BatchNorm1d(32),
    )


def measure(digits: Digits, known: int, steps: int, seed: int, draws: int) -> dict[str, dict[int, float]]:
    """Method → images enrolled per digit → share of the others named rightly, under one seed."""
    old = digits.labels < known
    task = Task(digits.pixels[old], digits.labels[old], build, steps, subjects=known, images=64 // known)
    networks = {name: train(task, stages, seed).network for name, stages in _TRAININGS.items()}
    pixels, labels = digits.pixels[~old], digits.labels[~old] - known
    cut = {name: _convolutions(network) for name, network in networks.items()}
    vectors = {
        RAW: _raw(pixels),
        "softmax, head cut": embed(networks["softmax"], pixels),
        "softmax, cut at the convolutions": embed(cut["softmax"], pixels),
        "semi-hard": embed(networks["semi-hard"], pixels),
        "semi-hard, cut at the convolutions": embed(cut["semi-hard"], pixels),
        "softmax, then semi-hard": embed(networks["softmax, then semi-hard"], pixels),
    }
    found = {method: dict.fromkeys(SHOTS, 0.0) for method in METHODS}
    for shots in SHOTS:
        for draw in range(draws):
            enrolled = _drawn(labels, shots, np.random.default_rng((seed, draw)))
            asked = np.setdiff1d(np.arange(len(labels)), enrolled)
            for method, rows in vectors.items():
                named = search(rows[asked], rows[enrolled], labels[enrolled]).subjects
                found[method][shots] += float((named == labels[asked]).mean()) / draws
            for method in METHODS[-2:]:
                named = _retrained(networks["softmax"], method, pixels, labels, enrolled, seed)[asked]
                found[method][shots] += float((named == labels[asked]).mean()) / draws
    return found


def _convolutions(network: nn.Module) -> nn.Module:
    return next(network.children())


def _raw(pixels: Pixels) -> NDArray[np.float32]:
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat


def _drawn(labels: NDArray[np.int64], shots: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.concatenate([rng.permutation(np.flatnonzero(labels == digit))[:shots] for digit in np.unique(labels)])


def _retrained(
    network: nn.Module, method: str, pixels: Pixels, labels: NDArray[np.int64], enrolled: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """What a classifier says of all images that has learned the new digits from those enrolled.

    The head over the old digits gives way to one over the new ones, which is trained; with `last layers`, so are those
    behind the convolutions, from where they are. Batch norms keep what they know: a handful of images cannot tell.
    """
    convolutions, rest = (each.eval() for each in network.children())
    with torch.no_grad():
        maps = convolutions(to_input(pixels))
    layers = _last_layers().eval()
    layers.load_state_dict(rest.state_dict())
    head = margin_loss("NormalizedSoftmaxLoss", len(np.unique(labels)), 32, seed)
    groups = [{"params": list(head.parameters()), "lr": 0.1}]
    if method == "last layers retrained":
        groups.append({"params": list(layers.parameters()), "lr": 1e-3})
    optimiser = torch.optim.Adam(groups)
    truth = torch.from_numpy(labels[enrolled])
    for _ in range(_RETRAINING_STEPS):
        optimiser.zero_grad(set_to_none=True)
        head(layers(maps[enrolled]), truth).backward()
        optimiser.step()
    with torch.no_grad():
        columns = next(iter(head.parameters()))
        cosines = functional.normalize(layers(maps)) @ functional.normalize(columns, dim=0)
    return cosines.argmax(dim=1).numpy()
