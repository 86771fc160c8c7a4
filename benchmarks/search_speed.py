"""Searches beside FAISS, usearch and numpy, by size of the gallery, batch and threads."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from benchmarks.report import Figure, at_least
from benchmarks.rounds import Contender, interleave, median_ratio
from benchmarks.search_data import People
from benchmarks.search_peers import Search, flat, libraries, numpy_products, usearch_exact
from benchmarks.session import Session
from kith.journal import Vectors
from kith.similarity import Searcher

#: Turns of each contender.
ROUNDS = 7

#: A measurement is this long at least; seconds.
_SPAN_S = 0.2

#: Least ratio to FAISS from 100,000 templates on, by dimension and batch; below, and for other cells, `_NEVER_BELOW`.
_TARGETS = {512: {1: 2.0, 16: 3.0, 64: 3.0}, 128: {1: 1.5, 16: 2.0, 64: 2.0}}
_NEVER_BELOW = 0.95
_LARGE = 100_000


def speed(session: Session, who: People, searcher: Searcher, tell: Callable[[str], None]) -> list[Figure]:
    """Ratios to FAISS' flat index at its best."""
    faiss, _ = libraries()
    index = faiss.IndexFlatIP(who.templates.shape[1])
    index.add(who.templates)
    figures = []
    for threads in [1] if session.quick else [1, 2]:
        for batch in [1, 4] if session.quick else [1, 16, 64]:
            figures += _cell(session, who, searcher, index, batch, threads, tell)
    return figures


def _cell(
    session: Session,
    who: People,
    searcher: Searcher,
    index: object,
    batch: int,
    threads: int,
    tell: Callable[[str], None],
) -> list[Figure]:
    size, dimension = who.templates.shape
    faiss, usearch = libraries()
    torch.set_num_threads(threads)
    probes = who.probes(8 * batch)
    contenders: dict[str, Search] = {
        "kith": lambda some: searcher.search(who.view, some),
        "faiss": flat(faiss, index, probes[:batch], threads),
        "usearch": usearch_exact(usearch, who.templates, threads),
        "numpy": numpy_products(who.templates),
    }
    with blas_threads(threads):
        spans = interleave(
            {name: timed(session, search, probes, batch) for name, search in contenders.items()},
            session.scaled(ROUNDS, 1),
        )
    label = f"{size:,} × {dimension}, batch {batch}, {threads} thread{'s'[: threads > 1]}"
    ratio = median_ratio(spans["faiss"], spans["kith"])
    tell(f"{label}: {ratio:.2f}× FAISS")
    target = _TARGETS.get(dimension, {}).get(batch, _NEVER_BELOW) if size >= _LARGE else _NEVER_BELOW
    milliseconds = {name: 1000 * float(np.median(values)) for name, values in spans.items()}
    return [
        at_least(f"{label}: of FAISS flat's speed", ratio, target, "×", 1.0),
        Figure(f"{label}: a search, peer FAISS flat", milliseconds["kith"], "ms", milliseconds["faiss"]),
        Figure(f"{label}: usearch exact, of FAISS", median_ratio(spans["faiss"], spans["usearch"]), "×", 1.0),
        Figure(f"{label}: numpy, of FAISS", median_ratio(spans["faiss"], spans["numpy"]), "×", 1.0),
    ]


def timed(session: Session, search: Search, probes: Vectors, batch: int) -> Contender:
    """Seconds of one search: the mean over as many as fill the span."""
    cuts = range(0, len(probes), batch)
    search(probes[:batch])

    def measure() -> float:
        count, began = 0, time.perf_counter()
        while True:
            start = cuts[count % len(cuts)]
            search(probes[start : start + batch])
            count += 1
            took = time.perf_counter() - began
            if session.quick or took >= _SPAN_S:
                return took / count

    return measure


def blas_threads(threads: int) -> AbstractContextManager[object]:
    """Hold numpy's library to so many threads, where threadpoolctl is installed (scikit-learn brings it)."""
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(threads, user_api="blas")
    return limits
