"""A graph that finds nearly every nearest subject, beside exact search."""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.report import Figure
from benchmarks.rounds import interleave, median_ratio
from benchmarks.search_data import TEMPLATES, People, truth
from benchmarks.search_peers import NEIGHBOURS, Search, flat, hnsw_graph, libraries
from benchmarks.search_speed import ROUNDS, timed
from benchmarks.session import Session
from kith.searchers.searcher import Int8Searcher

#: Recall of the nearest subject that the graph must reach to stand in the table.
_RECALL = 0.99

_MOST_EF = 16_384


def graph(session: Session, who: People, tell: Callable[[str], None]) -> list[Figure]:
    """HNSW at the ef at which it finds nearly every nearest subject, of mated and non-mated probes together."""
    faiss, _ = libraries()
    torch.set_num_threads(1)
    searcher = Int8Searcher()
    searcher.pack(who.view)
    index = faiss.IndexFlatIP(who.templates.shape[1])
    index.add(who.templates)
    tell("building an HNSW graph")
    faiss.omp_set_num_threads(2)
    hnsw = hnsw_graph(faiss, who.templates)
    faiss.omp_set_num_threads(1)
    probes = who.probes(session.scaled(1000, 100))
    numbers, _ = truth(who.templates, probes, 1)
    ef, recall, found = 32, 0.0, np.zeros(0, bool)
    while recall < _RECALL and ef < _MOST_EF:
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
            {name: timed(session, search, probes, batch) for name, search in contenders.items()},
            session.scaled(ROUNDS, 1),
        )
        ratio = median_ratio(spans["faiss"], spans["hnsw"])
        figures.append(Figure(f"HNSW at that ef, batch {batch}: of FAISS flat's speed", ratio, "×", 1.0))
        ratio = median_ratio(spans["hnsw"], spans["kith"])
        figures.append(Figure(f"Kith, exact, batch {batch}: of that HNSW's speed", ratio, "×", 1.0))
    searcher.close()
    return figures
