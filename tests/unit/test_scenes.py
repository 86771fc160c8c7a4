"""Scenes: where faces end up, at which size, and that a seed gives the very same picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kith.detector import Detection
from kith.errors import Rejected
from kith.training import scenes
from kith.training.cutouts import Cutout, cut_faces, photographs, read_photograph
from kith.training.scenes import WINDOW_FACE_PX, WINDOW_PX, Scene, scene, window

#: A face in these tests is a bright green rectangle in the middle of something dark.
GREEN = (0, 255, 0)


def cutout(width: int = 30, height: int = 40) -> Cutout:
    pixels = np.full((2 * height, 2 * width, 3), 20, np.uint8)
    pixels[height // 2 : height // 2 + height, width // 2 : width // 2 + width] = GREEN
    return Cutout(pixels, (width / 2, height / 2, width, height))


def green_box(pixels: NDArray[np.uint8]) -> list[float]:
    """x, y, width, height of what is more green than not."""
    green = pixels[..., 1].astype(int) - pixels[..., 0] > 110
    rows, columns = np.flatnonzero(green.any(axis=1)), np.flatnonzero(green.any(axis=0))
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]


@pytest.fixture
def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good weather, nothing in front, black backgrounds, nobody turned: so that a face can be measured."""
    monkeypatch.setattr(scenes, "_weather", lambda pixels, rng: pixels)
    monkeypatch.setattr(scenes, "_cover", lambda *_: None)
    monkeypatch.setattr(scenes, "_background", lambda cutouts, rng, side: np.zeros((side, side, 3), np.uint8))
    turn = scenes._turn
    monkeypatch.setattr(scenes, "_turn", lambda cutout, face_px, _, middle: turn(cutout, face_px, 0.0, middle))


def inside(box: NDArray[np.float32], side: int) -> bool:
    return bool((box[:2] >= 0).all() and (box[:2] + box[2:] <= side).all())


@pytest.mark.usefixtures("clear")
def test_a_face_is_where_its_box_says() -> None:
    looked = 0
    for seed in range(120):
        made = scene([cutout()], np.random.default_rng(seed), 160)
        if len(made.boxes) == 1 and inside(made.boxes[0], 160) and made.boxes[0, 2] > 12:
            looked += 1
            # A feathered rim and the pixel grid blur an edge by a pixel.
            assert green_box(made.pixels) == pytest.approx(made.boxes[0].tolist(), abs=2)
    assert looked > 15


@pytest.mark.usefixtures("clear")
def test_a_turned_face_keeps_its_middle_and_its_size() -> None:
    made = np.zeros((160, 160, 3), np.uint8)
    face = cutout(40, 40)
    matrix = cv2.getRotationMatrix2D((40, 40), 30, 1.5)
    matrix[:, 2] += [40, 30]
    scenes._warp(face, matrix, made)
    x, y, width, height = scenes._box_in(face, matrix)
    assert (x + width / 2, y + height / 2) == pytest.approx((80, 70), abs=1e-4)
    assert (width, height) == pytest.approx((60, 60), abs=1e-4)
    left, top, wide, high = green_box(made)
    assert (left + wide / 2, top + high / 2) == pytest.approx((80, 70), abs=1)


@pytest.mark.usefixtures("clear")
def test_a_window_shows_a_face_as_it_is_looked_at_again() -> None:
    sizes = []
    for seed in range(60):
        made = window([cutout()], np.random.default_rng(seed))
        assert made.pixels.shape == (WINDOW_PX, WINDOW_PX, 3)
        x, y, width, height = made.boxes[0]
        assert abs(x + width / 2 - WINDOW_PX / 2) < 16
        assert abs(y + height / 2 - WINDOW_PX / 2) < 16
        sizes.append(np.sqrt(width * height))
    assert min(sizes) >= 0.8 * WINDOW_FACE_PX
    assert max(sizes) <= 1.25 * WINDOW_FACE_PX
    assert np.mean(sizes) == pytest.approx(WINDOW_FACE_PX, rel=0.1)


def test_a_seed_gives_the_same_picture_and_another_seed_another() -> None:
    faces = [cutout(), cutout(20, 20)]

    def made(seed: int) -> list[Scene]:
        rng = np.random.default_rng(seed)
        return [scene(faces, rng, 96), window(faces, rng), scene(faces, rng, 96)]

    for one, again in zip(made(5), made(5), strict=True):
        assert np.array_equal(one.pixels, again.pixels)
        assert np.array_equal(one.boxes, again.boxes)
    assert not np.array_equal(made(5)[0].pixels, made(6)[0].pixels)


def test_every_scene_is_a_picture_of_the_size_asked_for_and_no_cutout_is_changed() -> None:
    faces = [cutout(), cutout(8, 10), cutout(80, 60)]
    before = [face.pixels.copy() for face in faces]
    counts = set()
    for seed in range(60):
        made = scene(faces, np.random.default_rng(seed), 64)
        assert made.pixels.shape == (64, 64, 3)
        assert made.pixels.dtype == np.uint8
        assert made.boxes.shape == (len(made.boxes), 4)
        counts.add(len(made.boxes))
    assert counts == {0, 1, 2, 3, 4, 5, 6}
    assert all(np.array_equal(face.pixels, saved) for face, saved in zip(faces, before, strict=True))


def test_half_of_the_faces_are_mirrored() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, :20] = 255
    face = Cutout(pixels, (4, 10, 20, 20))
    rng = np.random.default_rng(0)
    drawn = [scenes._any([face], rng) for _ in range(200)]
    mirrored = [each for each in drawn if each.pixels[0, 0, 0] == 0]
    assert 60 < len(mirrored) < 140
    assert {each.box for each in mirrored} == {(16, 10, 20, 20)}


class TestCutouts:
    class Finder:
        """Finds one face at a fixed place, on pictures that are not black."""

        def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
            self.boxes = boxes

        def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
            points = np.zeros((5, 2), np.float32)
            return [Detection(box, points, 0.9) for box in self.boxes] if image.any() else []

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        for name in ("ada/1", "ada/2", "bob/3"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(1, 255, (300, 400, 3), dtype=np.uint8))
        (tmp_path / "bob" / "4.png").write_bytes(b"no picture")
        cv2.imwrite(str(tmp_path / "bob" / "5.png"), np.zeros((50, 50, 3), np.uint8))
        return tmp_path

    def test_a_cutout_is_the_photograph_around_the_face(self, folder: Path) -> None:
        file = folder / "ada" / "1.png"
        (face,) = cut_faces([file], self.Finder((100, 90, 50, 60)))
        pixels = read_photograph(file)
        assert pixels is not None
        x, y, width, height = face.box
        assert (width, height) == (50, 60)
        # More than the box on each side, and the very pixels of the photograph.
        assert x >= 25
        assert y >= 30
        left, top = round(100 - x), round(90 - y)
        assert np.array_equal(face.pixels, pixels[top : top + face.pixels.shape[0], left : left + face.pixels.shape[1]])

    def test_large_faces_are_reduced_and_their_boxes_with_them(self, folder: Path) -> None:
        (face,) = cut_faces([folder / "ada" / "1.png"], self.Finder((50, 50, 200, 200)))
        assert max(face.pixels.shape) == 160
        assert face.box[2] / face.pixels.shape[1] == pytest.approx(200 / 370, rel=0.01)

    def test_tiny_faces_unreadable_files_and_empty_pictures_give_none_and_cost_no_other(self, folder: Path) -> None:
        found = photographs([folder], 100, 0)
        assert len(found) == 5
        told: list[int] = []
        faces = cut_faces(found, self.Finder((10, 10, 40, 40), (300, 10, 8, 8)), 2, told.append)
        assert len(faces) == 3
        assert told == [1, 2, 3, 4, 5]

    def test_no_face_at_all_is_an_error_that_says_so(self, folder: Path) -> None:
        with pytest.raises(Rejected, match="none of the 1 pictures shows a face of 24 pixels"):
            cut_faces([folder / "bob" / "5.png"], self.Finder((0, 0, 40, 40)))
        (folder / "empty").mkdir()
        with pytest.raises(Rejected, match="no pictures in"):
            photographs([folder / "empty"], 5, 0)

    def test_a_sample_of_the_photographs_is_the_same_for_the_same_seed(self, folder: Path) -> None:
        assert photographs([folder], 3, 1) == photographs([folder], 3, 1)
        assert len(photographs([folder], 3, 1)) == 3
        assert photographs([folder / "ada", folder / "bob" / "3.png"], 9, 0) != []
        assert {photographs([folder], 3, seed)[0] for seed in range(20)} == set(photographs([folder], 9, 0))
