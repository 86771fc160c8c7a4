"""Which cameras this process serves: those it holds leases of, and not one a moment longer.

Every round asks for the leases, starts and stops what has changed, and reports on each camera. A process that could not
renew in time stops all of them by itself: another one may have begun. A camera whose gallery is not there is held and
not served, for each of its crops would become a dead letter; it is served when the gallery is back.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial

from prometheus_client import CollectorRegistry

from kith.cameras import Camera, CameraRegistry, CameraReport, CameraState
from kith.errors import BrokerUnavailable, KithError, UnknownCamera
from kith.intake import JobQueue
from kith.jobs import Lane, now_ms
from kith.metrics.watched_cameras import WatchedCameras
from producers.camera.pressure import Pressure
from producers.camera.serving import Serving

_log = logging.getLogger("kith.camera")

#: Seconds between two looks at the queues and two reports.
_ROUND_S = 1.0

#: Rounds of the lease until it runs out; three may fail.
_RENEWALS = 4


class Holding:
    """Serves cameras until `run` is stopped. serve: makes what serves one camera; it calls `changed` and `ended`.
    galleries: those there are. beat: called once a round, a sign of life for those who watch processes. measured: told
    what the registry was."""

    def __init__(
        self,
        process: str,
        registry: CameraRegistry,
        queue: JobQueue,
        pressure: Pressure,
        serve: Callable[[Camera, Callable[[], None], Callable[[Camera], None]], Serving],
        *,
        galleries: Callable[[], Collection[str]],
        lease_s: float,
        most: int,
        beat: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
        measured: WatchedCameras | None = None,
    ) -> None:
        self._process, self._registry, self._queue, self._pressure = process, registry, queue, pressure
        self._serve, self._galleries = serve, galleries
        self._measured = measured or WatchedCameras(CollectorRegistry())
        self._lease_s, self._most, self._beat, self._clock_s = lease_s, most, beat, clock_s
        self._serving: dict[str, Serving] = {}
        #: Cameras without a gallery, since when.
        self._idle: dict[str, tuple[Camera, int]] = {}
        self._until_s = self._renew_at_s = float("-inf")
        self._wake = threading.Event()
        self._over: list[Camera] = []
        self._failing: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Then all cameras are given back, so that others need not wait for the leases to end."""
        try:
            while not stop.is_set():
                self.round()
                self._wake.wait(_ROUND_S)
                self._wake.clear()
        finally:
            self._end(self._serving)
            self._try("giving the cameras back", lambda: self._registry.leave(self._process))

    def wake(self) -> None:
        """Have the next round begin at once."""
        self._wake.set()

    def round(self) -> None:
        """One look at everything."""
        now_s = self._clock_s()
        self._try("giving a sign of life", self._beat)
        self._pause_what_is_over()
        if now_s >= self._renew_at_s:
            self._try("sharing the cameras", self._renew)
        if self._serving and self._clock_s() > self._until_s:
            _log.warning("the leases could not be renewed in time; another process may serve these cameras now")
            self._end(self._serving)
            self._leave_idle(())
        self._ease(now_s)
        for name, serving in list(self._serving.items()):
            self._try("reporting on the cameras", partial(self._report, name, serving))
        for camera, since_ms in list(self._idle.values()):
            self._try("reporting on the cameras", partial(self._report_idle, camera, since_ms))

    def _renew(self) -> None:
        galleries = self._galleries()
        # Taken before the question: the answer may take as long as the lease.
        asked_s = self._clock_s()
        held = {camera.name: camera for camera in self._registry.share(self._process, self._lease_s, self._most)}
        cameras = {name: camera for name, camera in held.items() if camera.gallery in galleries}
        self._leave_idle([camera for name, camera in held.items() if name not in cameras])
        self._until_s, self._renew_at_s = asked_s + self._lease_s, asked_s + self._lease_s / _RENEWALS
        # Also one that was removed and added anew, with another address or rate.
        self._end(name for name, serving in self._serving.items() if cameras.get(name) != serving.camera)
        for name, camera in cameras.items():
            if name not in self._serving:
                _log.warning("serving camera %s at %s", name, camera.shown)
                self._serving[name] = self._serve(camera, self.wake, self._play_over)
                self._serving[name].start()

    def _leave_idle(self, cameras: Collection[Camera]) -> None:
        before = self._idle
        # One may have been removed and added anew, for another gallery that is missing too.
        same = {name: idle for name, idle in before.items() if idle[0] in cameras}
        self._idle = {each.name: same.get(each.name, (each, now_ms())) for each in cameras}
        for name in self._idle.keys() - same.keys():
            camera = self._idle[name][0]
            _log.warning("camera %s is not served: there is no gallery %s", name, camera.gallery)
        for name in before.keys() - self._idle.keys():
            self._measured.gone(name)

    def _report_idle(self, camera: Camera, since_ms: int) -> None:
        why = f"there is no gallery {camera.gallery} (kith gallery create, or remove the camera)"
        report = CameraReport(CameraState.AWAY, since_ms, now_ms(), why)
        if self._registry.report(self._process, camera.name, report, {}):
            self._measured.reported(camera.name, report, {})

    def _end(self, names: Iterable[str]) -> None:
        ending = {name: self._serving.pop(name) for name in list(names)}
        # All begin to end before any is waited for: together they may take no longer than the lease.
        for serving in ending.values():
            serving.cease()
        for name, serving in ending.items():
            _log.warning("camera %s is served no more", name)
            serving.stop()
            # What was counted last, if it is still ours to tell.
            self._try("reporting on the cameras", partial(self._report, name, serving))
            self._measured.gone(name)

    def _report(self, name: str, serving: Serving) -> None:
        counts, report = serving.counts.take(), serving.report()
        try:
            kept = self._registry.report(self._process, name, report, counts)
        except KithError:
            serving.counts.give_back(counts)
            raise
        if not kept:
            # Paused, removed or another's: which, the next share says.
            serving.counts.give_back(counts)
            self._renew_at_s = float("-inf")
            return
        self._measured.reported(name, report, counts)
        # Last: should it not be kept, the next one is.
        frame = serving.glance.take()
        if frame is not None:
            self._registry.keep_frame(self._process, name, frame)

    def _ease(self, now_s: float) -> None:
        lanes = {serving.camera.lane for serving in self._serving.values()} - {Lane.BULK}
        if not lanes:
            # Nobody waits for what is sent in bulk.
            return
        try:
            waiting: int | None = max(self._queue.depth(lane) for lane in lanes)
        except BrokerUnavailable:
            waiting = None
        before = self._pressure.level
        self._pressure.look(waiting, now_s)
        if self._pressure.level != before:
            jobs = "an unknown number of" if waiting is None else waiting
            _log.warning("pressure %d, %s live jobs wait", self._pressure.level, jobs)
        for serving in self._serving.values():
            serving.bear(self._pressure.level if serving.camera.lane is not Lane.BULK else 0)

    def _play_over(self, camera: Camera) -> None:
        # From its own thread; what is to be done with it is done in a round.
        self._over.append(camera)
        self.wake()

    def _pause_what_is_over(self) -> None:
        over, self._over = self._over, []
        for camera in over:
            self._end({camera.name} & self._serving.keys())
            if not self._try("pausing a recording", partial(self._pause, camera.name)):
                self._over.append(camera)

    def _pause(self, name: str) -> None:
        # Somebody may have removed it meanwhile.
        with contextlib.suppress(UnknownCamera):
            self._registry.pause(name, "the recording has been played; kith camera resume plays it again")

    def _try(self, what: str, do: Callable[[], object]) -> bool:
        """Whether `do` succeeded; a trouble is logged when it begins."""
        try:
            do()
        except KithError as trouble:
            if self._failing != what:
                self._failing = what
                _log.warning("%s: %s; trying again", what, trouble.reason)
            return False
        if self._failing == what:
            self._failing = None
            _log.warning("%s works again", what)
        return True
