"""The cameras in one process; see kith.backends.cameras_redis."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kith.cameras import FRAME_KEPT_S, Camera, CameraReport, CameraStatus, LastFrame, status_of
from kith.errors import CameraTaken, UnknownCamera
from kith.jobs import now_ms


@dataclass
class _Held:
    process: str
    until_ms: int


@dataclass
class _Kept:
    camera: Camera
    held: _Held | None = None
    report: CameraReport | None = None
    counts: Counter[str] = field(default_factory=Counter)
    #: With when it was kept.
    frame: tuple[LastFrame, int] | None = None


class MemoryCameras:
    """CameraRegistry of one process. clock_ms: Unix milliseconds."""

    def __init__(self, clock_ms: Callable[[], int] = now_ms) -> None:
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._cameras: dict[str, _Kept] = {}
        #: Process → until when it counts as alive, and the most it serves.
        self._processes: dict[str, tuple[int, int]] = {}

    def add(self, camera: Camera) -> None:
        with self._lock:
            if camera.name in self._cameras:
                raise CameraTaken(f"there is a camera {camera.name} already; remove it first, or choose another name")
            self._cameras[camera.name] = _Kept(replace(camera, paused=False, paused_why=None, paused_ms=0))

    def get(self, name: str) -> Camera:
        with self._lock:
            return self._kept(name).camera

    def all(self) -> list[Camera]:
        with self._lock:
            return [kept.camera for _, kept in sorted(self._cameras.items())]

    def remove(self, name: str) -> None:
        with self._lock:
            self._kept(name)
            del self._cameras[name]

    def pause(self, name: str, why: str | None = None) -> bool:
        with self._lock:
            kept = self._kept(name)
            served, kept.held = kept.held is not None, None
            if not kept.camera.paused:
                kept.camera = replace(kept.camera, paused=True, paused_why=why, paused_ms=self._clock_ms())
            return served

    def resume(self, name: str) -> bool:
        with self._lock:
            kept = self._kept(name)
            paused = kept.camera.paused
            kept.camera = replace(kept.camera, paused=False, paused_why=None, paused_ms=0)
            return paused

    def status(self, name: str) -> CameraStatus:
        with self._lock:
            return self._status(self._kept(name))

    def statuses(self) -> list[CameraStatus]:
        with self._lock:
            return [self._status(kept) for _, kept in sorted(self._cameras.items())]

    def share(self, process: str, lease_s: float, most: int) -> list[Camera]:
        with self._lock:
            now = self._clock_ms()
            until = now + round(lease_s * 1000)
            self._processes[process] = (until, most)
            self._processes = {who: lives for who, lives in self._processes.items() if lives[0] > now}
            wanted = [kept for _, kept in sorted(self._cameras.items()) if not kept.camera.paused]
            mine = [kept for kept in wanted if kept.held and kept.held.process == process]
            free = [kept for kept in wanted if kept.held is None or kept.held.until_ms <= now]
            holds = Counter(kept.held.process for kept in wanted if kept.held and kept not in free) | Counter(
                {process: len(mine)}
            )
            dealt = _dealt(len(wanted), {who: room for who, (_, room) in self._processes.items()}, holds)[process]
            for kept in mine[dealt:]:
                kept.held = None
            taken = mine[:dealt]
            taken += [kept for kept in free if kept not in mine][: dealt - len(taken)]
            for kept in taken:
                kept.held = _Held(process, until)
            return sorted((kept.camera for kept in taken), key=lambda camera: camera.name)

    def leave(self, process: str) -> None:
        with self._lock:
            self._processes.pop(process, None)
            for kept in self._cameras.values():
                if kept.held and kept.held.process == process:
                    kept.held = None

    def report(self, process: str, name: str, report: CameraReport, counts: Mapping[str, int]) -> bool:
        with self._lock:
            kept = self._cameras.get(name)
            if kept is None or kept.held is None or kept.held.process != process:
                return False
            kept.report = report
            kept.counts.update(counts)
            return True

    def keep_frame(self, process: str, name: str, frame: LastFrame) -> bool:
        with self._lock:
            kept = self._cameras.get(name)
            if kept is None or kept.held is None or kept.held.process != process:
                return False
            kept.frame = frame, self._clock_ms()
            return True

    def last_frame(self, name: str) -> LastFrame | None:
        with self._lock:
            frame, kept_ms = self._kept(name).frame or (None, 0)
            return frame if self._clock_ms() - kept_ms < 1000 * FRAME_KEPT_S else None

    def _kept(self, name: str) -> _Kept:
        kept = self._cameras.get(name)
        if kept is None:
            raise UnknownCamera(f"there is no camera {name} (kith camera list)")
        return kept

    def _status(self, kept: _Kept) -> CameraStatus:
        now = self._clock_ms()
        process = kept.held.process if kept.held and kept.held.until_ms > now else None
        return status_of(kept.camera, process, kept.report, dict(sorted(kept.counts.items())), now)


def _dealt(cameras: int, room: Mapping[str, int], holds: Mapping[str, int]) -> dict[str, int]:
    """How many each process should hold: as even as their room allows; of equals the one that holds more first."""
    order = sorted(room, key=lambda who: (-holds[who], who))
    dealt = dict.fromkeys(order, 0)
    for _ in range(cameras):
        roomy = [who for who in order if dealt[who] < room[who]]
        if not roomy:
            break
        dealt[min(roomy, key=lambda who: dealt[who])] += 1
    return dealt
