"""What the measurements cost an embed worker: the CPU time they take of all that a job takes.

Not by turns with and without: one per cent of a job is less than a machine's mood. A worker's CPU time for a job is
read off a real one at work, with a device that costs nothing, so that the rest is as small as it can be; the time that
telling of a job takes is that of the same calls in a loop. Beside it, how long one scrape takes.
"""

import time
import urllib.request
from collections.abc import Callable

import psutil
from prometheus_client import CollectorRegistry

from benchmarks import inputs
from benchmarks.report import Figure, at_most
from benchmarks.rig import Rig, open_rig
from benchmarks.session import Session, scratch
from kith.checkpoints import simulated_pack
from kith.jobs import Content, EmbedJob, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.metrics.jobs import AnsweredJobs, EmbeddedJobs
from kith.metrics.models import Batches

_TARGET = 0.01
_SIZES = (1, 16)
#: As many stages as a photo has.
_TIMINGS_MS = {"fetch": 1.0, "decode": 2.0, "detect": 9.0, "align": 0.3, "queued": 5.0, "embed": 20.0, "search": 1.0}


def run(session: Session) -> list[Figure]:
    """Jobs of one image and of the default size."""
    figures: list[Figure] = []
    with (
        session.progress("metrics") as tell,
        scratch() as home,
        open_rig(home, simulated_pack(home / "pack").path, metrics={"listen": "127.0.0.1:0"}) as rig,
    ):
        pictures = inputs.made_up_crops(session.scaled(2048, 64))
        rig.enrol([(f"person {n}", data) for n, data in enumerate(pictures[:32])])
        references = rig.put(pictures)
        for size in _SIZES:
            tell(f"jobs of {size}")
            images = references[: len(references) if size > 1 else len(references) // 2]
            rig.run(images[: len(images) // 4], size, Content.ALIGNED)
            shares = sorted(_job_cpu_s(rig, images, size) for _ in range(session.rounds))
            job_s, told_s = shares[len(shares) // 2], _telling_s(size, session.scaled(5000, 100))
            name = f"jobs of {size}"
            figures += [
                Figure(f"{name}: worker's CPU for a job", 1e6 * job_s, "µs"),
                Figure(f"{name}: of that for telling of it", 1e6 * told_s, "µs"),
                at_most(f"{name}: share", told_s / job_s, _TARGET),
            ]
        tell("a scrape")
        [log] = [rig.stack.log_of(name).read_text() for name in rig.stack.pids("embed")]
        url = log.rpartition("telling Prometheus at ")[2].split()[0]
        took = sorted(_timed(lambda: urllib.request.urlopen(url).read()) for _ in range(session.scaled(50, 3)))
        figures.append(Figure("a scrape of the worker, median", 1e3 * took[len(took) // 2], "ms"))
    return figures


def _job_cpu_s(rig: Rig, images: list[ImageRef], size: int) -> float:
    [pid] = rig.stack.pids("embed").values()
    worker = psutil.Process(pid)
    before = worker.cpu_times()
    rig.run(images, size, Content.ALIGNED)
    after = worker.cpu_times()
    return (after.user + after.system - before.user - before.system) / (len(images) / size)


def _telling_s(size: int, times: int) -> float:
    """Seconds that all calls for one job take, the batches of its faces included. The best of three rounds."""
    registry = CollectorRegistry()
    jobs, answers, batch = EmbeddedJobs(registry), AnsweredJobs(registry), Batches(registry).of("model")
    images = tuple(ImageRef(f"k{n}") for n in range(size))
    job = EmbedJob("j", Kind.IDENTIFY, "g", Lane.BULK, images, now_ms())
    outcomes = (Outcome.MATCH, Outcome.UNKNOWN)
    decisions = [decide(job, n, outcomes[n % 2], timings_ms=dict(_TIMINGS_MS)) for n in range(size)]

    def tell() -> None:
        for _ in range(times):
            jobs.begun(job)
            jobs.decided(decisions)
            answers.answered(Lane.BULK, 0.05)
            # One call for each job is the most: batches gather the faces of several.
            batch(size, 0.001, 0.005)

    return min(_timed(tell) for _ in range(3)) / times


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
