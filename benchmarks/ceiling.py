"""What the pipeline itself allows when the network costs nothing, against one Celery task per image.

Aligned crops, a device that answers at once; the submitting client, the workers and Valkey share the machine's cores.
The peer is benchmarks/plain_celery.py, on whichever of Celery's pools is faster for it here.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks import inputs
from benchmarks.report import Figure, at_least
from benchmarks.rig import Rig, open_rig
from benchmarks.rounds import interleave, median_ratio
from benchmarks.session import Session, scratch
from kith.checkpoints import simulated_pack
from kith.jobs import Content

_TARGET_RATIO = 5.0
_TARGET_RATE = 1500.0
_ENROLLED = 320
_ROOT = Path(__file__).resolve().parent.parent

#: Celery's default, and threads as our own workers have them; as many processes as cores, threads for the waiting.
_POOLS = (("prefork", os.cpu_count() or 1), ("threads", 8))


class PlainCelery:
    """The peer's worker, its broker in a database of its own on the rig's Valkey: tasks of two applications on one
    database would restore each other's messages."""

    def __init__(self, rig: Rig, pack: Path) -> None:
        socket = rig.client.settings.redis.url.get_secret_value().removeprefix("unix://").partition("?")[0]
        self._redis = redis.Redis(unix_socket_path=socket, db=1)
        self._environment = os.environ | {
            "PLAIN_BROKER": f"redis+socket://{socket}?virtual_host=1",
            "PLAIN_REDIS": f"unix://{socket}?db=1",
            "PLAIN_STORE": str(rig.client.settings.store.directory),
            "PLAIN_PACK": str(pack),
            # As our own workers: BLAS threads beside its processes would only slow it down.
            "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        }
        # Imported late and once: Celery reads the broker's address when the application is made.
        os.environ |= self._environment
        from benchmarks import plain_celery  # noqa: PLC0415

        self._task, self._list = plain_celery.recognise, plain_celery.RESULTS

    @contextmanager
    def worker(self, pool: str, concurrency: int) -> Iterator[None]:
        """A worker process, as its manual starts it."""
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.plain_celery", "worker", "--loglevel=ERROR"]
        process = subprocess.Popen(
            [*command, f"--pool={pool}", f"--concurrency={concurrency}"],
            cwd=_ROOT,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def rate(self, keys: Sequence[str]) -> float:
        """Images per second from the first `.delay` to the last result."""
        self._redis.delete(self._list)
        started_s = time.perf_counter()
        for key in keys:
            self._task.delay(key)
        while self._redis.llen(self._list) < len(keys):
            time.sleep(0.01)
        return len(keys) / (time.perf_counter() - started_s)


def run(session: Session) -> list[Figure]:
    """Jobs of 16 and of 64 images and the peer, turn by turn."""
    with session.progress("ceiling") as tell, scratch() as home:
        pack = simulated_pack(home / "pack").path
        # One worker process per core on either side.
        with open_rig(home, pack, embed=os.cpu_count() or 1) as rig:
            pictures = inputs.made_up_crops(session.scaled(8192, 128))
            references = rig.put(pictures)
            rig.enrol([(f"person {n}", data) for n, data in enumerate(pictures[:_ENROLLED])])
            # The peer is slower and its rate does not depend on how many there are: rounds of about the same time.
            keys = [each.key for each in references[: max(64, len(references) // 4)]]
            peer = PlainCelery(rig, pack)
            pool = _faster_pool(peer, keys, tell)
            with peer.worker(*pool):
                peer.rate(keys)
                rounds = interleave(
                    {
                        "jobs of 16": lambda: rig.run(references, 16, Content.ALIGNED).rate,
                        "one task per image": lambda: peer.rate(keys),
                        "jobs of 64": lambda: rig.run(references, 64, Content.ALIGNED).rate,
                    },
                    session.rounds,
                    tell,
                )
    theirs = rounds["one task per image"]
    their_rate = statistics.median(theirs)
    figures = [Figure(f"one task per image, {pool[0]} pool of {pool[1]}", their_rate, "images/s")]
    for name in ("jobs of 16", "jobs of 64"):
        ours = rounds[name]
        ratio, rate = median_ratio(ours, theirs), statistics.median(ours)
        # The ceiling is what the largest jobs reach; jobs of the default size are shown beside it.
        if name == "jobs of 64":
            figures.append(at_least(f"{name}: of one task per image", ratio, _TARGET_RATIO, "×", peer=1.0))
        else:
            figures.append(Figure(f"{name}: of one task per image", ratio, "×", 1.0))
        figures.append(at_least(f"{name}: rate", rate, _TARGET_RATE, "images/s", their_rate))
    return figures


def _faster_pool(peer: PlainCelery, keys: Sequence[str], tell: Callable[[str], None]) -> tuple[str, int]:
    rates = {}
    for pool in _POOLS:
        tell(f"the peer's {pool[0]} pool")
        with peer.worker(*pool):
            peer.rate(keys[:64])
            rates[pool] = max(peer.rate(keys) for _ in range(2))
    return max(rates, key=lambda pool: rates[pool])
