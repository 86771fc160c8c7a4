"""The stage of the cameras' benchmark: a stack, RTSP servers that play clips, and a note of when each was playing."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from benchmarks.cameras_scenes import Person
from benchmarks.cameras_truth import Play
from benchmarks.rig import bench_settings
from benchmarks.session import Unavailable
from kith.cameras import Camera, CameraState
from kith.client import Client
from kith.jobs import Decision, now_ms
from kith.results import FROM_START
from kith.stack import Stack
from kith.watching.events import Event
from producers.rehearsal.clip import write_scene
from producers.rehearsal.rtsp_server import RtspServer
from producers.rehearsal.scene import Scene

_LOOK_EVERY_S = 0.2
#: For a producer that is started again, and a camera that waits for its lease.
_PATIENCE_S = 60.0

#: What is said of processes that the benchmark kills itself.
_KILLED = "camera-1 ended with status -9"


@dataclass
class Stage:
    """clips: the folder that the servers play from."""

    stack: Stack
    client: Client
    clips: Path
    troubles: list[str]
    held: ExitStack
    plays: list[Play] = field(default_factory=list)
    _scenes: dict[str, Scene] = field(default_factory=dict)
    _playing: dict[str, Play] = field(default_factory=dict)

    def server(self) -> RtspServer:
        """One more RTSP server with the clips there are now."""
        return self.held.enter_context(RtspServer(self.clips))

    def enrol(self, gallery: str, people: Sequence[Person]) -> None:
        """Those who are known. Raises Unavailable where somebody's pictures are not fit."""
        for person in people:
            if person.known:
                decisions = self.client.enrol(person.name, [each.file for each in person.enrol], gallery=gallery)
                if not any(each.subject for each in decisions):
                    raise Unavailable(f"{person.name} cannot be enrolled: {decisions[0].reason}")

    def open(self, gallery: str, scenes: Mapping[str, Scene], server: RtspServer) -> None:
        """Add a camera for each scene, by name, and wait until all play."""
        for name, scene in scenes.items():
            self._scenes[name] = scene
            self.client.cameras.add(Camera(name, server.url(name), gallery, added_ms=now_ms()))
        self.until(lambda: all(name in self._playing for name in scenes), f"{', '.join(scenes)} playing")

    def close(self, names: Sequence[str]) -> None:
        """Remove cameras: what they were playing ends here."""
        for name in names:
            self.ended(name)
            self.client.cameras.remove(name)
            del self._scenes[name]

    def ended(self, name: str, at_ms: int | None = None) -> None:
        """Nothing of what a camera is playing arrives any more."""
        play = self._playing.pop(name, None)
        if play is not None:
            self.plays.append(replace(play, end_ms=at_ms or now_ms()))

    def wait(self, seconds: float) -> None:
        """Look on, noting which camera plays since when."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            self._look()
            time.sleep(_LOOK_EVERY_S)

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Look on until `ready`. Raises RuntimeError when it takes too long."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while not ready():
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{what}: not within {_PATIENCE_S:g} s; {self.troubles[-1:]}")
            self._look()
            time.sleep(_LOOK_EVERY_S)

    def playing(self, name: str) -> Play | None:
        """What a camera plays now."""
        return self._playing.get(name)

    def producer(self) -> psutil.Process:
        """The camera process."""
        return self.process("camera-1")

    def process(self, name: str) -> psutil.Process:
        """One of the stack's, by name."""
        return psutil.Process(self.stack.pids(name)[name])

    def decisions(self, gallery: str) -> list[Decision]:
        """All about crops of cameras."""
        found, last = [], FROM_START
        while entries := self.client.results.after(last, limit=1000):
            found += [entry.decision for entry in entries]
            last = entries[-1].entry_id
        return [each for each in found if each.seen is not None and each.gallery == gallery]

    def events(self, gallery: str) -> list[Event]:
        """All there are."""
        return [entry.event for entry, _ in self.client.events.of(gallery)]

    def counts(self) -> dict[str, int]:
        """What the cameras there are have counted, together."""
        total: dict[str, int] = {}
        for status in self.client.cameras.statuses():
            for name, number in status.counts.items():
                total[name] = total.get(name, 0) + number
        return total

    def check(self) -> None:
        """Raises RuntimeError when a process died that nobody killed."""
        if wrong := [each for each in self.troubles if not each.startswith(("camera-1 has cameras", _KILLED))]:
            raise RuntimeError(f"the stack is not sound: {wrong[0]}")

    def _look(self) -> None:
        for status in self.client.cameras.statuses():
            name, scene = status.camera.name, self._scenes.get(status.camera.name)
            before = self._playing.get(name)
            if scene is None:
                continue
            if status.state is not CameraState.LIVE:
                if before is not None and status.state is CameraState.AWAY and status.since_ms > before.start_ms:
                    self.ended(name, status.since_ms)
            elif before is None or status.since_ms > before.start_ms:
                if any(each.camera == name and each.start_ms == status.since_ms for each in self.plays):
                    # Ended by us, and its camera has not noticed yet.
                    continue
                self.ended(name, status.since_ms)
                self._playing[name] = Play(name, scene, status.since_ms, now_ms())


@contextmanager
def open_stage(home: Path, pack: Path, gap_s: float) -> Iterator[Stage]:
    """A stack under `home`, its cameras served by a process of its own; the clips lie in `home`/clips."""
    troubles: list[str] = []
    settings = bench_settings(home, pack, watch={"gap_s": gap_s})
    clips = home / "clips"
    with ExitStack() as held:
        stack = held.enter_context(Stack(settings, notify=troubles.append))
        client = held.enter_context(Client.open(settings))
        yield Stage(stack, client, clips, troubles, held)


def write_clips(folder: Path, scenes: Mapping[str, Scene], tell: Callable[[str], None]) -> None:
    """Draw and encode all scenes, one on each core; equal ones once."""
    folder.mkdir(parents=True)
    first: dict[Scene, str] = {}
    for name, scene in scenes.items():
        first.setdefault(scene, name)
    # Not forked: whoever calls may have threads.
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")) as processes:
        waiting = [processes.submit(write_scene, folder / f"{name}.mp4", scene) for scene, name in first.items()]
        for number, done in enumerate(as_completed(waiting), start=1):
            done.result()
            tell(f"drawing scenes: {number} of {len(waiting)}")
    for name, scene in scenes.items():
        if first[scene] != name:
            (folder / f"{name}.mp4").hardlink_to(folder / f"{first[scene]}.mp4")
