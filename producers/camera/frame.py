"""One frame of a camera. It stays as the decoder left it until somebody needs the pixels.

Of most frames only a thumbnail of the brightness is ever looked at (gate.py), and that lies ready in the decoder's own
format: converting to RGB costs as much as decoding did.
"""

from dataclasses import dataclass
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

#: Formats whose first plane is the brightness of every pixel, a byte each.
_BRIGHTNESS_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21", "gray")


class Picture(Protocol):
    """What was decoded."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        ...

    def grey(self, width: int) -> Pixels:
        """Its brightness, reduced to `width` pixels across: (height, width) uint8."""
        ...

    def rgb(self) -> Pixels:
        """(height, width, 3) uint8 RGB."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """at_ms: Unix milliseconds when it arrived (of a recording, when it was recorded, as if that had ended at its
    opening). at_s: seconds on a clock that never jumps, from any zero; distances in time are measured by it."""

    picture: Picture
    at_ms: int
    at_s: float


class DecodedPicture:
    """A frame of PyAV."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._frame = frame

    @property
    def size(self) -> tuple[int, int]:
        return self._frame.width, self._frame.height

    def grey(self, width: int) -> Pixels:
        if self._frame.format.name not in _BRIGHTNESS_FIRST:
            return _reduced(np.asarray(self._frame.to_ndarray(format="gray"), np.uint8), width)
        plane = self._frame.planes[0]
        # Rows of the decoder are longer than the picture: they end at a multiple of its block.
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return _reduced(rows[: self._frame.height, : self._frame.width], width)

    def rgb(self) -> Pixels:
        return np.asarray(self._frame.to_ndarray(format="rgb24"), np.uint8)


class PlainPicture:
    """A frame that is an array already, (height, width, 3) uint8 RGB."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    @property
    def size(self) -> tuple[int, int]:
        return self._pixels.shape[1], self._pixels.shape[0]

    def grey(self, width: int) -> Pixels:
        # Reduced first: the smaller picture costs less to convert.
        return np.asarray(cv2.cvtColor(_reduced(self._pixels, width), cv2.COLOR_RGB2GRAY), np.uint8)

    def rgb(self) -> Pixels:
        return self._pixels


def _reduced(pixels: Pixels, width: int) -> Pixels:
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    if pixels.shape[1] <= width:
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
