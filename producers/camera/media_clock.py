"""How old a frame is when it arrives, by the camera's own time stamps.

A connection that was held up hands over what it kept: frames of ten seconds ago arrive now, in a burst. By their
arrival they would be news, and a door would open for somebody who has left. The stamps tell: their distance to our own
clock was larger than usual.
"""

from kith.errors import CameraAway

#: How fast the smallest distance seen is forgotten: clocks of cameras are off by up to 0.1 s in a quarter of an hour.
_DRIFT = 1e-4


class MediaClock:
    """Compares stamps with arrivals. tolerance_s: lateness that is normal. patience_s: how long all may be late."""

    def __init__(self, tolerance_s: float, patience_s: float) -> None:
        self._tolerance_s, self._patience_s = tolerance_s, patience_s
        self._least_s: float | None = None
        self._last_s = 0.0
        self._late_since_s: float | None = None

    def late(self, stamp_s: float | None, arrived_s: float) -> bool:
        """Whether a frame stamped `stamp_s` that came at `arrived_s` (steady clock) is of the past.

        Raises CameraAway when the stamps cannot be a clock that runs beside ours: they jump back, or all frames are
        late for longer than patience.
        """
        if stamp_s is None:
            return False
        distance_s = arrived_s - stamp_s
        if self._least_s is None:
            self._least_s, self._last_s = distance_s, arrived_s
            return False
        self._least_s = min(distance_s, self._least_s + _DRIFT * (arrived_s - self._last_s))
        self._last_s = arrived_s
        late_s = distance_s - self._least_s
        if late_s <= self._tolerance_s:
            self._late_since_s = None
            return False
        if self._late_since_s is None:
            self._late_since_s = arrived_s
        if arrived_s - self._late_since_s > self._patience_s:
            raise CameraAway(f"its clock is wrong, or it is {late_s:.0f} s behind and does not catch up")
        return True
