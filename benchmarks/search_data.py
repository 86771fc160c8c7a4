"""Galleries and probes for measuring search: clustered unit vectors, an identity's centre and noise around it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Snapshot, Vectors
from kith.view import GalleryView, Replica

#: Templates of each subject, which stand side by side.
TEMPLATES = 4

#: Length of the noise, with the centre's as 1: two pictures of one person have a cosine of 1 / (1 + 0.8²) = 0.61.
_NOISE = 0.8

_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """A gallery of clusters. templates: float32 (N, d), unit, TEMPLATES rows per subject; the view's blocks are windows
    of it."""

    templates: Vectors
    replica: Replica
    rng: np.random.Generator

    @property
    def view(self) -> GalleryView:
        """The gallery."""
        return self.replica.view

    def probes(self, count: int) -> Vectors:
        """Mated and non-mated ones in turn, float32 (count, d)."""
        mated = (count + 1) // 2
        whose = self.rng.integers(0, len(self.templates) // TEMPLATES, mated)
        # The centre is forgotten; the mean of the templates is where a new picture lies just as well.
        centres = self.templates.reshape(-1, TEMPLATES, self.templates.shape[1])[whose].mean(axis=1)
        probes = np.empty((count, self.templates.shape[1]), np.float32)
        probes[0::2] = _around(_unit(centres), self.rng)
        probes[1::2] = _around(_centres(count // 2, probes.shape[1], self.rng), self.rng)
        return probes


def people(count: int, dimension: int, seed: int = 0) -> People:
    """`count` templates, rounded down to whole subjects."""
    rng = np.random.default_rng(seed)
    subjects = count // TEMPLATES
    templates = np.empty((subjects * TEMPLATES, dimension), np.float32)
    for start in range(0, subjects, _AT_ONCE // TEMPLATES):
        some = min(_AT_ONCE // TEMPLATES, subjects - start)
        centres = np.repeat(_centres(some, dimension, rng), TEMPLATES, axis=0)
        templates[start * TEMPLATES : (start + some) * TEMPLATES] = _around(centres, rng)
    return People(templates, replica_of(templates), rng)


def replica_of(templates: Vectors, *, half: bool = False) -> Replica:
    """The gallery of float32 (N, d) unit rows, TEMPLATES a subject. It takes their memory over. half: see Replica."""
    subjects = len(templates) // TEMPLATES
    numbers = np.repeat(np.arange(1, subjects + 1, dtype=np.int32), TEMPLATES)
    cuts = range(0, len(templates), BLOCK_ROWS)
    qualities = np.ones(len(templates), np.float32)
    snapshot = Snapshot(
        "bench",
        "m",
        templates.shape[1],
        "e",
        sequence=1,
        blocks=[templates[at : at + BLOCK_ROWS] for at in cuts],
        owners=[numbers[at : at + BLOCK_ROWS] for at in cuts],
        qualities=[qualities[at : at + BLOCK_ROWS] for at in cuts],
        names={number: (f"{number:016x}", f"subject {number}") for number in range(1, subjects + 1)},
    )
    return Replica(snapshot, half=half)


def truth(templates: Vectors, probes: Vectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Brute force in float64: numbers of the k nearest subjects of each probe and their scores, (B, k), best first.

    Scores that round to the same float32 are ordered by slot.
    """
    exact = probes.astype(np.float64)
    numbers = np.empty((len(probes), 0), np.int64)
    scores = np.empty((len(probes), 0))
    rows = _AT_ONCE // 4 * TEMPLATES
    for start in range(0, len(templates), rows):
        some = exact @ templates[start : start + rows].astype(np.float64).T
        best = some.reshape(len(probes), -1, TEMPLATES).max(axis=2)
        near = np.argpartition(-best, min(k, best.shape[1] - 1), axis=1)[:, : k + 1]
        numbers = np.concatenate((numbers, near + start // TEMPLATES + 1), axis=1)
        scores = np.concatenate((scores, np.take_along_axis(best, near, axis=1)), axis=1)
        order = np.lexsort((numbers, -scores.astype(np.float32)), axis=1)[:, : k + 1]
        numbers = np.take_along_axis(numbers, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
    return numbers[:, :k], scores[:, :k]


def _centres(count: int, dimension: int, rng: np.random.Generator) -> Vectors:
    return _unit(rng.standard_normal((count, dimension), dtype=np.float32))


def _around(centres: Vectors, rng: np.random.Generator) -> Vectors:
    noise = rng.standard_normal(centres.shape, dtype=np.float32)
    return _unit(centres + noise * np.float32(_NOISE / np.sqrt(centres.shape[1])))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
