"""Which frames are looked at: so many a second, however many the camera sends, and fewer under pressure."""

from producers.camera.counts import Counts


class Thinning:
    """Picks frames by their times so that `fps` of them are left each second, as evenly as the source allows."""

    def __init__(self, fps: float, counts: Counts) -> None:
        self.fps = fps
        self._counts = counts
        self._next_s: float | None = None
        self._share, self._due = 1.0, 0.0

    def slow_down(self, share: float) -> None:
        """Let this share of those frames through from now on, 0..1; the others are counted as dropped."""
        self._share = share

    def due(self, at_s: float) -> bool:
        """Whether the frame of this time is looked at. Times need not be even, and may jump."""
        if not self._in_time(at_s):
            return False
        self._due += self._share
        if self._due < 1.0:
            self._counts.drop("pressure")
            return False
        self._due -= 1.0
        return True

    def _in_time(self, at_s: float) -> bool:
        every_s = 1.0 / self.fps
        if self._next_s is None or abs(at_s - self._next_s) > 10 * every_s:
            # The first one; or the clock jumped, or nothing came for long: no debt of frames is paid off.
            self._next_s = at_s + every_s
            return True
        # A little early counts as in time: of 15 frames a second that tremble, each third one is taken, not the fourth
        # whenever the third comes a millisecond before its hour.
        if at_s < self._next_s - every_s / 10:
            return False
        self._next_s += every_s
        if self._next_s < at_s:
            self._next_s = at_s + every_s
        return True
