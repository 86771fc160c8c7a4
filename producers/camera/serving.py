"""One camera being served: a thread that reads it, a thread that looks, and what may be said of how it is.

The reader never waits for the looker, or it would read old frames from a connection that fills up; between them the
newest frame wins.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from kith.cameras import Camera, CameraReport, CameraState
from kith.detector import FrameDetector
from kith.jobs import now_ms
from producers.camera.counts import Counts
from producers.camera.eye import Alignment, Eye
from producers.camera.frame import Frame
from producers.camera.glance import Glance
from producers.camera.newest import Newest
from producers.camera.picking import PickingRule
from producers.camera.pressure import LEVELS
from producers.camera.reopening import Backoff, Reopening
from producers.camera.sending import Sending
from producers.camera.source import Source, SourceOptions, source_of
from producers.camera.thinning import Thinning

_log = logging.getLogger("kith.camera")

#: Frames that wait for the looker. One would do, but a reader that is a moment ahead is no reason to lose a frame.
_FRAMES = 2

#: Longest wait for a reader that hangs in a library; it ends when that returns, and nobody listens to it any more.
_READER_S = 0.5
_LOOKER_S = 5.0


@dataclass(frozen=True, slots=True)
class Equipment:
    """What all cameras of a process share."""

    detector: FrameDetector
    crops: Alignment
    rule: PickingRule
    options: SourceOptions
    lost_s: float = 0.8
    retry_s: float = 0.5
    retry_max_s: float = 30.0
    last_frame_s: float = 10.0


class Serving:
    """Serves `camera` from `start` to `stop`. changed: called whenever its state changes. ended: when a recording has
    been played to its end and all of it was looked at."""

    def __init__(
        self,
        camera: Camera,
        equipment: Equipment,
        sending: Sending,
        *,
        changed: Callable[[], None] = lambda: None,
        ended: Callable[[Camera], None] = lambda _: None,
        source: Callable[[str, SourceOptions, Thinning, Counts, threading.Event], Source] = source_of,
    ) -> None:
        self.camera, self.counts = camera, Counts()
        self._equipment, self._source = equipment, source
        self._changed, self._ended = changed, ended
        self.glance = Glance(camera, equipment.last_frame_s)
        self._stop = threading.Event()
        self._thinning = Thinning(camera.fps, self.counts)
        # Of a recording as fast as possible nothing is lost, so the reader waits.
        lose = lambda _: self.counts.drop("behind")  # noqa: E731
        self._frames: Newest[tuple[int, Frame]] = Newest(_FRAMES, lose, patient=camera.fast)
        self._asked, self._level = LEVELS[0], 0
        self._openings = 0
        self._state, self._since_ms = CameraState.OPENING, now_ms()
        self._why: str | None = None
        self._size: tuple[int, int] | None = None
        self._eye = Eye(
            *(camera, _base36(now_ms()), equipment.detector, equipment.crops, equipment.rule),
            tell=lambda news: sending.tell(camera.gallery, news),
            send=lambda crop: sending.send(camera, crop, self.counts),
            counts=self.counts,
            lost_s=equipment.lost_s,
        )
        self._reader = threading.Thread(target=self._read, name=f"read-{camera.name}", daemon=True)
        self._looker = threading.Thread(target=self._look, name=f"look-{camera.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._eye.begin(now_ms())
        self._looker.start()
        self._reader.start()

    def cease(self) -> None:
        """Begin to end, without waiting for it: several that end can end at once."""
        self._stop.set()
        self._frames.close()

    def stop(self) -> None:
        """End: all its tracks end, and nothing of it is sent after this returns."""
        self.cease()
        self._looker.join(_LOOKER_S)
        self._reader.join(_READER_S)

    def bear(self, level: int) -> None:
        """Work at this level of pressure (producers.camera.pressure) from now on."""
        self._level, self._asked = level, LEVELS[level]
        self._thinning.slow_down(self._asked.fps)

    def report(self) -> CameraReport:
        """How it is now."""
        return CameraReport(
            state=self._state,
            since_ms=self._since_ms,
            at_ms=now_ms(),
            why=self._why,
            size=self._size,
            tracks=self._eye.tracks,
            pressure=self._level,
        )

    def _read(self) -> None:
        options = replace(self._equipment.options, transport=self.camera.transport, fast=self.camera.fast)

        def opens() -> Source:
            self._openings += 1
            return self._source(self.camera.address, options, self._thinning, self.counts, self._stop)

        backoff = Backoff(self._equipment.retry_s, self._equipment.retry_max_s)
        reopening = Reopening(self.camera.name, opens, backoff, self._tell_state)
        over = reopening.run(lambda frame: self._frames.put((self._openings, frame)), self._stop)
        self._frames.close(keep=over)

    def _look(self) -> None:
        opening = 0
        while not self._frames.done:
            item = self._frames.get(self._equipment.lost_s)
            if item is None:
                if self._state is CameraState.AWAY:
                    self._eye.end()
                continue
            if item[0] != opening:
                # Frames of another connection: who is in them may be others, and their size may be another.
                self._eye.end()
                opening = item[0]
            self._look_at(item[1])
        self._eye.end()
        if not self._stop.is_set():
            self._ended(self.camera)

    def _look_at(self, frame: Frame) -> None:
        try:
            self._size = frame.picture.size
            self._eye.look(frame, self._asked)
            self.glance.look(frame)
        except Exception:  # noqa: BLE001 (one frame a library trips over must not blind the camera)
            _log.exception("camera %s: a frame could not be looked at", self.camera.name)
            # Should all frames be like that, the count shows it.
            self.counts.drop("internal")

    def _tell_state(self, why: str | None) -> None:
        state = CameraState.LIVE if why is None else CameraState.AWAY
        if state is not self._state:
            self._since_ms = now_ms()
        if (state, why) != (self._state, self._why):
            self._state, self._why = state, why
            self._changed()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"
