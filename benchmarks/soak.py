"""Whether an embed worker's memory grows: 20,000 images through one, its resident memory read all the while."""

import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks import inputs
from benchmarks.report import Figure, at_most
from benchmarks.rig import Rig, open_rig
from benchmarks.rounds import robust_slope
from benchmarks.session import Session, scratch
from kith.checkpoints import simulated_pack
from kith.jobs import Content

_IMAGES = 20_000
_PER_JOB = 16
_TARGET_MB = 2.0
_PER_IMAGES = 10_000

#: Pictures handed in together: the queue never runs empty, and the client holds few of them.
_PORTION = 1_600

#: Share of the run in which buffers and caches may still reach their size.
_WARM_UP = 0.25


class Memory:
    """Resident megabytes of a process, read in a thread with the number of decisions at that moment."""

    def __init__(self, pid: int, decisions: Callable[[], int], every_s: float) -> None:
        self._process = psutil.Process(pid)
        self._decisions = decisions
        self._every_s = every_s
        self._ending = threading.Event()
        self.readings: list[tuple[int, float]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._ending.wait(self._every_s):
            self.readings.append((self._decisions(), self._process.memory_info().rss / 1e6))


def run(session: Session) -> list[Figure]:
    """On the real network where it is there, else on a simulated device."""
    weights = inputs.weights(session.data)
    with session.progress("soak") as tell, scratch() as home:
        pack = weights or simulated_pack(home / "pack").path
        with open_rig(home, pack) as rig:
            readings, started_mb = _soak(rig, session, tell)
    warm = readings[int(len(readings) * _WARM_UP) :]
    images, megabytes = [done for done, _ in warm], [mb for _, mb in warm]
    slope = robust_slope(images, megabytes) * _PER_IMAGES
    model = "real network" if weights else "simulated device"
    return [
        at_most(f"growth after warm-up, {model}", slope, _TARGET_MB, "MB/10,000 images"),
        Figure("resident memory of the worker, peak", max(mb for _, mb in readings), "MB", started_mb),
        Figure("resident memory at the end", megabytes[-1], "MB", megabytes[0]),
        Figure("images", readings[-1][0], "images"),
    ]


def _soak(rig: Rig, session: Session, tell: Callable[[str], None]) -> tuple[list[tuple[int, float]], float]:
    """(images decided, megabytes) all along the run, and the megabytes before it."""
    pictures = _pictures(session)
    references = rig.put([data for _, data in pictures])
    rig.enrol(pictures[:320])
    before = rig.client.results.count()
    [pid] = rig.stack.pids("embed").values()
    started_mb = psutil.Process(pid).memory_info().rss / 1e6
    total = session.scaled(_IMAGES, 320)
    portion = (references * -(-_PORTION // len(references)))[: min(_PORTION, total)]
    with Memory(pid, lambda: rig.client.results.count() - before, session.scaled(500, 50) / 1000) as memory:
        for done in range(0, total, len(portion)):
            tell(f"{done} of {total} images")
            rig.run(portion[: total - done], _PER_JOB, Content.ALIGNED)
        memory.readings.append((total, psutil.Process(pid).memory_info().rss / 1e6))
    return memory.readings, started_mb


def _pictures(session: Session) -> list[tuple[str, bytes]]:
    files: list[Path] = inputs.aligned_crops(session.data, 2048)
    if files:
        return [(file.parent.name, file.read_bytes()) for file in files]
    return [(f"person {number}", data) for number, data in enumerate(inputs.made_up_crops(1024))]
