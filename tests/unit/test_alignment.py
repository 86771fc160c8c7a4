"""Alignment: the map against a solver that knows nothing of Umeyama, the crop against a pixel-by-pixel warp."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kith.alignment import align, similarity
from kith.errors import NoFace
from kith.manifest import TEMPLATE

TARGET = np.array(TEMPLATE)


def moved(points: NDArray[np.float64], angle: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    result: NDArray[np.float64] = points @ turn.T * scale + np.array(shift)
    return result


@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 20),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_rotated_scaled_shifted_face_is_brought_back_exactly(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    points = moved(TARGET, angle, scale, shift)
    matrix = similarity(points, TARGET)
    assert points @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(TARGET, abs=1e-6)


def test_the_map_is_the_least_squares_similarity() -> None:
    points = TARGET * 1.7 + np.random.default_rng(0).normal(0, 4, (5, 2)) + 30
    # A similarity is linear in (a, b, tx, ty): x' = a·x − b·y + tx, y' = b·x + a·y + ty.
    rows, right = [], []
    for (x, y), (u, v) in zip(points, TARGET, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    assert similarity(points, TARGET) == pytest.approx(np.array([[a, -b, tx], [b, a, ty]]))


def test_a_mirrored_face_is_turned_and_not_mirrored_back() -> None:
    mirrored = TARGET * [-1, 1] + [112, 0]
    matrix = similarity(mirrored, TARGET)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_the_crop_holds_the_pixels_that_bilinear_sampling_gives() -> None:
    random = np.random.default_rng(1)
    # Smooth content: OpenCV rounds sampling positions to 1/32 pixel, which noise would blow up.
    coarse = random.integers(0, 256, (12, 14, 3)).astype(np.float64)
    image = np.clip(np.stack([_enlarge(coarse[..., c], 16) for c in range(3)], axis=-1), 0, 255).astype(np.uint8)
    points = moved(TARGET, 0.3, 1.2, (25, 10))
    crop = align(image, points)
    matrix = similarity(points, TARGET)
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    worst = 0.0
    for v in range(0, 112, 9):
        for u in range(0, 112, 9):
            x, y, _ = back @ [u, v, 1]
            worst = max(worst, float(np.abs(crop[v, u] - _bilinear(image, x, y)).max()))
    assert worst <= 2


def test_what_lies_outside_the_image_is_black() -> None:
    white = np.full((60, 60, 3), 255, np.uint8)
    crop = align(white, TARGET + np.array([-200.0, 0.0]))
    assert not crop.any()


def test_another_size_scales_the_template() -> None:
    image = np.random.default_rng(2).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    assert np.array_equal(align(image, TARGET), image)
    assert align(image, TARGET, size=56).shape == (56, 56, 3)


@pytest.mark.parametrize(
    "landmarks",
    [np.full((5, 2), 40.0), TARGET * 0.01, np.where(np.eye(5, 2) > 0, np.nan, TARGET), TARGET[:4], TARGET * np.inf],
)
def test_landmarks_that_are_no_face_are_refused(landmarks: NDArray[np.float64]) -> None:
    with pytest.raises(NoFace):
        align(np.zeros((112, 112, 3), np.uint8), landmarks)


def test_landmarks_on_one_line_still_give_a_finite_map() -> None:
    line = np.stack([np.linspace(10, 90, 5), np.full(5, 50.0)], axis=1)
    matrix = similarity(line, TARGET)
    assert np.isfinite(matrix).all()
    assert np.linalg.det(matrix[:, :2]) > 0


def _enlarge(plane: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    rows = np.linspace(0, plane.shape[0] - 1, plane.shape[0] * factor)
    columns = np.linspace(0, plane.shape[1] - 1, plane.shape[1] * factor)
    wide = np.stack([np.interp(columns, np.arange(plane.shape[1]), row) for row in plane])
    return np.stack([np.interp(rows, np.arange(plane.shape[0]), column) for column in wide.T], axis=1)


def _bilinear(image: NDArray[np.uint8], x: float, y: float) -> NDArray[np.float64]:
    left, top = math.floor(x), math.floor(y)
    value = np.zeros(3)
    for row, rest_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, rest_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                value += image[row, column] * (rest_x * rest_y)
    return value
