"""Eight processes follow a gallery while somebody enrols, and one of them searches it: how soon does the last of them
know, and does searching wait?

Rounds without enrolments, with enrolments, and with as many in another gallery that everybody follows too, take turns:
what the last two have in common is the load of ten processes on the machine's cores, what they differ by is whether a
search waits for a change of what it searches. Whoever follows notes when each number was applied (the clock is the
machine's), whoever searches how long each search took; searches come at a steady pace, not as fast as they can.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import redis

from benchmarks.report import Figure, at_most
from benchmarks.rounds import percentile
from benchmarks.session import Session, scratch
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.gallery import Enrolment
from kith.journal import Change, Vectors
from kith.replica import Follower

_GALLERY, _OTHER = "searched", "other"
_DIMENSION = 512
_REPLICAS = 8
_PER_S = 200
_SEARCHES_PER_S, _PROBES = 25, 8
_APPLIED_MS, _SEARCH_RATIO = 20.0, 1.2
_PATIENCE_S = 120.0


def following(session: Session, tell: Callable[[str], None]) -> list[Figure]:
    """Milliseconds from the call that enrols to the last replica that has it; searches with and without."""
    templates, seconds = session.scaled(20_000, 1_000), session.scaled(10, 1)
    rounds = session.scaled(3, 1)
    with scratch() as home, EmbeddedValkey(home / "valkey") as server, redis.Redis.from_url(server.url) as client:
        store = RedisGalleryStore(client, "bench")
        tell(f"enrolling {templates:,}, twice")
        vectors = _unit(np.random.default_rng(0), templates)
        for name in (_GALLERY, _OTHER):
            store.create(name, model_id="m", dimension=_DIMENSION)
            for start in range(0, templates, 2000):
                some = range(start, min(start + 2000, templates))
                store.enrol(name, [_enrolment(row, vectors[row]) for row in some])
        applied, quiet, busy, elsewhere = [], [], [], []
        with _replicas(server.url) as replicas:
            row = templates
            for number in range(rounds):
                tell(f"round {number + 1}: searching alone")
                _tell_all(replicas, ("begin",))
                time.sleep(seconds)
                quiet += _gathered(replicas)[1]
                tell(f"round {number + 1}: searching while {_PER_S} a second are enrolled")
                _tell_all(replicas, ("begin",))
                sent = _enrol_for(store, _GALLERY, seconds, row)
                time.sleep(1)
                marks, took = _gathered(replicas)
                busy += took
                applied += [max(each[sequence] for each in marks) - at for sequence, at in sent.items()]
                tell(f"round {number + 1}: searching while {_PER_S} a second are enrolled elsewhere")
                _tell_all(replicas, ("begin",))
                row += len(_enrol_for(store, _OTHER, seconds, row))
                time.sleep(1)
                elsewhere += _gathered(replicas)[1]
    ms = [1000 * each for each in applied]
    return [
        Figure(
            f"enrolled → applied in {_REPLICAS} of {_REPLICAS} replicas at {_PER_S}/s, p50", percentile(ms, 50), "ms"
        ),
        at_most("… p99", percentile(ms, 99), _APPLIED_MS, "ms"),
        Figure(f"search of {_PROBES} probes among {templates:,}, p50", *_ms(busy, quiet, 50)),
        Figure("… p99", *_ms(busy, quiet, 99)),
        at_most(
            "… p99 under enrolments, of p99 without", percentile(busy, 99) / percentile(quiet, 99), _SEARCH_RATIO, "×"
        ),
        Figure("… of p99 under as many elsewhere", percentile(busy, 99) / percentile(elsewhere, 99), "×"),
        Figure("… p99 under as many elsewhere, of p99 without", percentile(elsewhere, 99) / percentile(quiet, 99), "×"),
    ]


def _ms(busy: list[float], quiet: list[float], percent: float) -> tuple[float, str, float]:
    return 1000 * percentile(busy, percent), "ms", 1000 * percentile(quiet, percent)


def _unit(random: np.random.Generator, count: int) -> Vectors:
    raw = random.standard_normal((count, _DIMENSION), np.float32)
    found: Vectors = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return found


def _enrolment(row: int, vector: Vectors) -> Enrolment:
    return Enrolment(f"Person {row // 5:07}", f"{row:024x}", vector, f"ab/{row}", 0.5, "m")


def _enrol_for(store: RedisGalleryStore, name: str, seconds: float, row: int) -> dict[int, float]:
    """Enrol at a steady pace; sequence number → when its call began."""
    count = int(seconds * _PER_S)
    vectors, sent = _unit(np.random.default_rng(row), count), {}
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / _PER_S - time.monotonic()))
        at = time.monotonic()
        sent[store.enrol(name, [_enrolment(row + number, vectors[number])])[0]] = at
    return sent


class _Noting(Follower):
    """A worker's follower that notes when each number was applied."""

    def __init__(self, store: RedisGalleryStore) -> None:
        super().__init__(store)
        self.marks: dict[int, float] = {}

    def _apply(self, name: str, followed: Any, changes: list[Change]) -> None:
        super()._apply(name, followed, changes)
        now = time.monotonic()
        if name == _GALLERY:
            self.marks.update(dict.fromkeys((each.sequence for each in changes), now))


def _replica(url: str, pipe: Any, *, searches: bool) -> None:
    """One process: follows, and tells what it noted when asked."""
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        follower = _Noting(RedisGalleryStore(client, "bench"))
        for name in (_GALLERY, _OTHER):
            follower.view(name)
        search = _searching(follower) if searches else None
        pipe.send("ready")
        took: list[float] = []
        while True:
            if not pipe.poll(1 / _SEARCHES_PER_S):
                if search is not None:
                    took.append(search())
                continue
            match pipe.recv():
                case ("begin",):
                    follower.marks, took = {}, []
                case ("tell",):
                    pipe.send((follower.marks, took))
                case _:
                    break
        follower.stop()


def _searching(follower: Follower) -> Callable[[], float]:
    import torch  # noqa: PLC0415 (of eight replicas one searches)

    from kith.embedder import cpu_threads  # noqa: PLC0415
    from kith.searchers.searcher import open_searcher  # noqa: PLC0415

    # As many as an embed worker gives to one call by itself.
    torch.set_num_threads(cpu_threads(0))
    searcher, random = open_searcher("cpu"), np.random.default_rng(1)

    def search() -> float:
        probes = _unit(random, _PROBES)
        began = time.perf_counter()
        searcher.search(follower.view(_GALLERY), probes)
        return time.perf_counter() - began

    for _ in range(50):
        search()
    return search


@contextmanager
def _as_in_workers() -> Iterator[None]:
    """Processes that are started now have the libraries' threads that embed workers have (workers/__init__.py)."""
    wanted = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _replicas(url: str) -> Iterator[list[Any]]:
    processes = multiprocessing.get_context("spawn")
    pipes, started = [], []
    for number in range(_REPLICAS):
        ours, theirs = processes.Pipe()
        process = processes.Process(target=_replica, args=(url, theirs), kwargs={"searches": number == 0}, daemon=True)
        with _as_in_workers():
            process.start()
        pipes.append(ours)
        started.append(process)
    try:
        for pipe in pipes:
            if not pipe.poll(_PATIENCE_S):
                raise RuntimeError("a replica did not start")
            pipe.recv()
        yield pipes
        _tell_all(pipes, ("end",))
    finally:
        for process in started:
            process.join(10)
            process.kill()


def _tell_all(pipes: list[Any], message: tuple[str, ...]) -> None:
    for pipe in pipes:
        pipe.send(message)


def _gathered(pipes: list[Any]) -> tuple[list[dict[int, float]], list[float]]:
    """What each noted, and how long the searches took."""
    _tell_all(pipes, ("tell",))
    answers = []
    for pipe in pipes:
        if not pipe.poll(_PATIENCE_S):
            raise RuntimeError("a replica does not answer")
        answers.append(pipe.recv())
    return [marks for marks, _ in answers], [each for _, took in answers for each in took]
