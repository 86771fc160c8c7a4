"""The study on faces: strangers to the network are enrolled and looked for among other strangers.

Training: the identities of `aligned/train` with at least three images, as crops of 40×40 pixels. Test: `aligned/val`,
of which nobody was trained on. Of its identities with two images or more a random half is enrolled with up to two
templates, all others are strangers. These are halved by identity: the cutoff for an FPIR of 1 % is found on one half
and used on the other, both ways round, and figures are means of the two.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.triplets_training import Pixels, Stage, Task, Trained, embed, train
from kith.crops import CropReader
from kith.evaluation.open_set import search
from kith.evaluation.split import split_identities
from kith.evaluation.verification import cutoff_at_rate

FPIR = 0.01

#: Pixels a network sees of a face, and how far it is shifted at random in training.
SIDE, RIM = 40, 2

_LEAST_IMAGES = 3

_SOFTMAX = Stage("NormalizedSoftmaxLoss", rate=3e-3, options=(("temperature", 0.1),))
_TRIPLET = Stage("triplet", rate=2e-3)

#: What is compared, all seeing the same number of images. Rates, margins and scales are the best of two or three that
#: were tried on 300 identities of the training set, held out for that, under a seed that is none of the study's.
METHODS: dict[str, tuple[Stage, ...]] = {
    "random": (replace(_TRIPLET, miner="random"),),
    "batch-hard from the start": (replace(_TRIPLET, miner="batch-hard"),),
    "semi-hard": (_TRIPLET,),
    "distance-weighted": (replace(_TRIPLET, miner="distance-weighted"),),
    "neighbourhoods, semi-hard": (replace(_TRIPLET, neighbourhoods=True),),
    "curriculum": (replace(_TRIPLET, miner="curriculum"),),
    "softmax, head cut": (_SOFTMAX,),
    "ArcFace, head cut": (Stage("ArcFaceLoss", rate=3e-3, options=(("margin", 10.0), ("scale", 16.0))),),
    "softmax, then semi-hard": (
        replace(_SOFTMAX, part=0.6),
        replace(_TRIPLET, part=0.4, rate=5e-4),
    ),
}

#: Some of them with a network that ends in its last layer. All others end in a batch norm, which keeps vectors apart
#: whatever is asked of them.
WITHOUT_NORM: dict[str, tuple[Stage, ...]] = {
    f"{method}, no norm at the end": METHODS[method] for method in ("random", "batch-hard from the start", "semi-hard")
}

RAW = "nearest raw pixels"


@dataclass(frozen=True, slots=True)
class FaceFigures:
    """rank_1, tpir: shares of mated probes. fpir: of strangers who were named, at the same cutoff. trained_fpir: the
    same at a cutoff found on identities of the training set, with as many enrolled."""

    rank_1: float
    tpir: float
    fpir: float
    trained_fpir: float
    collapsed: bool
    active: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Faces:
    """pixels: (n, 44, 44, 3) uint8 RGB, SIDE and a rim; labels: (n,)."""

    pixels: Pixels
    labels: NDArray[np.int64]


def build(norm_at_end: bool = True) -> nn.Module:
    """(n, 3, 40, 40) to (n, 64), some 140 thousand values: three convolutions that halve, and one layer across them."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (24, 48, 64):
        layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    layers += [nn.Flatten(), nn.Linear(64 * 5 * 5, 64, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm1d(64)) if norm_at_end else nn.Sequential(*layers)


def read(folder: Path, least: int = 1, limit: int | None = None, tell: Callable[[str], None] = lambda _: None) -> Faces:
    """Identities with at least `least` images, at most `limit` of them."""
    people = [sorted(person.glob("*.jpg")) for person in sorted(folder.iterdir()) if person.is_dir()]
    people = [files for files in people if len(files) >= least][:limit]
    files = [file for person in people for file in person]
    tell(f"reading {len(files):,} faces of {len(people):,} people")
    reader = CropReader(None)

    def small(file: Path) -> Pixels:
        side = SIDE + 2 * RIM
        return np.asarray(cv2.resize(reader.read(file), (side, side), interpolation=cv2.INTER_AREA), np.uint8)

    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(small, files)))
    return Faces(pixels, np.repeat(np.arange(len(people)), [len(person) for person in people]))


def read_both(data: Path, quick: bool, tell: Callable[[str], None]) -> tuple[Faces, Faces]:
    """(training, test) faces from the folder of faces and weights."""
    root = data / "aligned"
    return read(root / "train", _LEAST_IMAGES, 120 if quick else None, tell), read(root / "val", tell=tell)


def measure(method: str, training: Faces, test: Faces, steps: int, seed: int) -> FaceFigures:
    """One method under one seed."""
    if method == RAW:
        return _figures(_raw(training.pixels), training.labels, _raw(test.pixels), test.labels, None, seed)
    network = partial(build, norm_at_end=method not in WITHOUT_NORM)
    task = Task(training.pixels, training.labels, network, steps, rim=RIM, mirror=True)
    trained = train(task, (METHODS | WITHOUT_NORM)[method], seed)
    vectors = [embed(trained.network, faces.pixels, RIM) for faces in (training, test)]
    return _figures(vectors[0], training.labels, vectors[1], test.labels, trained, seed)


def _raw(pixels: Pixels) -> NDArray[np.float32]:
    """Unit vectors of pixels, brightness and contrast taken out: what one compares without any learning."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat


def _figures(
    learned: NDArray[np.float32],
    learned_labels: NDArray[np.int64],
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    trained: Trained | None,
    seed: int,
) -> FaceFigures:
    scores, right, strangers, who = _searches(vectors, labels, seed)
    halves = np.isin(who, np.random.default_rng((seed, 1)).permutation(np.unique(who))[::2])
    tpir, fpir = [], []
    for half in (halves, ~halves):
        cutoff = cutoff_at_rate(strangers[half], FPIR)
        tpir.append(float((right & (scores > cutoff)).mean()))
        fpir.append(float((strangers[~half] > cutoff).mean()))
    # As many people as are enrolled and asked about in the test: a cutoff is of a gallery's size.
    people = np.random.default_rng((seed, 2)).permutation(int(learned_labels.max()) + 1)
    several = int((np.bincount(labels) >= 2).sum())
    some = np.isin(learned_labels, people[:several])
    _, _, known, _ = _searches(learned[some], learned_labels[some], seed)
    return FaceFigures(
        rank_1=float(right.mean()),
        tpir=float(np.mean(tpir)),
        fpir=float(np.mean(fpir)),
        trained_fpir=float((strangers > cutoff_at_rate(known, FPIR)).mean()),
        collapsed=trained is not None and trained.collapsed,
        active=float("nan") if trained is None else trained.active,
        seconds=0.0 if trained is None else trained.seconds,
    )


def _searches(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """Scores of the mated probes, whether the nearest subject is the right one; scores of the strangers, and who they
    are."""
    several = np.flatnonzero(np.bincount(labels)[labels] >= 2)
    split = split_identities(labels[several], np.random.default_rng(seed))
    gallery, mated = several[split.gallery], several[split.mated]
    non_mated = np.setdiff1d(np.arange(len(labels)), np.concatenate([gallery, mated]))
    found = search(vectors[mated], vectors[gallery], labels[gallery])
    strange = search(vectors[non_mated], vectors[gallery], labels[gallery])
    return found.scores, found.subjects == labels[mated], strange.scores, labels[non_mated]
