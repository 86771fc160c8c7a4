"""Five landmarks to the 112×112 crop a network was trained on: rotate, scale and shift, nothing else.

A similarity keeps the shape of the face; an affine map would fit the points better and straighten away exactly what
tells people apart.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from kith.errors import NoFace
from kith.manifest import TEMPLATE

#: Landmarks whose spread (root mean square distance from their centre) is below this many pixels are one blob, not a
#: face: the map would blow up a single pixel.
MIN_SPREAD_PX = 1.0


def align(
    image: NDArray[np.uint8],
    landmarks: NDArray[Any],
    size: int = 112,
    template: ArrayLike = TEMPLATE,
) -> NDArray[np.uint8]:
    """The face at `landmarks` as an upright crop.

    image: (height, width, 3) uint8. landmarks: (5, 2), pixels of `image`, in the order of `template`, whose points are
    pixels of a 112×112 crop and are scaled to `size`. Returns (size, size, 3) uint8; what lies outside the image is
    black. Raises NoFace for landmarks that are not finite, of another shape or all in one place.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    target = np.asarray(template, dtype=np.float64) * (size / 112)
    matrix = similarity(points, target)
    # Bilinear on purpose: the networks were trained on crops made so, a sharper filter would be a different picture.
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(crop, dtype=np.uint8)


def similarity(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 2×3 matrix [sR | t] that maps `points` (n, 2) onto `target` (n, 2) with least squared error.

    Umeyama (1991), "Least-squares estimation of transformation parameters between two point patterns": rotation from
    the SVD of the covariance, mirror images excluded. Raises NoFace for degenerate points.
    """
    if points.shape != target.shape or not np.isfinite(points).all():
        raise NoFace(f"landmarks of shape {points.shape} cannot be aligned: {len(target)} finite points are needed")
    centre, target_centre = points.mean(axis=0), target.mean(axis=0)
    centred, target_centred = points - centre, target - target_centre
    variance = (centred**2).sum(axis=1).mean()
    if np.sqrt(variance) < MIN_SPREAD_PX:
        raise NoFace(f"the landmarks lie within {np.sqrt(variance):.2f} pixels of one another; this is not a face")
    u, singular, vt = np.linalg.svd(target_centred.T @ centred / len(points))
    # A face seen in a mirror is another face: where reflecting fits best, take the best rotation instead.
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = (u * sign) @ vt
    scale = (singular * sign).sum() / variance
    matrix: NDArray[np.float64] = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = target_centre - matrix[:, :2] @ centre
    return matrix
