"""Does one detector find what another finds? Faces matched by their boxes, landmarks compared on what both found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: Two boxes show the same face when their intersection over union is at least this (Everingham et al. 2010, "The Pascal
#: Visual Object Classes Challenge", section 4.2).
SAME_FACE = 0.5


class Face(Protocol):
    """A face as kith.detector finds it; see kith.detector.Detection."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def landmarks(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a detector agrees with a reference. faces: of the reference. found: those of them it found. extra:
    faces it found where the reference has none. landmark_error: mean distance of its five landmarks from the
    reference's, in distances between the reference's eyes, over the faces both found; NaN where there are none.
    worst_landmark_error: of the face that is worse than 99 % of them.
    """

    images: int
    faces: int
    found: int
    extra: int
    landmark_error: float
    worst_landmark_error: float

    @property
    def recall(self) -> float:
        """Share of the reference's faces that are found, 1 when it has none."""
        return self.found / self.faces if self.faces else 1.0

    @property
    def extra_rate(self) -> float:
        """Extra faces, as a share of the reference's; of one, where it has none."""
        return self.extra / max(1, self.faces)


def agreement(pictures: Iterable[tuple[Sequence[Face], Sequence[Face]]], same_face: float = SAME_FACE) -> Agreement:
    """pictures: for each, what the detector found and what the reference found.

    Pairs of boxes are taken best overlap first, each box once (see `matches`).
    """
    images = faces = found = extra = 0
    errors: list[float] = []
    for mine, theirs in pictures:
        pairs = matches(_boxes(mine), _boxes(theirs), same_face)
        images, faces, found, extra = (
            images + 1,
            faces + len(theirs),
            found + len(pairs),
            extra + len(mine) - len(pairs),
        )
        errors += [landmark_error(mine[row].landmarks, theirs[column].landmarks) for row, column in pairs]
    mean, worst = (float(np.mean(errors)), float(np.quantile(errors, 0.99))) if errors else (float("nan"),) * 2
    return Agreement(images, faces, found, extra, mean, worst)


def matches(
    mine: NDArray[np.floating], theirs: NDArray[np.floating], same_face: float = SAME_FACE
) -> list[tuple[int, int]]:
    """(row of `mine`, row of `theirs`) of boxes ((n, 4) x, y, width, height) that overlap by at least `same_face`
    (intersection over union), greedily, the best overlap first; no row twice."""
    overlaps = overlap(mine, theirs)
    order = np.argsort(-overlaps, axis=None, kind="stable")
    rows, columns = set[int](), set[int]()
    pairs = []
    for flat in order:
        row, column = divmod(int(flat), overlaps.shape[1])
        if overlaps[row, column] < same_face:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def overlap(mine: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of each of `mine` (n, 4) with each of `theirs` (m, 4), x, y, width, height: (n, m)."""
    one, other = np.asarray(mine, np.float64)[:, None], np.asarray(theirs, np.float64)[None]
    sides = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:]) - np.maximum(
        one[..., :2], other[..., :2]
    )
    shared = np.clip(sides, 0, None).prod(axis=-1)
    union = one[..., 2:].prod(axis=-1) + other[..., 2:].prod(axis=-1) - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float64)


def landmark_error(mine: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """Mean distance of the five points `mine` (5, 2) from `theirs`, in distances between the eyes of `theirs`."""
    eyes = float(np.hypot(*(np.asarray(theirs[1], np.float64) - theirs[0])))
    return float(np.hypot(*(np.asarray(mine, np.float64) - theirs).T).mean() / max(eyes, 1e-12))


def _boxes(faces: Sequence[Face]) -> NDArray[np.float64]:
    return np.array([face.box for face in faces], np.float64).reshape(-1, 4)
