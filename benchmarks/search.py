"""Searching a gallery: as fast as FAISS and usearch? Always brute force's answer? Undisturbed by enrolments?

Clustered unit vectors, mated and non-mated probes in turn; see benchmarks/search_data.py. The peers find the nearest
templates, Kith the two nearest subjects, with names and proof.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import redis
import torch

from benchmarks.report import Figure, at_least, at_most
from benchmarks.rounds import Contender, interleave, median_ratio, percentile
from benchmarks.search_data import TEMPLATES, People, people, truth
from benchmarks.search_peers import NEIGHBOURS, Search, flat, graph, libraries, numpy_products, usearch_exact
from benchmarks.session import Session, scratch
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.journal import Change, Op, Vectors
from kith.searchers.searcher import Int8Searcher
from kith.view import GalleryView
from workers.memory import keep_memory

_ROUNDS = 7

#: A measurement is this long at least; seconds.
_SPAN_S = 0.2

#: Least ratio to FAISS from 100,000 templates on, by dimension and batch; below, and for other cells, `_NEVER_BELOW`.
_TARGETS = {512: {1: 2.0, 16: 3.0, 64: 3.0}, 128: {1: 1.5, 16: 2.0, 64: 2.0}}
_NEVER_BELOW = 0.95
_LARGE = 100_000

#: Probes compared with brute force, by size of the gallery: half in 512 dimensions, half in 128.
_CHECKED = {10_000: 30_000, 100_000: 17_500, 1_000_000: 2_500}

#: Recall of the nearest subject that a graph must reach to stand in the table.
_RECALL = 0.99

_ENROLMENTS_PER_S = 200


def run(session: Session) -> list[Figure]:
    """Ratios to FAISS by size, batch and threads; answers compared with brute force; memory; search while enrolling."""
    libraries()
    keep_memory()
    sizes = [3_000] if session.quick else [10_000, 100_000, 1_000_000]
    figures: list[Figure] = []
    with session.progress("search") as tell:
        for dimension in [32] if session.quick else [512, 128]:
            for size in sizes:
                tell(f"making {size:,} × {dimension}")
                figures += _gallery(session, people(size, dimension), tell)
        _tell_of_vector_sets(session)
    return figures


def _gallery(session: Session, who: People, tell: Callable[[str], None]) -> list[Figure]:
    size, dimension = who.templates.shape
    label = f"{size:,} × {dimension}"
    searcher = Int8Searcher()
    searcher.pack(who.view)
    faiss, _ = libraries()
    index = faiss.IndexFlatIP(dimension)
    index.add(who.templates)
    figures = []
    for threads in [1] if session.quick else [1, 2]:
        for batch in [1, 4] if session.quick else [1, 16, 64]:
            figures += _cell(session, who, searcher, index, batch, threads, tell)
    figures += _checked(session, who, searcher, tell)
    packed = searcher.nbytes(lambda form: form.codes.nbytes + 3 * form.scale.nbytes)
    figures.append(at_most(f"{label}: memory with float32, of the templates'", 1 + packed / who.templates.nbytes, 1.35))
    if (dimension, size) == (512, _LARGE) or session.quick:
        torch.set_num_threads(1)
        figures += _graph(session, who, searcher, index, tell)
        figures.append(_alive(session, who, searcher, tell))
    searcher.close()
    return figures


def _cell(
    session: Session,
    who: People,
    searcher: Int8Searcher,
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
    with _blas_threads(threads):
        spans = interleave(
            {name: _timed(search, probes, batch, session) for name, search in contenders.items()},
            session.scaled(_ROUNDS, 1),
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


def _timed(search: Search, probes: Vectors, batch: int, session: Session) -> Contender:
    """Seconds of one search, over as many as fill the span."""
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


def _checked(session: Session, who: People, searcher: Int8Searcher, tell: Callable[[str], None]) -> list[Figure]:
    """Compare with float64 brute force."""
    size, dimension = who.templates.shape
    left = session.scaled(_CHECKED.get(size, 1000), 200)
    total, first, sets, rescored, certified, fallbacks = left, 0, 0, 0, 0, 0
    while left:
        probes = who.probes(min(left, 500))
        tell(f"{size:,} × {dimension}: {left:,} probes left to compare with brute force")
        found = searcher.find(who.view, probes, 5)
        numbers, scores = truth(who.templates, probes, 5)
        for hits, expected, score in zip(found.hits, numbers.tolist(), scores.tolist(), strict=True):
            mine = [int(hit.subject_id, 16) for hit in hits]
            first += mine[0] == expected[0]
            others = [hit for hit, number in zip(hits, mine, strict=True) if number not in expected]
            sets += all(abs(hit.score - score[-1]) <= 1e-6 for hit in others)
        proof = found.certificate
        certified += int((proof.excluded + proof.rescored == proof.searched).sum())
        rescored += int(proof.rescored.sum())
        fallbacks += int((proof.fallback > 0).sum())
        left -= len(probes)
    label = f"{size:,} × {dimension}"
    return [
        at_least(f"{label}: nearest subject is brute force's", first, total, "probes", total),
        at_least(f"{label}: five nearest are brute force's, up to ties at 1e-6", sets, total, "probes", total),
        at_least(f"{label}: answers with a complete proof", certified, total, "probes", total),
        Figure(f"{label}: templates scored again in float64", rescored / total, "a probe"),
        Figure(f"{label}: probes that needed float32 passes", fallbacks, "probes", total),
    ]


def _graph(
    session: Session, who: People, searcher: Int8Searcher, index: object, tell: Callable[[str], None]
) -> list[Figure]:
    """HNSW at the ef at which it finds nearly every nearest subject, of mated and non-mated probes together."""
    faiss, _ = libraries()
    faiss.omp_set_num_threads(1)
    tell("building an HNSW graph")
    hnsw = graph(faiss, who.templates)
    probes = who.probes(session.scaled(1000, 100))
    numbers, _ = truth(who.templates, probes, 1)
    ef, recall, found = 32, 0.0, np.zeros(0, bool)
    while recall < _RECALL and ef < 16_384:
        ef *= 2
        hnsw.hnsw.efSearch = ef
        tell(f"HNSW with ef {ef}")
        _, near = hnsw.search(probes, NEIGHBOURS)
        found = near[:, 0] // TEMPLATES + 1 == numbers[:, 0]
        recall = float(found.mean())
    figures = [
        Figure("HNSW: ef it takes", ef, "", None),
        Figure("HNSW: recall of the nearest subject, mated probes", float(found[0::2].mean()), ""),
        Figure("HNSW: recall of the nearest subject, non-mated probes", float(found[1::2].mean()), ""),
    ]
    for batch in (1, 64):
        contenders: dict[str, Search] = {
            "kith": lambda some: searcher.search(who.view, some),
            "hnsw": lambda some: hnsw.search(some, NEIGHBOURS),
            "faiss": flat(faiss, index, probes[:batch], 1),
        }
        spans = interleave(
            {name: _timed(search, probes, batch, session) for name, search in contenders.items()},
            session.scaled(_ROUNDS, 1),
        )
        ratio = median_ratio(spans["faiss"], spans["hnsw"])
        figures.append(Figure(f"HNSW at that ef, batch {batch}: of FAISS flat's speed", ratio, "×", 1.0))
        ratio = median_ratio(spans["hnsw"], spans["kith"])
        figures.append(Figure(f"Kith, exact, batch {batch}: of that HNSW's speed", ratio, "×", 1.0))
    return figures


def _alive(session: Session, who: People, searcher: Int8Searcher, tell: Callable[[str], None]) -> Figure:
    """p99 of single searches while subjects are enrolled in the same process, of p99 without."""
    probes = who.probes(256)
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
        templates, due = who.probes(4096), time.perf_counter()
        while not stop.is_set():
            sequence += 1
            latest[0] = _enrolled(who, sequence, templates[sequence % len(templates)])
            due += 1 / _ENROLMENTS_PER_S
            time.sleep(max(0.0, due - time.perf_counter()))

    tell("searching while subjects are enrolled")
    spans = interleave({"still": searches, "alive": under_enrolments}, session.scaled(_ROUNDS, 1), tell)
    ratio = median_ratio(spans["alive"], spans["still"])
    return at_most(f"p99 of a search under {_ENROLMENTS_PER_S} enrolments/s, of p99 without", ratio, 1.2, "×", 1.0)


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


def _blas_threads(threads: int) -> AbstractContextManager[object]:
    """Hold numpy's library to so many threads, where threadpoolctl is installed (scikit-learn brings it)."""
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(threads, user_api="blas")
    return limits


def _tell_of_vector_sets(session: Session) -> None:
    """Say whether the server here could have been measured too."""
    with (
        scratch() as folder,
        EmbeddedValkey(folder / "valkey") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        commands = {name.decode().upper() for name in client.execute_command("COMMAND LIST")}
        version = client.info("server").get("valkey_version", "unknown")
    known = sorted(commands & {"VADD", "FT.SEARCH"})
    said = f"has {', '.join(known)}, which is not measured yet" if known else "has neither vector sets nor search"
    session.console.print(f"search: the embedded Valkey {version} {said}: nothing of it in the table", highlight=False)
