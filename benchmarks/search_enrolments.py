"""Single searches while subjects are enrolled in the same process."""

import threading
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.report import Figure, at_most
from benchmarks.rounds import interleave, median_ratio, percentile
from benchmarks.search_data import People
from benchmarks.search_speed import ROUNDS, blas_threads
from benchmarks.session import Session
from kith.journal import Change, Op, Vectors
from kith.searchers.searcher import Int8Searcher
from kith.view import GalleryView

_ENROLMENTS_PER_S = 200


def enrolments(session: Session, who: People, tell: Callable[[str], None]) -> list[Figure]:
    """p99 of single searches while subjects are enrolled in the same process, of p99 without."""
    torch.set_num_threads(1)
    searcher = Int8Searcher()
    searcher.pack(who.view)
    probes, templates = who.probes(256), who.probes(4096)
    latest = [who.view]
    sequence = who.view.sequence

    def searches() -> float:
        spans: list[float] = []
        until = time.perf_counter() + session.scaled(4, 1)
        while time.perf_counter() < until:
            probe = probes[len(spans) % len(probes)][np.newaxis]
            began = time.perf_counter()
            searcher.search(latest[0], probe)
            spans.append(time.perf_counter() - began)
        return percentile(spans, 99)

    def under_enrolments() -> float:
        stop = threading.Event()
        thread = threading.Thread(target=enrol, args=(stop,))
        thread.start()
        try:
            return searches()
        finally:
            stop.set()
            thread.join()

    def enrol(stop: threading.Event) -> None:
        nonlocal sequence
        due = time.perf_counter()
        while not stop.is_set():
            sequence += 1
            latest[0] = _enrolled(who, sequence, templates[sequence % len(templates)])
            due += 1 / _ENROLMENTS_PER_S
            time.sleep(max(0.0, due - time.perf_counter()))

    tell("searching while subjects are enrolled")
    # As in embed workers: else OpenBLAS's threads spin on the cores after each product with what is not packed yet.
    with blas_threads(1):
        spans = interleave({"still": searches, "alive": under_enrolments}, session.scaled(ROUNDS, 1), tell)
    ratio = median_ratio(spans["alive"], spans["still"])
    searcher.close()
    return [at_most(f"p99 of a search under {_ENROLMENTS_PER_S} enrolments/s, of p99 without", ratio, 1.2, "×", 1.0)]


def _enrolled(who: People, sequence: int, template: Vectors) -> GalleryView:
    number, slot = len(who.templates) + sequence, len(who.templates) + sequence - 2
    change = Change(
        sequence,
        Op.ENROL,
        number=number,
        subject_id=f"{number:016x}",
        subject=f"subject {number}",
        slots=(slot,),
        vectors=template[np.newaxis],
        qualities=np.ones(1, np.float32),
    )
    return who.replica.apply([change])
