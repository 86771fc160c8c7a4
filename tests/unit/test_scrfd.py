"""SCRFD's answers decoded as a loop over its anchors decodes them, from networks made by hand."""

import math
import threading
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kith.detector import Detection
from kith.errors import InvalidPack
from kith.scrfd import Scrfd
from tests.onnx_models import STRIDES, embedder, scrfd, scrfd_weights

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]


def blots(height: int, width: int, seed: int = 0) -> Pixels:
    """Coloured squares: each cell of the grids has a mean colour of its own."""
    cells = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    return cells.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].astype(np.uint8)


def naive(image: Pixels, sides: tuple[int, int], seed: int = 0) -> list[tuple[float, Box, list[tuple[float, float]]]]:
    """Score, box and landmarks of every anchor of at least 0.5 that no better one overlaps by more than 0.4."""
    found = []
    for stride in STRIDES:
        for row in range(sides[0] // stride):
            for column in range(sides[1] // stride):
                colour = [0.0, 0.0, 0.0]
                for channel in range(3):
                    for y in range(row * stride, (row + 1) * stride):
                        for x in range(column * stride, (column + 1) * stride):
                            inside = y < image.shape[0] and x < image.shape[1]
                            pixel = float(image[y, x, channel]) if inside else 0.0
                            colour[channel] += (pixel - 127.5) / 128 / stride**2
                for anchor in range(2):
                    numbers: list[float] = []
                    for width in (1, 4, 10):
                        weight, bias = scrfd_weights(seed)[stride, width]
                        numbers += [
                            float(weight[n] @ colour + bias[n]) for n in range(anchor * width, (anchor + 1) * width)
                        ]
                    x, y = column * stride, row * stride
                    left, top, right, bottom = (number * stride for number in numbers[1:5])
                    box = (x - left, y - top, left + right, top + bottom)
                    marks = [(x + numbers[5 + 2 * k] * stride, y + numbers[6 + 2 * k] * stride) for k in range(5)]
                    found.append((1 / (1 + math.exp(-numbers[0])), box, marks))
    kept: list[tuple[float, Box, list[tuple[float, float]]]] = []
    for face in sorted((face for face in found if face[0] >= 0.5), key=lambda face: -face[0]):
        if all(overlap(face[1], other[1]) <= 0.4 for other in kept):
            kept.append(face)
    return kept


def overlap(a: Box, b: Box) -> float:
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def check(found: list[Detection], expected: list[Any], factor: tuple[float, float] = (1, 1)) -> None:
    across, down = factor
    assert len(found) == len(expected) > 2
    areas = [face.box[2] * face.box[3] for face in found]
    assert areas == sorted(areas, reverse=True)
    by_score = sorted(found, key=lambda face: -face.score)
    for face, (score, (x, y, width, height), marks) in zip(by_score, expected, strict=True):
        assert face.score == pytest.approx(score, abs=1e-4)
        assert face.box == pytest.approx((x * across, y * down, width * across, height * down), abs=0.02)
        assert face.landmarks == pytest.approx(np.array(marks) * factor, abs=0.02)
        assert face.landmarks.dtype == np.float32


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 75)])
def test_every_anchor_is_decoded_as_a_loop_decodes_it(height: int, width: int, batched: bool) -> None:
    image = blots(height, width)
    check(Scrfd(scrfd(batched=batched)).detect(image), naive(image, (64, 96)))


def test_the_outputs_may_come_in_any_order() -> None:
    image = blots(64, 64, seed=3)
    plain = Scrfd(scrfd()).detect(image)
    for found, expected in zip(Scrfd(scrfd(order=(8, 0, 4, 2, 6, 1, 5, 3, 7))).detect(image), plain, strict=True):
        assert found.box == expected.box
        assert np.array_equal(found.landmarks, expected.landmarks)


def test_a_large_photo_is_reduced_and_answered_in_its_own_pixels() -> None:
    image = blots(150, 290, seed=1)
    seen = cv2.resize(image, (128, 66), interpolation=cv2.INTER_AREA)
    expected = naive(np.asarray(seen, np.uint8), (96, 128))
    check(Scrfd(scrfd(), max_side=128).detect(image), expected, (290 / 128, 150 / 66))


def test_a_network_of_fixed_sides_has_every_image_brought_to_them() -> None:
    detector = Scrfd(scrfd(sides=(64, 96)))
    image = blots(40, 30, seed=2)
    seen = cv2.resize(image, (48, 64), interpolation=cv2.INTER_LINEAR)
    check(detector.detect(image), naive(np.asarray(seen, np.uint8), (64, 96)), (30 / 48, 40 / 64))
    assert detector.detect(blots(480, 640)) is not None


def test_where_nothing_scores_an_empty_list_comes_back() -> None:
    detector = Scrfd(scrfd())
    assert detector.detect(np.zeros((50, 70, 3), np.uint8)) == []
    assert detector.detect(np.zeros((1, 1, 3), np.uint8)) == []


def test_many_threads_get_the_answers_of_one() -> None:
    detector = Scrfd(scrfd())
    images = [blots(60 + 7 * n, 90, seed=n) for n in range(6)]
    alone = [[face.box for face in detector.detect(image)] for image in images]
    together: dict[int, list[Box]] = {}

    def work(number: int) -> None:
        together[number] = [face.box for face in detector.detect(images[number])]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(6)] == alone


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"rubbish", "not an ONNX model"),
        (embedder(), "cannot be run on 96×64 pixels|takes inputs of"),
        (scrfd(order=range(6)), r"not an SCRFD with landmarks.*\(192, 1\)"),
        (scrfd(sides=(64, "w")), "free sides or multiples of 32"),
        (scrfd(sides=(60, 60)), "free sides or multiples of 32"),
    ],
    ids=["rubbish", "embedder", "no landmarks", "one free side", "odd sides"],
)
def test_what_is_no_scrfd_is_refused(model: bytes, message: str) -> None:
    with pytest.raises(InvalidPack, match=message):
        Scrfd(model, "pack/faces.onnx")


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_what_is_no_rgb_image_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match=r"an image is \(height, width, 3\) uint8"):
        Scrfd(scrfd()).detect(image)
