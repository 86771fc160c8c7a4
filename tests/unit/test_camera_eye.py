"""One camera's frames as far as crops and news, with a detector that sees green squares."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kith.cameras import Camera
from kith.detector import Detection
from kith.manifest import TEMPLATE
from kith.watching.news import CameraStarted, Ending, News, TrackBegun, TrackEnded, TracksAlive, Unfit
from producers.camera.counts import Counts
from producers.camera.eye import Alignment, Crop, Eye
from producers.camera.frame import Frame, PlainPicture
from producers.camera.picking import PickingRule
from producers.camera.pressure import LEVELS

CAMERA = Camera("front", "rtsp://cam/1", "door")
NOISE = np.random.default_rng(0).integers(0, 90, (480, 640, 3), np.uint8)
#: Landmarks of a face as shares of its box.
MARKS = (np.asarray(TEMPLATE) - 20) / 80


class Squares:
    """Finds squares by their pure green border; says how often it was asked, and how large the pictures were."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self.refined = 0

    def find(self, image: NDArray[np.uint8]) -> list[Detection]:
        self.found.append(image.shape[:2])
        green = (image[..., 1] == 255) & (image[..., 0] == 0)
        _, _, boxes, _ = cv2.connectedComponentsWithStats(green.astype(np.uint8))
        return [self.face(*map(int, box[:4])) for box in boxes[1:] if min(box[2:4]) > 8]

    def refine(self, image: NDArray[np.uint8], found: Sequence[Detection]) -> list[Detection]:
        self.refined += 1
        return list(found)

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        return self.find(image)

    def face(self, x: int, y: int, width: int, height: int) -> Detection:
        marks = (MARKS * [width, height] + [x, y]).astype(np.float32)
        return Detection((float(x), float(y), float(width), float(height)), marks, 0.95)


class Hall:
    """An eye on a hall in which squares walk."""

    def __init__(self, camera: Camera = CAMERA, rule: PickingRule | None = None) -> None:
        self.detector, self.counts = Squares(), Counts()
        self.news: list[News] = []
        self.crops: list[Crop] = []
        #: What was told and sent, in order.
        self.order: list[str] = []
        self.asked = LEVELS[0]
        self.eye = Eye(
            *(camera, "k3f", self.detector, Alignment(112, TEMPLATE), rule or PickingRule(min_quality=0.1)),
            tell=self._tell,
            send=self._send,
            counts=self.counts,
        )
        self.number = 0

    def _tell(self, news: Sequence[News]) -> None:
        self.news += news
        self.order += [each.news for each in news]

    def _send(self, crop: Crop) -> None:
        self.crops.append(crop)
        self.order.append("crop")

    def show(self, *squares: tuple[int, int, int], times: int = 1, dark: bool = False) -> None:
        """Frames, a fifth of a second apart, in which there are these squares (x, y, side)."""
        for _ in range(times):
            pixels = NOISE.copy()
            for x, y, side in squares:
                inside = np.random.default_rng(side).integers(60, 200, (side, side, 3), np.uint8)
                pixels[y : y + side, x : x + side] = (0, 255, 0)
                pixels[y + 2 : y + side - 2, x + 2 : x + side - 2] = 4 if dark else inside[2:-2, 2:-2]
            self.eye.look(
                Frame(PlainPicture(pixels), 1_000_000 + 200 * self.number, 50 + 0.2 * self.number), self.asked
            )
            self.number += 1

    def of(self, kind: type) -> list[News]:
        return [each for each in self.news if isinstance(each, kind)]


def test_somebody_walks_through_and_all_of_it_is_told_in_order() -> None:
    hall = Hall()
    hall.eye.begin(999_000)
    for step in range(20):
        hall.show((100 + 20 * step, 200, 90))
    hall.show(times=12)

    assert hall.news[:2] == [CameraStarted("front", "k3f", 999_000), TrackBegun("front", "front.k3f.1", 1_000_000)]
    assert hall.of(TrackEnded) == [
        TrackEnded("front", "front.k3f.1", 1_000_000 + 200 * 19, Ending.LEFT, crops=len(hall.crops))
    ]
    assert hall.of(TracksAlive)[0] == TracksAlive("front", ("front.k3f.1",), 1_000_000)
    assert [each.at_ms for each in hall.of(TracksAlive)] == [1_000_000, 1_002_000, 1_004_000]
    assert hall.order[:4] == ["camera_started", "track_begun", "tracks_alive", "crop"]
    assert hall.order[-1] == "track_ended"
    assert hall.eye.tracks == 0


def test_a_crop_is_the_aligned_face_and_says_where_and_when_it_was_seen() -> None:
    hall = Hall()
    hall.show((300, 200, 100))
    [crop] = hall.crops
    assert crop.pixels.shape == (112, 112, 3)
    seen = crop.seen
    assert (seen.camera, seen.track, seen.at_ms, seen.number) == ("front", "front.k3f.1", 1_000_000, 1)
    assert (seen.box, seen.frame_px) == ((300, 200, 100, 100), (640, 480))
    assert seen.quality is not None
    assert seen.quality.size == 1


def test_crops_are_few_and_only_those_are_looked_at_twice() -> None:
    hall = Hall()
    hall.show((300, 200, 100), times=60)
    assert [crop.seen.number for crop in hall.crops] == list(range(1, len(hall.crops) + 1))
    assert 3 <= len(hall.crops) <= 8
    assert hall.detector.refined == len(hall.crops)
    counts = hall.counts.take()
    assert (counts["frames"], counts["faces"], counts["tracks"], counts["crops"]) == (60, 60, 1, len(hall.crops))


def test_under_pressure_a_track_has_fewer_crops_and_those_withheld_are_counted() -> None:
    hall = Hall()
    hall.asked = LEVELS[3]
    hall.show((300, 200, 100), times=15)
    assert len(hall.crops) == 1
    assert hall.counts.take()["dropped_withheld"] == 4
    hall.asked = LEVELS[0]
    hall.show((300, 200, 100), times=15)
    assert len(hall.crops) == 3


def test_a_quiet_hall_is_hardly_ever_searched_and_a_face_that_stands_still_always() -> None:
    quiet, standing = Hall(), Hall()
    quiet.show(times=50)
    standing.show((300, 200, 100), times=50)
    assert len(quiet.detector.found) < 15
    assert len(standing.detector.found) == 50


@pytest.mark.parametrize(
    ("square", "dark", "why"), [((300, 200, 20), False, Unfit.TOO_SMALL), ((300, 200, 90), True, Unfit.DARK)]
)
def test_who_cannot_be_recognised_is_told_with_the_reason(square: tuple[int, int, int], dark: bool, why: Unfit) -> None:
    hall = Hall(rule=PickingRule(min_quality=0.5))
    hall.show(square, times=5, dark=dark)
    hall.show(times=12)
    assert hall.crops == []
    assert [(each.crops, each.unfit) for each in hall.of(TrackEnded)] == [(0, why)]  # type: ignore[union-attr]


@pytest.mark.parametrize("out_of_it", [(600, 200, 90, 90), (0, 200, 50, 90), (590, 200, 50, 90), (300, -20, 90, 90)])
def test_a_face_that_is_partly_out_of_the_frame_or_hidden_is_followed_and_not_sent(
    out_of_it: tuple[int, int, int, int],
) -> None:
    """A detector draws its box around what it sees: at the edge that may be half a face."""
    hall = Hall()
    hall.detector.find = lambda image: [  # type: ignore[method-assign]
        hall.detector.face(*out_of_it),
        hall.detector.face(200, 200, 100, 100),
        hall.detector.face(250, 210, 100, 100),
    ]
    hall.show(times=3)
    assert len(hall.of(TrackBegun)) == 3
    assert hall.crops == []


def test_only_the_region_of_interest_is_searched_and_boxes_are_those_of_the_frame() -> None:
    hall = Hall(replace(CAMERA, roi=(0.5, 0.25, 0.5, 0.5)))
    hall.show((100, 200, 90), (400, 200, 90))
    assert hall.detector.found == [(240, 320)]
    assert [crop.seen.box for crop in hall.crops] == [(400, 200, 90, 90)]
    assert hall.crops[0].seen.frame_px == (640, 480)
    whole = Hall()
    whole.show((400, 200, 90))
    assert np.array_equal(whole.crops[0].pixels, hall.crops[0].pixels)


def test_when_the_pictures_break_off_tracks_end_for_that_reason_and_later_ones_have_new_names() -> None:
    hall = Hall()
    hall.show((300, 200, 90), times=3)
    hall.eye.end()
    hall.eye.end()
    hall.show((300, 200, 90), times=3)
    assert [(each.track, each.reason) for each in hall.of(TrackEnded)] == [("front.k3f.1", Ending.SOURCE)]  # type: ignore[union-attr]
    assert [each.track for each in hall.of(TrackBegun)] == ["front.k3f.1", "front.k3f.2"]  # type: ignore[union-attr]


def test_cpu_time_is_counted_by_stage() -> None:
    hall = Hall()
    hall.show((300, 200, 90), times=5)
    counts = hall.counts.take()
    assert {name for name in counts if name.startswith("us_")} == {
        "us_gate",
        "us_convert",
        "us_detect",
        "us_track",
        "us_pick",
    }
    assert all(counts[name] > 0 for name in counts)
