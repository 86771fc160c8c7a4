"""Quality: the documented formulae recomputed by loops, and that worse pictures never score better."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kith.detector import Detection
from kith.manifest import TEMPLATE
from kith.quality import assess

FRONTAL = np.array(TEMPLATE, np.float32)


def textured(seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(40, 216, (28, 28, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (112, 112), interpolation=cv2.INTER_CUBIC), np.uint8)


def found(side: float = 100, landmarks: NDArray[np.float32] = FRONTAL) -> Detection:
    return Detection((5.0, 5.0, side, side * 1.3), landmarks, 0.9)


def test_sharpness_and_brightness_are_what_a_loop_over_pixels_gives() -> None:
    crop = textured()
    grey = [[round(0.299 * float(r) + 0.587 * float(g) + 0.114 * float(b)) for r, g, b in row] for row in crop]
    rows, columns = range(24, 104), range(20, 92)
    # OpenCV mirrors at the border of what it is given: the cut-out, without its own edge row.
    at = [[grey[y][x] for x in columns] for y in rows]

    def pixel(y: int, x: int) -> int:
        last_y, last_x = len(at) - 1, len(at[0]) - 1
        return at[last_y - abs(last_y - abs(y))][last_x - abs(last_x - abs(x))]

    laplacian = [
        pixel(y - 1, x) + pixel(y + 1, x) + pixel(y, x - 1) + pixel(y, x + 1) - 4 * pixel(y, x)
        for y in range(len(at))
        for x in range(len(at[0]))
    ]
    mean = sum(laplacian) / len(laplacian)
    variance = sum((value - mean) ** 2 for value in laplacian) / len(laplacian)
    result = assess(crop, None)
    assert result.sharpness == pytest.approx(variance / (variance + 40), rel=1e-2)
    light = sum(map(sum, at)) / (len(at) * len(at[0]))
    assert result.brightness == pytest.approx(min(1, light / 60, (255 - light) / 55), rel=1e-2)


def test_the_value_is_the_product_of_the_parts() -> None:
    turned = FRONTAL.copy()
    turned[2, 0] += 6
    result = assess(textured(), found(40, turned))
    parts = [result.size, result.sharpness, result.pose, result.brightness]
    assert all(0 < part < 1 for part in parts[:3])
    assert result.value == pytest.approx(parts[0] * parts[1] * parts[2] * parts[3])


def test_aligned_input_is_taken_to_be_large_and_frontal() -> None:
    result = assess(textured(), None)
    assert (result.size, result.pose) == (1.0, 1.0)


def test_more_blur_is_never_sharper() -> None:
    crop = textured()
    scores = [
        assess(np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), np.uint8), None).sharpness
        for sigma in (0.5, 1, 2, 4, 8)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.1
    assert assess(crop, None).sharpness > 0.8


@given(st.floats(1, 300), st.floats(1, 300))
def test_a_larger_face_is_never_worse(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert assess(textured(), found(small)).size <= assess(textured(), found(large)).size


@given(st.floats(0, 40), st.floats(0, 40), st.sampled_from([0, 1]), st.sampled_from([-1, 1]))
def test_turning_further_away_is_never_better(one: float, other: float, axis: int, sign: int) -> None:
    scores = []
    for distance in sorted((one, other)):
        turned = FRONTAL.copy()
        # From the exact middle, so that more is further on both sides.
        turned[2] = (FRONTAL[:2].mean(axis=0) + FRONTAL[3:].mean(axis=0)) / 2
        turned[2, axis] += sign * distance
        scores.append(assess(textured(), found(100, turned)).pose)
    # The middle is rounded, so that less than a thousandth of a pixel may turn towards it.
    assert scores[0] >= scores[1] - 1e-8


def test_a_nose_at_an_eye_halves_the_pose_and_the_template_is_frontal() -> None:
    turned = FRONTAL.copy()
    turned[2] = [FRONTAL[0, 0], FRONTAL[2, 1]]
    assert assess(textured(), found(100, turned)).pose == pytest.approx(0.5, abs=0.02)
    turned[2, 0] -= FRONTAL[1, 0] - FRONTAL[0, 0]
    assert assess(textured(), found(100, turned)).pose == pytest.approx(1 / (1 + 3**2), abs=0.02)
    assert assess(textured(), found(100, FRONTAL)).pose > 0.95


@given(st.floats(-math.pi, math.pi), st.floats(0.2, 5))
def test_pose_does_not_change_when_the_picture_is_turned_or_scaled(angle: float, scale: float) -> None:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = (FRONTAL @ turn.T * scale + 50).astype(np.float32)
    assert assess(textured(), found(100, moved)).pose == pytest.approx(assess(textured(), found()).pose, abs=1e-3)


def test_darker_than_dark_and_brighter_than_bright_is_worse() -> None:
    levels = [
        assess(np.full((112, 112, 3), grey, np.uint8), None).brightness for grey in (0, 30, 60, 130, 200, 228, 255)
    ]
    assert levels == pytest.approx([0, 0.5, 1, 1, 1, 27 / 55, 0])


def test_landmarks_in_one_place_have_no_pose() -> None:
    assert assess(textured(), found(100, np.full((5, 2), 3.0, np.float32))).pose == 0
