"""A recording in its own time: frames wait until as much time has passed as when they were taken."""

import threading
import time

#: A step between two stamps beyond which they are no longer one clock: a cut, or a stamp that is nonsense.
_CUT_S = 10.0


class Pacing:
    """Turns the stamps of a recording into times that never jump, and waits for them unless `fast`."""

    def __init__(self, fast: bool, stop: threading.Event) -> None:
        self._fast, self._stop = fast, stop
        self._last_stamp_s: float | None = None
        self._media_s = 0.0
        self._began_s = 0.0

    def place(self, stamp_s: float | None, usual_step_s: float) -> float:
        """Seconds since the first frame of the one stamped `stamp_s`; a stamp that is absent or goes back counts as the
        usual step."""
        if self._last_stamp_s is None:
            self._began_s = time.monotonic()
            self._last_stamp_s = stamp_s or 0.0
            return self._media_s
        stamp_s = self._last_stamp_s + usual_step_s if stamp_s is None else stamp_s
        step_s = stamp_s - self._last_stamp_s
        self._media_s += step_s if 0 < step_s < _CUT_S else usual_step_s
        self._last_stamp_s = stamp_s
        return self._media_s

    def wait(self) -> None:
        """Until the time of the frame last placed has come, or the end is wanted."""
        if not self._fast:
            self._stop.wait(max(0.0, self._began_s + self._media_s - time.monotonic()))
