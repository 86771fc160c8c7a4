"""How fast a worker knows a gallery, and how soon it knows a change.

Cold start: a replica made from Redis, five templates a subject and one a subject (the hard case: as many names as
templates), over a Unix socket and over TCP, each in a new process. Peers: the same number of bytes read over the same
socket in values of a megabyte, and kept; by redis-py, and as straight from the connection as Kith reads galleries.
KITH_BENCH_TEMPLATES sets how many templates (200,000; a million takes 7 GB and ten minutes).

Following: see benchmarks.replica_following. KITH_BENCH_REPLICA names one of the two, `cold` or `following`.
"""

import multiprocessing
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import redis

from benchmarks.cold_start import MB
from benchmarks.replica_following import following
from benchmarks.report import Figure, at_most
from benchmarks.rounds import interleave, median_ratio
from benchmarks.session import Session, scratch
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.gallery import Enrolment
from kith.replica import Replica

_DIMENSION = 512
_PORTION = 2_000
_COLD_TARGET, _MEMORY_TARGET = 2.0, 1.35


def run(session: Session) -> list[Figure]:
    """Cold starts, then following."""
    figures: list[Figure] = []
    part = os.environ.get("KITH_BENCH_REPLICA")
    with session.progress("replica") as tell:
        for per_subject in (5, 1) if part != "following" else ():
            with ExitStack() as parts:
                server = parts.enter_context(_server(parts))
                figures += _cold_starts(session, server, per_subject, tell)
        if part != "cold":
            figures += following(session, tell)
    return figures


@contextmanager
def _server(parts: ExitStack) -> Iterator[EmbeddedValkey]:
    home = parts.enter_context(scratch())
    with EmbeddedValkey(home / "valkey") as server, redis.Redis.from_url(server.url) as client:
        # Nobody restarts it, and gigabytes on a disk would only be in the way.
        client.config_set("appendonly", "no")
        yield server


def _cold_starts(
    session: Session, server: EmbeddedValkey, per_subject: int, tell: Callable[[str], None]
) -> list[Figure]:
    templates = session.scaled(int(os.environ.get("KITH_BENCH_TEMPLATES", "200000")), 5_000)
    label = f"{templates:,} × {_DIMENSION}, {per_subject} a subject"
    with redis.Redis.from_url(server.url) as client:
        tell(f"{label}: enrolling")
        _enrol(client, templates, per_subject)
        values = _raw_values(client)
        figures = []
        for transport, url in (("Unix socket", server.url), ("TCP", _tcp(client))):
            contenders = {
                "load": partial(_started, url),
                "raw": partial(_started, url, values),
                "straight": partial(_started, url, values, "straight"),
            }
            took = interleave(contenders, session.scaled(5, 1), partial(_tell, tell, f"{label}, {transport}"))
            seconds, raw = float(np.median(took["load"])), float(np.median(took["raw"]))
            figures += [
                Figure(f"cold start, {label}, {transport}", seconds, "s", raw),
                at_most(
                    f"… of reading the bytes, {transport}", median_ratio(took["load"], took["raw"]), _COLD_TARGET, "×"
                ),
                Figure(
                    f"… of reading them straight, {transport}", median_ratio(took["load"], took["straight"]), "×", 1.0
                ),
            ]
        tell(f"{label}: memory")
        peak, held = _memory(server.url)
        payload = 4 * _DIMENSION * templates
        figures += [
            at_most(f"memory of the replica, {label}, of N·d·4 bytes", held / payload, _MEMORY_TARGET, "×"),
            Figure(f"… at the peak of the load, {label}", peak / payload, "×"),
        ]
    return figures


def _tell(tell: Callable[[str], None], where: str, name: str) -> None:
    tell(f"{where}: {name}")


def _enrol(client: redis.Redis, templates: int, per_subject: int) -> None:
    store, random = RedisGalleryStore(client, "bench"), np.random.default_rng(0)
    store.create("bench", model_id="m", dimension=_DIMENSION)
    for start in range(0, templates, _PORTION):
        vectors = random.standard_normal((min(_PORTION, templates - start), _DIMENSION), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        some = [
            Enrolment(f"Person {row // per_subject:07}", f"{row:024x}", vector, f"ab/{row}", 0.5, "m")
            for row, vector in enumerate(vectors, start)
        ]
        store.enrol("bench", some)
    # What a load reads back from the journal is measured elsewhere.
    store.trim("bench", -1)


def _raw_values(client: redis.Redis) -> int:
    """Values of a megabyte, together as many bytes as a load reads; how many."""
    sizes = [client.strlen(key) for kind in "bon" for key in client.scan_iter(f"bench:g:bench:{kind}:*", count=1000)]
    values, content = -(-sum(sizes) // MB), os.urandom(MB)
    for number in range(values):
        client.set(f"raw:{number}", content)
    return values


def _tcp(client: redis.Redis) -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    client.config_set("bind", "127.0.0.1")
    client.config_set("port", port)
    return f"redis://127.0.0.1:{port}"


def _started(url: str, values: int = 0, way: str = "redis-py") -> float:
    command = [sys.executable, "-m", "benchmarks.cold_start", url, str(values), way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _memory(url: str) -> tuple[int, int]:
    """Bytes a process grows by at the peak of a load, and after it."""
    processes = multiprocessing.get_context("spawn")
    answer = processes.Queue()
    process = processes.Process(target=_grow, args=(url, answer))
    process.start()
    peak, held = answer.get(timeout=600)
    process.join()
    return peak, held


def _grow(url: str, answer: Any) -> None:
    import psutil  # noqa: PLC0415

    with redis.Redis.from_url(url) as client:
        store = RedisGalleryStore(client, "bench")
        store.info("bench")
        before = psutil.Process().memory_info().rss
        replica = Replica(store.snapshot("bench"))
        after = psutil.Process().memory_info().rss
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert replica.view.templates
        answer.put((peak - before, after - before))
