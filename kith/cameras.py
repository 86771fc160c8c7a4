"""The cameras of an installation: which there are, who serves them, how they are.

Producer processes share the cameras by leases: `share` hands a process the cameras it serves for the next seconds. Each
lives as long as it is renewed; a dead process's cameras are handed to the others when its leases have run out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field

from kith.camera_address import checked, kind_of, masked
from kith.errors import InvalidCamera
from kith.jobs import Finite, Lane
from kith.names import camera_name, gallery_name

MAX_FPS = 60.0
#: Seconds that a camera's last frame is kept.
FRAME_KEPT_S = 600


@dataclass(frozen=True, slots=True)
class Camera:
    """How one camera is watched.

    address: may hold a password, and so is in no repr; `shown` is for people. fps: frames looked at each second. roi:
    region of interest, x, y, width, height in shares of the frame; None for all of it. fast: of a recording, do not
    wait between frames. paused: nobody serves it; paused_why: who or what wanted so. Raises InvalidCamera, InvalidName.
    """

    name: str
    address: str = field(repr=False)
    gallery: str
    fps: Finite = 5.0
    roi: tuple[Finite, Finite, Finite, Finite] | None = None
    lane: Lane = Lane.LIVE
    transport: Literal["tcp", "udp"] = "tcp"
    fast: bool = False
    added_ms: int = 0
    paused: bool = False
    paused_why: str | None = None
    paused_ms: int = 0
    wire: Literal[1] = 1

    def __post_init__(self) -> None:
        camera_name(self.name)
        gallery_name(self.gallery)
        object.__setattr__(self, "address", checked(self.address))
        if not 0 < self.fps <= MAX_FPS:
            raise InvalidCamera(f"camera {self.name}: {self.fps:g} frames a second, the limit is 0..{MAX_FPS:g}")
        if self.fast and not kind_of(self.address).recorded:
            raise InvalidCamera(f"camera {self.name}: only a file or a folder can be played as fast as possible")
        if self.fast and self.lane is Lane.LIVE:
            raise InvalidCamera(
                f"camera {self.name}: played as fast as possible, a recording is of the past, and live jobs of the "
                "past expire; take the lane bulk or interactive, or play it in its own time"
            )
        if self.roi is not None:
            x, y, width, height = self.roi
            if not (0 <= x < 1 and 0 <= y < 1 and 0 < width <= 1 - x + 1e-9 and 0 < height <= 1 - y + 1e-9):
                raise InvalidCamera(
                    f"camera {self.name}: the region {x:g},{y:g},{width:g},{height:g} is not within the frame; give x, "
                    "y, width and height as shares of it, such as 0.25,0,0.5,1"
                )

    @property
    def shown(self) -> str:
        """The address without its secrets."""
        return masked(self.address)


class CameraState(StrEnum):
    """What a camera does. WAITING: no process serves it. AWAY: it is being opened again and again."""

    WAITING = "waiting"
    OPENING = "opening"
    LIVE = "live"
    AWAY = "away"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What the process that serves a camera says of it. since_ms: when this state began. why: of AWAY. size: width,
    height of its frames. tracks: followed now. pressure: level, 0 for none (producers.camera.pressure)."""

    state: CameraState
    since_ms: int
    at_ms: int
    why: str | None = None
    size: tuple[int, int] | None = None
    tracks: int = 0
    pressure: Annotated[int, Field(ge=0)] = 0
    wire: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """A camera with what is known of it. process: who serves it. counts: since it was added; `dropped_REASON` are
    frames or crops that nobody looked at, `us_STAGE` microseconds of CPU."""

    camera: Camera
    state: CameraState
    since_ms: int
    why: str | None = None
    process: str | None = None
    report: CameraReport | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LastFrame:
    """What a camera saw: a small JPEG, and when. Nobody in it was asked, so it is kept for minutes, one at a time."""

    data: bytes = field(repr=False)
    at_ms: int


class CameraRegistry(Protocol):
    """Raises StateUnavailable when Redis is away, StateFull when it refuses writes. Safe to call from many threads."""

    def add(self, camera: Camera) -> None:
        """Raises CameraTaken when there is one of that name."""
        ...

    def get(self, name: str) -> Camera:
        """Raises UnknownCamera."""
        ...

    def all(self) -> list[Camera]:
        """By name."""
        ...

    def remove(self, name: str) -> None:
        """Who serves it stops within a lease's time. Raises UnknownCamera."""
        ...

    def pause(self, name: str, why: str | None = None) -> bool:
        """Nobody serves it until `resume`; whether it was served before. Raises UnknownCamera."""
        ...

    def resume(self, name: str) -> bool:
        """Whether it was paused. Raises UnknownCamera."""
        ...

    def status(self, name: str) -> CameraStatus:
        """Raises UnknownCamera."""
        ...

    def statuses(self) -> list[CameraStatus]:
        """Of all, by name."""
        ...

    def share(self, process: str, lease_s: float, most: int) -> list[Camera]:
        """The cameras that `process` serves for the next `lease_s`, at most `most`, by name.

        Those it holds stay with it as long as no other process has less than its share; those that nobody holds are
        given out. What it held and is not in the answer it must stop at once: another one may begin.
        """
        ...

    def leave(self, process: str) -> None:
        """Give all cameras of `process` back."""
        ...

    def report(self, process: str, name: str, report: CameraReport, counts: Mapping[str, int]) -> bool:
        """Keep `report`, and add `counts`. False, and nothing is kept, when `process` does not hold the camera."""
        ...

    def keep_frame(self, process: str, name: str, frame: LastFrame) -> bool:
        """Keep it in place of the one before, for FRAME_KEPT_S. False as `report`."""
        ...

    def last_frame(self, name: str) -> LastFrame | None:
        """None where there is none, or none that is recent. Raises UnknownCamera."""
        ...


def status_of(
    camera: Camera, process: str | None, report: CameraReport | None, counts: Mapping[str, int], now_ms: int
) -> CameraStatus:
    """What is known of a camera, in one. process: who holds a lease that has not run out."""
    if camera.paused:
        return CameraStatus(camera, CameraState.PAUSED, camera.paused_ms, camera.paused_why, None, None, counts)
    if process is None:
        since_ms = report.at_ms if report else camera.added_ms
        why = "no camera process serves it (kith up, or kith cameras run)"
        return CameraStatus(camera, CameraState.WAITING, since_ms, why, None, None, counts)
    if report is None:
        return CameraStatus(camera, CameraState.OPENING, now_ms, None, process, None, counts)
    return CameraStatus(camera, report.state, report.since_ms, report.why, process, report, counts)
