"""YuNet around its network: a stand-in network marks every green square as a face, so that scaling, padding,
mirroring and suppression can be checked against where the squares were drawn. The real network is in
tests/integration/test_shared_weights.py."""

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.detector import Detection
from kith.errors import InvalidPack
from kith.yunet import YuNet

#: Landmarks of a square, as shares of its side; unlike a face's they tell left from right.
MARKS = np.array([[0.2, 0.3], [0.7, 0.25], [0.4, 0.5], [0.3, 0.8], [0.6, 0.75]])
MIRRORED = np.array([[1 - x, y] for x, y in MARKS])[[1, 0, 2, 4, 3]]


class _Named:
    def __init__(self, name: str, shape: list[object]) -> None:
        self.name, self.shape = name, shape


class _Squares:
    """Answers as YuNet would for an image whose faces are squares; a square's red is its score. See MARKS.

    It only sees squares of 10 to 150 pixels, and answers in every cell the centre is near, as a real network does.
    """

    def __init__(self, *_: object, **__: object) -> None:
        self.calls: list[tuple[int, ...]] = []

    def get_inputs(self) -> list[_Named]:
        return [_Named("input", ["batch", 3, "height", "width"])]

    def get_outputs(self) -> list[_Named]:
        return [_Named(f"{part}_{stride}", []) for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]

    def run(self, names: list[str], feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        canvas = feed["input"]
        self.calls.append(canvas.shape)
        assert canvas.shape[2] % 32 == canvas.shape[3] % 32 == 0
        out = {}
        for name in names:
            part, stride = name.split("_")
            cells = (canvas.shape[2] // int(stride)) * (canvas.shape[3] // int(stride))
            width = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}[part]
            out[name] = np.zeros((len(canvas), cells, width), np.float32)
        for row, image in enumerate(canvas):
            for x, y, side, score, mirrored in _squares(image):
                self._mark(out, row, canvas.shape[3], (x, y, side), score, MIRRORED if mirrored else MARKS)
        return [out[name] for name in names]

    @staticmethod
    def _mark(
        out: dict[str, NDArray[np.float32]],
        row: int,
        width: int,
        square: tuple[float, float, float],
        score: float,
        marks: NDArray[np.float64],
    ) -> None:
        x, y, side = square
        for stride in (8, 16, 32):
            column, line = int((x + side / 2) // stride), int((y + side / 2) // stride)
            cell = line * (width // stride) + column
            out[f"cls_{stride}"][row, cell] = score
            # Beyond 1, as the real outputs can be by rounding.
            out[f"obj_{stride}"][row, cell] = min(1.0001, score + stride / 1000)
            centre = np.array([x, y]) + side / 2
            corner = np.array([column, line]) * stride
            out[f"bbox_{stride}"][row, cell] = [*(centre - corner) / stride, *np.log([side / stride] * 2)]
            out[f"kps_{stride}"][row, cell] = ((np.array([x, y]) + marks * side - corner) / stride).ravel()


def _squares(image: NDArray[np.float32]) -> list[tuple[float, float, float, float, bool]]:
    """x, y, side, score and whether it is mirrored, of each green square of a BGR canvas."""
    blue, green, red = image
    found = []
    left = green > 100
    while left.any():
        y, x = np.argwhere(left)[0]
        # One shade of green per square tells neighbours apart.
        mine = left & (np.abs(green - green[y, x]) < 3)
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        left &= ~mine
        side = (len(rows) + len(columns)) / 2
        if 10 <= side <= 150:
            middle = (columns[0] + columns[-1]) // 2
            # The left half is drawn a little blue.
            mirrored = blue[rows][:, columns[0] : middle].sum() < blue[rows][:, middle + 1 : columns[-1] + 1].sum()
            score = float(np.median(red[mine])) / 255
            found.append((float(columns[0]), float(rows[0]), side, score, bool(mirrored)))
    return found


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> _Squares:
    squares = _Squares()
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: squares)
    return squares


def draw(height: int, width: int, *squares: tuple[int, int, int, float]) -> NDArray[np.uint8]:
    """An RGB image with squares (x, y, side, score)."""
    image = np.zeros((height, width, 3), np.uint8)
    for number, (x, y, side, score) in enumerate(squares):
        patch = image[y : y + side, x : x + side]
        patch[:] = (round(score * 255), 250 - 20 * number, 0)
        patch[:, : side // 2, 2] = 90
    return image


def check(found: Detection, square: tuple[int, int, int, float], tolerance: float) -> None:
    x, y, side, score = square
    assert found.box == pytest.approx((x, y, side, side), abs=tolerance)
    assert found.landmarks == pytest.approx(np.array([x, y]) + MARKS * side, abs=tolerance)
    assert found.landmarks.dtype == np.float32
    assert found.score == pytest.approx(score, abs=0.03)


@pytest.mark.parametrize(("height", "width"), [(160, 160), (139, 160), (33, 97), (250, 101)])
def test_faces_are_found_where_they_are_in_images_of_any_size(network: _Squares, height: int, width: int) -> None:
    square = (width // 5, height // 6, min(height, width) // 2, 0.9)
    (found,) = YuNet(b"").detect(draw(height, width, square))
    check(found, square, tolerance=1.0)


def test_a_large_photo_is_reduced_and_answered_in_its_own_pixels(network: _Squares) -> None:
    square = (900, 300, 200, 0.8)
    (found,) = YuNet(b"", max_side=640).detect(draw(900, 1600, square))
    check(found, square, tolerance=2.5)
    assert network.calls[0] == (1, 3, 384, 640)


def test_a_small_face_of_a_large_photo_is_found_at_the_second_try(network: _Squares) -> None:
    square = (1000, 500, 18, 0.8)
    (found,) = YuNet(b"", max_side=640).detect(draw(720, 1280, square))
    check(found, square, tolerance=2.0)
    assert [shape[2:] for shape in network.calls[:2]] == [(384, 640), (736, 1280)]


def test_a_tiny_image_is_enlarged_at_the_second_try(network: _Squares) -> None:
    square = (4, 5, 9, 0.8)
    (found,) = YuNet(b"").detect(draw(20, 20, square))
    check(found, square, tolerance=1.0)


def test_faces_come_largest_first(network: _Squares) -> None:
    squares = ((10, 10, 30, 0.95), (60, 20, 80, 0.7), (200, 30, 50, 0.9))
    found = YuNet(b"").detect(draw(160, 300, *squares))
    assert [round(face.box[2]) for face in found] == [80, 50, 30]


def test_what_scores_too_low_is_no_face(network: _Squares) -> None:
    image = draw(160, 300, (10, 10, 60, 0.4), (150, 20, 60, 0.8))
    assert len(YuNet(b"", min_score=0.6).detect(image)) == 1
    assert len(YuNet(b"", min_score=0.3).detect(image)) == 2


def test_an_image_without_faces_gives_an_empty_list(network: _Squares) -> None:
    assert YuNet(b"").detect(np.zeros((50, 70, 3), np.uint8)) == []
    assert YuNet(b"").detect(np.zeros((1, 1, 3), np.uint8)) == []


def test_the_landmarks_are_the_mean_of_a_face_and_its_mirror_image(
    network: _Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A network that is wrong to the right by a tenth of the side: looking from both sides, the errors cancel.
    plain = network._mark

    def biased(out: Any, row: int, width: int, square: Any, score: float, marks: NDArray[np.float64]) -> None:
        plain(out, row, width, square, score, marks + np.array([0.1, 0]))

    monkeypatch.setattr(network, "_mark", biased)
    square = (40, 40, 70, 0.9)
    (found,) = YuNet(b"").detect(draw(160, 160, square))
    check(found, square, tolerance=1.0)


def test_a_face_beyond_the_edge_is_looked_at_again_too(network: _Squares) -> None:
    image = draw(200, 200, (50, 50, 100, 0.9))[70:, 60:]
    (found,) = YuNet(b"").detect(np.ascontiguousarray(image))
    assert found.box[:2] == pytest.approx((0, 0), abs=12)
    assert np.isfinite(found.landmarks).all()


def test_a_neighbour_does_not_lend_its_landmarks(network: _Squares) -> None:
    squares = ((20, 40, 60, 0.9), (84, 40, 60, 0.9))
    found = YuNet(b"").detect(draw(140, 200, *squares))
    for face, square in zip(sorted(found, key=lambda face: face.box[0]), squares, strict=True):
        check(face, square, tolerance=1.5)


def test_a_crowd_is_looked_at_in_several_calls(network: _Squares) -> None:
    squares = [(10 + 50 * column, 10 + 50 * line, 24, 0.9) for line in range(2) for column in range(6)]
    image = np.zeros((110, 310, 3), np.uint8)
    for number, (x, y, side, _) in enumerate(squares):
        image[y : y + side, x : x + side] = (230, 250 - 10 * number, 0)
        image[y : y + side, x : x + side // 2, 2] = 90
    assert len(YuNet(b"").detect(image)) == 12
    assert [shape[0] for shape in network.calls] == [1, 16, 8]


def test_a_network_that_takes_one_image_gets_one_and_answers_the_same(
    network: _Squares, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = draw(160, 300, (10, 10, 60, 0.9), (150, 20, 80, 0.8))
    expected = YuNet(b"").detect(image)
    network.calls.clear()
    monkeypatch.setattr(network, "get_inputs", lambda: [_Named("input", [1, 3, "height", "width"])])
    found = YuNet(b"").detect(image)
    assert {shape[0] for shape in network.calls} == {1}
    for one, other in zip(found, expected, strict=True):
        assert one.box == other.box
        assert np.array_equal(one.landmarks, other.landmarks)


def test_many_threads_get_the_answers_of_one(network: _Squares) -> None:
    detector = YuNet(b"")
    images = [draw(100 + 7 * n, 120, (10 + n, 12, 50, 0.9)) for n in range(8)]
    alone = [detector.detect(image)[0].box for image in images]
    together: dict[int, tuple[float, ...]] = {}

    def work(number: int) -> None:
        together[number] = detector.detect(images[number])[0].box

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(8)] == alone


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)]
)
def test_what_is_no_rgb_image_is_refused(network: _Squares, image: Any) -> None:
    with pytest.raises(ValueError, match=r"an image is \(height, width, 3\) uint8"):
        YuNet(b"").detect(image)


def test_rubbish_is_no_detector() -> None:
    with pytest.raises(InvalidPack, match="not an ONNX model"):
        YuNet(b"rubbish", "pack/faces.onnx")


def test_another_network_is_no_detector(network: _Squares, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "get_outputs", lambda: [_Named("cls_8", [])])
    with pytest.raises(InvalidPack, match=r"no output .*bbox_16"):
        YuNet(b"")


def test_a_yunet_of_fixed_sides_is_refused(network: _Squares, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ([1, 3, 320, 320], [4, 3, "height", "width"]):
        monkeypatch.setattr(network, "get_inputs", lambda shape=shape: [_Named("input", shape)])
        with pytest.raises(InvalidPack, match="free height and width is needed"):
            YuNet(b"")


def test_to_find_and_then_to_refine_is_to_detect(network: _Squares) -> None:
    detector, image = YuNet(b""), draw(160, 300, (20, 30, 50, 0.8), (150, 40, 90, 0.95))
    coarse = detector.find(image)
    assert len(network.calls) == 1, "one look"
    fine = detector.refine(image, coarse)
    for found, whole in zip(fine, detector.detect(image), strict=True):
        assert (found.box, found.score) == (whole.box, whole.score)
        assert np.array_equal(found.landmarks, whole.landmarks)
    assert len(network.calls) > 2, "and another, at each face"
    assert detector.find(np.zeros((50, 70, 3), np.uint8)) == detector.refine(image, []) == []
