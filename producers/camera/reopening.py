"""A camera is opened again for ever: it died, stalled, changed or sent nonsense, and nobody is there to press a button.

Pauses double from the first to the longest and are random by half, so that fifty cameras behind one switch do not all
knock at the same moment.
"""

import logging
import random
import threading
import time
from collections.abc import Callable

from kith.errors import CameraAway
from producers.camera.frame import Frame
from producers.camera.source import Source

_log = logging.getLogger("kith.camera")

#: A source that ran this long was sound: its end is a first one, not one of a series.
_SOUND_AFTER_S = 10.0


class Backoff:
    """Pauses before the next try, seconds."""

    def __init__(self, first_s: float, longest_s: float, chance: random.Random | None = None) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._chance = chance or random.Random()  # noqa: S311 (spreads load, guards nothing)
        self._failures = 0

    def next_s(self) -> float:
        """The pause after one more failure: between half of its step and the whole."""
        # Bounded before the power is taken: after a week of failures it would be too large for a float.
        step_s = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 60))
        self._failures += 1
        return step_s * self._chance.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked."""
        self._failures = 0


class Reopening:
    """Keeps one camera open. tell: None when frames come again, else why they do not."""

    def __init__(
        self, name: str, opens: Callable[[], Source], backoff: Backoff, tell: Callable[[str | None], None]
    ) -> None:
        self._name, self._opens, self._backoff, self._tell = name, opens, backoff, tell
        #: The last reason that was logged; None once frames have come since.
        self._told: str | None = None

    def run(self, use: Callable[[Frame], None], stop: threading.Event) -> bool:
        """Hand each frame to `use`, until `stop` is set (False) or a recording has ended (True)."""
        while not stop.is_set():
            try:
                self._play(use)
                return not stop.is_set()
            except CameraAway as away:
                why = str(away)
            except Exception as bug:  # noqa: BLE001 (whatever it is, the next opening may be spared it)
                # Its words are not repeated: those of a library about an address may hold the password.
                why = f"internal: {type(bug).__name__}"
                _log.error("camera %s: unexpected %s while reading", self._name, type(bug).__name__)
            if stop.is_set():
                return False
            pause_s = self._backoff.next_s()
            if why != self._told:
                _log.warning("camera %s: %s; opening it again, and again until it works", self._name, why)
                self._told = why
            self._tell(why)
            stop.wait(pause_s)
        return False

    def _play(self, use: Callable[[Frame], None]) -> None:
        began_s: float | None = None
        for frame in self._opens().frames():
            if began_s is None:
                began_s, self._told = time.monotonic(), None
                self._tell(None)
            elif time.monotonic() - began_s > _SOUND_AFTER_S:
                self._backoff.reset()
            use(frame)
