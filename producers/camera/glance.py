"""The last frame of a camera, small, for people who ask what it sees: one now and then, in place of the one before."""

import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from kith.cameras import Camera, LastFrame
from producers.camera.frame import Frame, Pixels

#: Width it is reduced to, and JPEG's quality: enough to see where the camera looks, too little to recognise many by.
_WIDTH, _QUALITY = 320, 70


class Glance:
    """every_s: seconds between two; 0 for none at all. `look` is called by the thread that looks, `take` by another."""

    def __init__(self, camera: Camera, every_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._roi, self._every_s, self._clock_s = camera.roi, every_s, clock_s
        self._due_s = float("-inf")
        self._lock = threading.Lock()
        self._made: LastFrame | None = None

    def look(self, frame: Frame) -> None:
        """Make one of this frame, where it is time. Of a region of interest nothing around it is shown."""
        now_s = self._clock_s()
        if self._every_s <= 0 or now_s < self._due_s:
            return
        self._due_s = now_s + self._every_s
        small = _reduced(self._part(frame.picture.rgb()))
        encoded, data = cv2.imencode(
            ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
        )
        assert encoded
        with self._lock:
            self._made = LastFrame(data.tobytes(), frame.at_ms)

    def take(self) -> LastFrame | None:
        """The one that was made since the last call."""
        with self._lock:
            made, self._made = self._made, None
        return made

    def _part(self, pixels: Pixels) -> Pixels:
        if self._roi is None:
            return pixels
        height, width = pixels.shape[:2]
        x, y, across, down = self._roi
        left, top = round(x * width), round(y * height)
        return pixels[top : top + max(1, round(down * height)), left : left + max(1, round(across * width))]


def _reduced(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    if width <= _WIDTH:
        return np.ascontiguousarray(pixels)
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
