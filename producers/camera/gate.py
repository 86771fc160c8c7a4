"""The motion gate: is there anything new in this frame? Finding faces costs a hundred times as much as asking that.

The brightness of the frame, reduced until a cell is about an eighth of a face, is compared with a background that is
learned slowly. Reducing averages the sensor's noise away; what all cells have in common (a lamp, the camera's own
exposure) is taken out before cells are counted.
"""

import numpy as np
from numpy.typing import NDArray

#: Cells across a frame.
WIDTH = 80

#: Grey values by which a cell differs that has moved; noise and compression stay below 3 after reducing.
_MOVED = 8.0

#: Cells that make a movement: a face of 24 pixels in a frame of 640 covers nine.
_CELLS = 3

#: Share of the way the background goes to each frame: what stays for ten seconds at 5 frames a second belongs to it.
_LEARN = 0.05


class MotionGate:
    """Opens at a movement and stays open for `hold_s`, so that a face between two steps is not missed; and once in
    `look_s` in any case: whoever came without a visible movement is found too."""

    def __init__(self, hold_s: float = 1.0, look_s: float = 2.0) -> None:
        self._hold_s, self._look_s = hold_s, look_s
        self._background: NDArray[np.float32] | None = None
        self._moved_s = self._opened_s = float("-inf")

    def opens(self, grey: NDArray[np.uint8], at_s: float) -> bool:
        """Whether faces should be looked for in the frame with this brightness, (height, WIDTH) uint8, at `at_s`."""
        now = grey.astype(np.float32)
        if self._background is None or self._background.shape != now.shape:
            self._background = now
            self._moved_s = at_s
        else:
            change = now - self._background
            change -= np.median(change)
            if np.count_nonzero(np.abs(change) > _MOVED) >= _CELLS:
                self._moved_s = at_s
            self._background += _LEARN * (now - self._background)
        opens = at_s - self._moved_s <= self._hold_s or at_s - self._opened_s >= self._look_s
        if opens:
            self._opened_s = at_s
        return opens
