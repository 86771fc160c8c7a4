"""What search is compared with: FAISS' flat index at its best, usearch's exact search, numpy; and an HNSW graph."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.session import Unavailable
from kith.journal import Vectors

#: Answers a batch of probes; what it answers does not matter here.
Search = Callable[[Vectors], Any]

#: Neighbours asked of a peer. To be certain of two subjects it would take more; so few are in the peers' favour.
NEIGHBOURS = 2

_THRESHOLDS = ((1, 1024), (1, 8192), (1, 65536), (100_000, 1024))


def libraries() -> tuple[Any, Any]:
    """faiss and usearch.index. Raises Unavailable."""
    try:
        import faiss  # noqa: PLC0415 (peers are measured where they are installed)
        from usearch import index  # noqa: PLC0415
    except ImportError as missing:
        raise Unavailable(f"{missing.name} is not installed; pip install 'kith[bench]'") from missing
    return faiss, index


def flat(faiss: Any, index: Any, probes: Vectors, threads: int) -> Search:
    """FAISS' flat index with the thresholds that are fastest for such a batch: its own are several times slower."""

    def search(thresholds: tuple[int, int], batch: Vectors) -> Any:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold, faiss.cvar.distance_compute_blas_database_bs = thresholds
        return index.search(batch, NEIGHBOURS)

    def took(thresholds: tuple[int, int]) -> float:
        spans = []
        for _ in range(3):
            began = time.perf_counter()
            search(thresholds, probes)
            spans.append(time.perf_counter() - began)
        return min(spans)

    best = min(_THRESHOLDS, key=took)
    return lambda batch: search(best, batch)


def usearch_exact(index: Any, templates: Vectors, threads: int) -> Search:
    """usearch, every vector looked at."""
    return lambda batch: index.search(
        templates, batch, NEIGHBOURS, metric=index.MetricKind.IP, exact=True, threads=threads
    )


def numpy_products(templates: Vectors) -> Search:
    """A matrix product and argpartition, in lots that fit."""

    def search(batch: Vectors) -> Any:
        found = []
        for start in range(0, len(templates), 1 << 16):
            scores = batch @ templates[start : start + (1 << 16)].T
            near = np.argpartition(-scores, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            found.append((start + near, np.take_along_axis(scores, near, axis=1)))
        scores = np.concatenate([each for _, each in found], axis=1)
        order = np.argsort(-scores, axis=1)[:, :NEIGHBOURS]
        return np.take_along_axis(np.concatenate([rows for rows, _ in found], axis=1), order, axis=1)

    return search


def hnsw_graph(faiss: Any, templates: Vectors) -> Any:
    """An HNSW graph with 32 links a node."""
    index = faiss.IndexHNSWFlat(templates.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(templates)
    return index
