"""Searching ten million templates on a GPU: how near to the speed at which it can read them at all?

The floor is the size of the half-precision templates over the device's memory bandwidth, which is measured beside it: a
copy within the device, bytes read and bytes written counted. A search is everything `find` does, from probes in the
host's memory to names and scores in it, exact scores from float32 included.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from benchmarks.report import Figure, at_most
from benchmarks.search_data import TEMPLATES, replica_of
from benchmarks.session import Session, Unavailable
from kith.journal import Vectors
from kith.searchers.searcher import HalfSearcher
from kith.view import GalleryView

_TIMES = 30
_BATCHES = (1, 16, 64)

#: Of the floor, at batches of 64.
_TARGET = 1.3

#: Probes compared with brute force in float64.
_CHECKED = 1024

#: Length of the noise around an identity's centre, as in benchmarks.search_data.
_NOISE = 0.8

_ROWS_AT_ONCE = 1 << 18


def run(session: Session) -> list[Figure]:
    """Times of whole searches over the floor, by batch; answers compared with brute force."""
    if not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device here")
    size, dimension = (100_000, 128) if session.quick else (10_000_000, 512)
    card = torch.cuda.get_device_name()
    figures = []
    with session.progress("search-gpu") as tell:
        tell(f"making {size:,} × {dimension}")
        view, templates = _people(size, dimension)
        searcher = HalfSearcher("cuda")
        searcher.pack(view)
        bandwidth = _bandwidth()
        figures.append(Figure(f"{card}: memory, read and written", bandwidth / 1e9, "GB/s"))
        floor_ms = size * dimension * 2 / bandwidth * 1000
        figures.append(Figure(f"{size:,} × {dimension}, reading them in half precision (the floor)", floor_ms, "ms"))
        for batch in _BATCHES:
            tell(f"batches of {batch}")
            took_ms = _search_ms(searcher, view, templates, batch)
            over = took_ms / floor_ms
            name = f"{size:,} × {dimension}, batch {batch}: search, over the floor"
            figures.append(at_most(name, over, _TARGET) if batch == max(_BATCHES) else Figure(name, over, "×"))
            figures.append(Figure(f"{size:,} × {dimension}, batch {batch}: search", took_ms, "ms"))
        tell("two callers")
        took_ms = _two_callers_ms(searcher, view, templates, max(_BATCHES))
        name = f"{size:,} × {dimension}, batch {max(_BATCHES)}, two callers: time per search, over the floor"
        figures.append(Figure(name, took_ms / floor_ms, "×"))
        tell("comparing with brute force")
        wrong = _wrong(searcher, view, templates)
        figures.append(at_most(f"probes of {_CHECKED:,} whose two subjects are not brute force's", wrong, 0))
        searcher.close()
    return figures


def _people(size: int, dimension: int) -> tuple[GalleryView, Vectors]:
    """Clustered unit vectors, made on the device and kept in the host's memory, TEMPLATES rows per subject."""
    generator = torch.Generator("cuda").manual_seed(0)
    templates = np.empty((size // TEMPLATES * TEMPLATES, dimension), np.float32)
    for start in range(0, len(templates), _ROWS_AT_ONCE):
        rows = min(_ROWS_AT_ONCE, len(templates) - start)
        centres = torch.randn((rows // TEMPLATES, dimension), generator=generator, device="cuda")
        made = _around(torch.nn.functional.normalize(centres).repeat_interleave(TEMPLATES, dim=0), generator)
        templates[start : start + rows] = made.cpu().numpy()
    return replica_of(templates).view, templates


def _around(centres: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(centres.shape, generator=generator, device="cuda")
    return torch.nn.functional.normalize(centres + noise * (_NOISE / centres.shape[1] ** 0.5))


def _probes(templates: Vectors, count: int, seed: int) -> Vectors:
    """Mated and non-mated ones in turn."""
    generator = torch.Generator("cuda").manual_seed(seed)
    centres = torch.nn.functional.normalize(
        torch.randn((count, templates.shape[1]), generator=generator, device="cuda")
    )
    mated = np.random.default_rng(seed).integers(0, len(templates) // TEMPLATES, (count + 1) // 2) * TEMPLATES
    whose = np.stack([templates[at : at + TEMPLATES].mean(axis=0) for at in mated.tolist()])
    centres[0::2] = torch.nn.functional.normalize(torch.from_numpy(whose).cuda())
    probes: Vectors = _around(centres, generator).cpu().numpy()
    return probes


def _bandwidth() -> float:
    """Bytes a second, read and written, of the best of a few large copies."""
    source = torch.ones(1 << 32, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        best = max(best, 2 * source.numel() / (start.elapsed_time(end) / 1000))
    return best


def _search_ms(searcher: HalfSearcher, view: GalleryView, templates: Vectors, batch: int) -> float:
    """Median of whole searches, each of probes of its own."""
    lots = [_probes(templates, batch, 1 + number) for number in range(_TIMES + 3)]
    took = []
    for probes in lots:
        began_s = time.perf_counter()
        searcher.find(view, probes, 2)
        took.append((time.perf_counter() - began_s) * 1000)
    return float(np.median(took[3:]))


def _two_callers_ms(searcher: HalfSearcher, view: GalleryView, templates: Vectors, batch: int) -> float:
    """Time per search of two threads that search all the time: what the host does falls into the other's sweep."""
    lots = [[_probes(templates, batch, 100 + 50 * caller + number) for number in range(_TIMES)] for caller in range(2)]

    def call(mine: list[Vectors]) -> None:
        for probes in mine:
            searcher.find(view, probes, 2)

    began_s = time.perf_counter()
    with ThreadPoolExecutor(2) as callers:
        list(callers.map(call, lots))
    return (time.perf_counter() - began_s) * 1000 / (2 * _TIMES)


def _wrong(searcher: HalfSearcher, view: GalleryView, templates: Vectors) -> int:
    """Probes whose two nearest subjects are not those of float64 brute force on the device."""
    probes = _probes(templates, _CHECKED, 99)
    exact = torch.from_numpy(probes).cuda().double()
    best = torch.full((len(probes), 2), -2.0, dtype=torch.float64, device="cuda")
    whose = torch.zeros((len(probes), 2), dtype=torch.int64, device="cuda")
    for start in range(0, len(templates), _ROWS_AT_ONCE):
        rows = torch.from_numpy(templates[start : start + _ROWS_AT_ONCE]).cuda().double()
        scores = (exact @ rows.t()).view(len(probes), -1, TEMPLATES).amax(dim=2)
        near, at = scores.topk(2, dim=1)
        every = torch.cat((best, near), dim=1)
        best, chosen = every.topk(2, dim=1)
        whose = torch.cat((whose, at + start // TEMPLATES + 1), dim=1).gather(1, chosen)
    wanted = [[f"{number:016x}" for number in row] for row in whose.tolist()]
    found = [[hit.subject_id for hit in row] for row in searcher.search(view, probes, 2)]
    return sum(mine != theirs for mine, theirs in zip(found, wanted, strict=True))
