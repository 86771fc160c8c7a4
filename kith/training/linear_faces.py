"""Learns the linear model of portraits (`kith.synthetic.model`) from photographs: averages and their covariances.

What differs between people is learned from aligned crops, of which there are many; what surrounds a face (hair, neck,
shoulders, background) from photographs that show it. The surroundings are first explained by the face with one linear
map, so that dark hair goes with dark brows; what is left of them has a linear model of its own, in the same way:

    principal components of the symmetric half and of the half that turns its sign in the mirror;
    two covariances in their coordinates, between people and between pictures of one person, diagonalised together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.crops import Crops
from kith.errors import Rejected
from kith.synthetic.model import (
    CROP_AT,
    CROP_PX,
    FACE_HALF,
    HALF,
    PARTS,
    PORTRAIT_PX,
    Model,
    halves,
    mask,
    quantise,
)
from kith.training.two_covariances import diagonalise, estimate

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Tell = Callable[[str, int, int], None]

#: Of what is left when the face has explained what it can of its surroundings, this share of their variance is added to
#: the map's normal equations: few photographs must not decide much (ridge regression).
_RIDGE = 0.05

#: Colour differs less than brightness and is stored coarser; it counts this much in choosing components.
_COLOUR_WEIGHT = 2.0
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many components, symmetric and mirrored, of the face and its surroundings, and levels of a stored value."""

    face: tuple[int, int] = (160, 40)
    around: tuple[int, int] = (24, 12)
    levels: int = 24


@dataclass(frozen=True, slots=True)
class Learned:
    """The model, and what it was learned from in a few sentences."""

    model: Model
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """components: (k, d) with variance 1 between pictures of a person; between: (k,). outliers: pictures left out."""

    components: Floats
    between: Floats
    outliers: int


def learn(
    crops: Crops,
    portraits: Pixels,
    subjects: NDArray[Any],
    sizes: Sizes | None = None,
    seed: int = 0,
    tell: Tell = lambda *_: None,
) -> Learned:
    """crops: aligned faces of many people. portraits, subjects: of some (`kith.training.portraits.read_portraits`).

    Raises Rejected when there are too few pictures for so many components, or too few people with two.
    """
    sizes = sizes or Sizes()
    needed = 2 * max(*sizes.face, *sizes.around)
    if min(len(crops.pixels), len(portraits)) < needed:
        raise Rejected(
            f"{len(crops.pixels)} aligned crops and {len(portraits)} portraits are too few for the model: {needed} of "
            "each are the least"
        )
    rng = np.random.default_rng(seed)
    even, odd = _seen(crops.pixels, _face_parts, "looking at faces", tell)
    mean = np.empty(HALF)
    mean[:FACE_HALF] = even.mean(axis=0)
    even -= mean[:FACE_HALF]
    weights = _weights()
    labels = crops.subjects
    faces = _layer(even, labels, sizes.face[0], weights[:FACE_HALF], rng)
    faces_mirrored = _layer(odd, labels, sizes.face[1], weights[:FACE_HALF], rng)

    seen_even, seen_odd = _seen(portraits, _all_parts, "looking at their surroundings", tell)
    mean[FACE_HALF:] = seen_even[:, FACE_HALF:].mean(axis=0)
    seen_even -= mean
    around = [
        _surroundings(seen, layer, subjects, count, weights, rng)
        for seen, layer, count in (
            (seen_even, faces, sizes.around[0]),
            (seen_odd, faces_mirrored, sizes.around[1]),
        )
    ]
    symmetric, scale = quantise(around[0].components, sizes.levels)
    mirrored, mirrored_scale = quantise(around[1].components, sizes.levels)
    between = around[0].between.astype(np.float32)
    model = Model(
        mean.astype(np.float32),
        symmetric,
        scale,
        between,
        mirrored,
        mirrored_scale,
        # Nobody is like anybody, until a recogniser says so (kith.training.likeness).
        likeness=np.zeros((len(scale), 1), np.int8),
        likeness_scale=np.ones(len(scale), np.float32),
        likeness_mean=np.zeros(1, np.float32),
    )
    several = np.unique(labels, return_counts=True)[1]
    return Learned(
        model,
        (
            f"{len(labels)} crops of {len(several)} people, {int((several > 1).sum())} of them with two or more",
            f"{len(subjects)} portraits of {len(np.unique(subjects))} people",
            f"{faces.outliers} pictures unlike the others of their person did not count",
        ),
    )


def _layer(vectors: Floats, labels: NDArray[Any], count: int, weights: Floats, rng: np.random.Generator) -> _Layer:
    """`count` components of `vectors` (n, d), whose mean is 0."""
    weighted = vectors * weights
    directions = _directions(weighted, count)
    try:
        found = estimate(weighted @ directions, labels, rng)
        basis, between = diagonalise(found.between, found.within)
    except (ValueError, np.linalg.LinAlgError) as fault:
        raise Rejected(f"too little is known of how pictures of one person differ: {fault}") from None
    return _Layer((directions @ basis).T / weights, between, found.outliers)


def _directions(vectors: Floats, count: int) -> Floats:
    """(d, count) the orthonormal principal directions of `vectors` (n, d), the strongest first."""
    if len(vectors) < vectors.shape[1]:
        # Fewer pictures than values: the same directions from the smaller matrix of their products.
        squares, mixtures = np.linalg.eigh(vectors @ vectors.T)
        found = vectors.T @ (mixtures[:, ::-1][:, :count] / np.sqrt(squares[::-1][:count]))
    else:
        found = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :count]
    # Signs are the eigensolver's whim: the largest value of each direction is positive.
    signed: Floats = found * np.sign(found[np.abs(found).argmax(axis=0), np.arange(count)])
    return signed


def _surroundings(
    seen: Floats, faces: _Layer, subjects: NDArray[Any], count: int, weights: Floats, rng: np.random.Generator
) -> _Layer:
    """The face's components, each with what surrounds such a face, and `count` of the surroundings alone."""
    face, around = seen[:, :FACE_HALF], seen[:, FACE_HALF:]
    inside = weights[:FACE_HALF]
    coordinates = np.linalg.lstsq((faces.components * inside).T, (face * inside).T, rcond=None)[0].T
    squares = coordinates.T @ coordinates
    squares += _RIDGE * np.trace(squares) / len(squares) * np.eye(len(squares))
    explained = np.linalg.solve(squares, coordinates.T @ around)
    rest = _layer(around - coordinates @ explained, subjects, count, weights[FACE_HALF:], rng)
    components = np.zeros((len(faces.components) + count, HALF))
    components[: len(explained)] = np.hstack([faces.components, explained])
    components[len(explained) :, FACE_HALF:] = rest.components
    return _Layer(components, np.concatenate([faces.between, rest.between]), rest.outliers)


def _weights() -> Floats:
    """(HALF,) the square root of how many portrait pixels a stored value stands for, colour counted higher."""
    found = []
    for part, (height, width, channels) in enumerate(PARTS):
        pixels = CROP_PX**2 if part < 2 else PORTRAIT_PX[0] * PORTRAIT_PX[1]
        weight = np.sqrt(pixels / (height * width)) * (_COLOUR_WEIGHT if channels == 2 else 1)
        found.append(np.full(height * width // 2 * channels, weight))
    return np.concatenate(found)


def _seen(pictures: Pixels, parts_of: Callable[[Pixels], list[Floats]], what: str, tell: Tell) -> tuple[Floats, Floats]:
    """The even and the odd half of every picture, in chunks: all of them as float images would not fit."""
    even, odd = [], []
    for start in range(0, len(pictures), _CHUNK):
        parts = [parts_of(picture) for picture in pictures[start : start + _CHUNK]]
        one, other = halves([np.stack(part) for part in zip(*parts, strict=True)])
        even.append(one.astype(np.float32))
        odd.append(other.astype(np.float32))
        tell(what, min(start + _CHUNK, len(pictures)), len(pictures))
    return np.concatenate(even).astype(np.float64), np.concatenate(odd).astype(np.float64)


def _face_parts(crop: Pixels) -> list[Floats]:
    return [part * mask(*part.shape[:2]) for part in _shrunk(crop, PARTS[:2])]


def _all_parts(portrait: Pixels) -> list[Floats]:
    top, start = CROP_AT
    return _face_parts(portrait[top : top + CROP_PX, start : start + CROP_PX]) + _shrunk(portrait, PARTS[2:])


def _shrunk(picture: Pixels, parts: Sequence[tuple[int, int, int]]) -> list[Floats]:
    """Brightness and the two colour differences (JPEG's YCbCr), each at its size."""
    brightness, red, blue = (
        plane.astype(np.float64) for plane in cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    )
    (height, width, _), (low, narrow, _) = parts
    fine = cv2.resize(brightness, (width, height), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(np.dstack([blue, red]), (narrow, low), interpolation=cv2.INTER_AREA)
    return [np.asarray(fine, np.float64)[:, :, None], np.asarray(coarse, np.float64)]
