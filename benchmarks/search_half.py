"""Searches of templates kept in half precision, beside those of the same templates in single precision."""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.report import Figure, at_most
from benchmarks.rounds import interleave, median_ratio
from benchmarks.search_data import People, replica_of
from benchmarks.search_peers import Search
from benchmarks.search_speed import ROUNDS, timed
from benchmarks.session import Session
from kith.searchers.searcher import Int8Searcher
from kith.view import GalleryView

#: Bytes of templates and packed forms, of those of float32 templates.
_MEMORY = 0.8

#: How far a score may be off.
_OFF = 0.0005


def half(session: Session, who: People, tell: Callable[[str], None]) -> list[Figure]:
    """What it takes, what it costs and what it changes."""
    tell("searching in half precision")
    torch.set_num_threads(1)
    rounded = replica_of(who.templates.copy(), half=True).view
    searcher = Int8Searcher()
    searcher.pack(rounded)
    held = (
        sum(block.nbytes for block in rounded.blocks) + searcher.nbytes(lambda form: form.nbytes)
    ) / who.templates.nbytes
    single = Int8Searcher()
    single.pack(who.view)
    figures = [at_most("half precision: memory, of the templates' in single precision", held, _MEMORY)]
    for batch in (1, 64):
        contenders = {"half": _searching(searcher, rounded), "single": _searching(single, who.view)}
        probes = who.probes(8 * batch)
        spans = interleave(
            {name: timed(session, search, probes, batch) for name, search in contenders.items()},
            session.scaled(ROUNDS, 1),
        )
        ratio = median_ratio(spans["single"], spans["half"])
        figures.append(Figure(f"half precision, batch {batch}: of single precision's speed", ratio, "×", 1.0))
    probes = who.probes(session.scaled(4_000, 200))
    exact = [hits[0] for hits in single.search(who.view, probes, 1)]
    kept = [hits[0] for hits in searcher.search(rounded, probes, 1)]
    off = np.array([abs(mine.score - theirs.score) for mine, theirs in zip(kept, exact, strict=True)])
    same = sum(mine.subject_id == theirs.subject_id for mine, theirs in zip(kept, exact, strict=True))
    searcher.close()
    single.close()
    return [
        *figures,
        at_most(f"half precision: greatest change of a score, {len(probes):,} probes", float(off.max()), _OFF),
        Figure("half precision: median change of a score", float(np.median(off)), ""),
        Figure("half precision: nearest subject unchanged", same, "probes", len(probes)),
    ]


def _searching(searcher: Int8Searcher, view: GalleryView) -> Search:
    return lambda probes: searcher.search(view, probes)
