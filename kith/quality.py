"""How well a face can be recognised: four parts, each 0..1 and 1 is best, and their combination.

    size        min(1, s / 80), s the shorter side of the face's box in pixels of the image. At 80 the 112×112 crop is
                about as large as the face it was cut from; below, the warp invents pixels.
    sharpness   v / (v + 40), v the variance of the Laplacian over the middle of the grey crop (Pech-Pacheco et al.,
                "Diatom autofocusing in brightfield microscopy", 2000). An in-focus face has 300 and more: above 0.88.
    pose        1 / (1 + t²), t the larger of yaw and pitch, from the landmarks. yaw: how far the nose has left the
                middle between the eyes, in half eye distances; pitch: how far it has left the middle between eyes and
                mouth, in half that distance. So t is 0 for a frontal face, 1 (pose 0.5) when the nose reaches an eye,
                the eye line or the mouth line, more in profile. In-plane rotation costs nothing, alignment undoes it.
    brightness  mean grey value of the middle of the crop: 1 from 60 to 200, falling straight to 0 at 0 and at 255.
    value       the product of the four: 0 as soon as one of them is, and no part can hide behind the others.

Aligned input comes without a detection: its size and pose are taken as 1, whoever cut the crop has judged them.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.detector import Detection
from kith.jobs import Quality

_FULL_SIZE_PX = 80
_HALF_SHARPNESS = 40.0
_DARK, _BRIGHT = 60.0, 200.0

#: Rows and columns of the 112×112 crop that show face rather than background, hair and the black beyond the image.
_FACE = slice(24, 104), slice(20, 92)


def assess(crop: NDArray[np.uint8], detection: Detection | None) -> Quality:
    """The quality of one aligned crop, (112, 112, 3) uint8 RGB, found at `detection` (None for aligned input)."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[_FACE]
    parts = {
        "size": 1.0 if detection is None else _size(detection),
        "sharpness": _sharpness(grey),
        "pose": 1.0 if detection is None else _pose(detection.landmarks),
        "brightness": _brightness(grey),
    }
    return Quality(value=math.prod(parts.values()), **parts)


def _size(detection: Detection) -> float:
    return _share(min(detection.box[2:]) / _FULL_SIZE_PX)


def _sharpness(grey: NDArray[Any]) -> float:
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return variance / (variance + _HALF_SHARPNESS)


def _pose(landmarks: NDArray[np.float32]) -> float:
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks.astype(np.float64)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = right_eye - left_eye, mouth - eyes
    # Landmarks in one place have no pose; the worst one is the safe answer.
    if not across.any() or not down.any():
        return 0.0
    yaw = abs((nose - eyes) @ across / (across @ across)) * 2
    pitch = abs((nose - eyes) @ down / (down @ down) - 0.5) * 2
    return float(1 / (1 + max(yaw, pitch) ** 2))


def _brightness(grey: NDArray[Any]) -> float:
    mean = float(grey.mean())
    return _share(min(mean / _DARK, (255 - mean) / (255 - _BRIGHT)))


def _share(value: float) -> float:
    return float(min(1.0, max(0.0, value)))
