"""What a detection network says of one picture: a picture at a scale goes in, many answers for each face come out.

The part that networks of grid cells have in common; each adds how its numbers are meant (kith.yunet, kith.scrfd).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.detector import Detection, Floats, Pixels

#: Such networks halve a picture five times.
_STEP_PX = 32


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """boxes: (n, 4) x, y, width, height; points: (n, 5, 2); scores: (n,), highest first. float32, pixels."""

    boxes: Floats
    points: Floats
    scores: Floats

    def scaled(self, factor: Floats) -> "Faces":
        """The same faces in another picture; factor: (2,) of its pixels per pixel of this one, across and down."""
        return Faces(self.boxes * np.tile(factor, 2), self.points * factor, self.scores)

    def detections(self) -> list[Detection]:
        """Largest box first."""
        found = [
            Detection((float(x), float(y), float(width), float(height)), landmarks, float(score))
            for (x, y, width, height), landmarks, score in zip(self.boxes, self.points, self.scores, strict=True)
        ]
        return sorted(found, key=lambda face: face.box[2] * face.box[3], reverse=True)


def faces_of(found: Sequence[Detection]) -> Faces:
    """`found` as arrays, in their order."""
    boxes = np.array([face.box for face in found], np.float32).reshape(-1, 4)
    points = np.array([face.landmarks for face in found], np.float32).reshape(-1, 5, 2)
    return Faces(boxes, points, np.array([face.score for face in found], np.float32))


def strongest(scores: Floats, min_score: float) -> NDArray[np.intp]:
    """Which of `scores` reach `min_score`, the highest first, the earlier one first among equals."""
    keep = np.flatnonzero(scores >= min_score)
    return keep[np.argsort(-scores[keep], kind="stable")]


def distinct(boxes: Floats, max_overlap: float) -> list[int]:
    """Greedy non-maximum suppression: rows of `boxes` ((n, 4) x, y, width, height, best first) that overlap no better
    kept one by more than `max_overlap` (intersection over union)."""
    lower, upper, areas = boxes[:, :2], boxes[:, :2] + boxes[:, 2:], boxes[:, 2] * boxes[:, 3]
    left, kept = np.arange(len(boxes)), list[int]()
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        sides = np.minimum(upper[best], upper[left]) - np.maximum(lower[best], lower[left])
        shared = np.clip(sides, 0, None).prod(axis=1)
        left = left[shared <= max_overlap * (areas[best] + areas[left] - shared)]
    return kept


def check_image(image: Pixels) -> None:
    """Raises ValueError for anything but (height, width, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image is (height, width, 3) uint8, this one {image.shape} {image.dtype}")


def resized(image: Pixels, scale: float) -> tuple[Pixels, Floats]:
    """`image` at `scale`, and how many of its pixels one of the result is, (2,) float32, across and down."""
    if scale == 1:
        return image, np.ones(2, np.float32)
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    # Sides are rounded on their own, and so the two factors differ a little.
    return small, np.array([image.shape[1] / width, image.shape[0] / height], np.float32)


def padded(side: int) -> int:
    """The side of the canvas that holds `side` pixels."""
    return -(-side // _STEP_PX) * _STEP_PX
