"""One frame of a camera with the faces drawn in, for who sets it up: is it the right place, are faces large enough?"""

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kith import alignment, quality
from kith.cameras import Camera
from kith.detector import Detection
from kith.errors import CameraAway, NoFace
from kith.jobs import Quality
from producers.camera.counts import Counts
from producers.camera.picking import unfit_for
from producers.camera.serving import Equipment
from producers.camera.source import source_of
from producers.camera.thinning import Thinning

#: Frames that are looked at before the picture is taken: many cameras begin with a dark or broken one.
_FRAMES = 5
_GOOD, _UNFIT = (64, 220, 64), (255, 140, 0)


@dataclass(frozen=True, slots=True)
class SnapshotFace:
    """One face of a snapshot. unfit: why it would not be sent, None when it would."""

    box: tuple[float, float, float, float]
    score: float
    quality: Quality | None
    unfit: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """pixels: (height, width, 3) uint8 RGB with the boxes drawn."""

    pixels: NDArray[np.uint8]
    faces: tuple[SnapshotFace, ...]

    def save(self, file: Path) -> None:
        """As PNG. Raises OSError."""
        encoded, data = cv2.imencode(".png", cv2.cvtColor(self.pixels, cv2.COLOR_RGB2BGR))
        assert encoded
        file.write_bytes(data.tobytes())


def snapshot(camera: Camera, equipment: Equipment) -> Snapshot:
    """Open `camera`, take a frame and find its faces as they would be found in service. Raises CameraAway."""
    stop = threading.Event()
    source = source_of(camera.address, equipment.options, Thinning(camera.fps, Counts()), Counts(), stop)
    pixels: NDArray[np.uint8] | None = None
    for number, frame in enumerate(source.frames(), start=1):
        if number <= _FRAMES:
            pixels = frame.picture.rgb()
        if number >= _FRAMES:
            stop.set()
    if pixels is None:
        raise CameraAway("it sent no frame")
    left, top, right, bottom = _region(camera, pixels)
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    detector = equipment.detector
    found = detector.refine(part, detector.find(part))
    drawn = pixels.copy()
    if camera.roi is not None:
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), (90, 160, 255), 2)
    faces = tuple(_judged(part, face, left, top, equipment) for face in found)
    for face in faces:
        _draw(drawn, face)
    return Snapshot(drawn, faces)


def _judged(part: NDArray[np.uint8], face: Detection, left: int, top: int, equipment: Equipment) -> SnapshotFace:
    x, y, width, height = face.box
    box = (x + left, y + top, width, height)
    try:
        crop = alignment.align(part, face.landmarks, equipment.crops.size, equipment.crops.template)
    except NoFace as no_face:
        return SnapshotFace(box, face.score, None, str(no_face))
    assessed = quality.assess(crop, face)
    unfit = unfit_for(assessed, min(width, height), equipment.rule)
    return SnapshotFace(box, face.score, assessed, None if unfit is None else unfit.value)


def _region(camera: Camera, pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    height, width = pixels.shape[:2]
    x, y, across, down = camera.roi or (0.0, 0.0, 1.0, 1.0)
    left, top = round(x * width), round(y * height)
    return left, top, left + max(1, round(across * width)), top + max(1, round(down * height))


def _draw(pixels: NDArray[np.uint8], face: SnapshotFace) -> None:
    x, y, width, height = (round(side) for side in face.box)
    colour = _GOOD if face.unfit is None else _UNFIT
    cv2.rectangle(pixels, (x, y), (x + width, y + height), colour, 2)
    words = face.unfit or (f"{face.quality.value:.2f}" if face.quality else "")
    cv2.putText(pixels, words, (x, max(12, y - 5)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
