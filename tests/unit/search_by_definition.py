"""What a search answers, computed plainly: exact sums, rounded once, ties by slot."""

import math

import numpy as np

from kith.gallery_settings import Scoring
from kith.journal import BLOCK_ROWS, FREE, Vectors
from kith.similarity import Found, Hit, Without
from kith.similarity.searcher import NOBODY
from kith.view import GalleryView


def defined(view: GalleryView, probe: Vectors, k: int, without: Without = NOBODY) -> list[Hit]:
    """Every subject scored by exact sums; means by the definition, template by template."""
    whose: dict[int, list[int]] = {}
    for block, owners in enumerate(view.owners):
        for row, owner in enumerate(owners.tolist()):
            slot = block * BLOCK_ROWS + row
            if owner != FREE and owner not in without.subjects and slot not in without.slots:
                whose.setdefault(owner, []).append(slot)
    hits = []
    for owner, slots in whose.items():
        candidates = [(view.vector(slot), slot) for slot in slots]
        if view.settings.scoring is not Scoring.BEST:
            weights = [1.0] * len(slots)
            if view.settings.scoring is Scoring.QUALITY:
                weights = [float(view.qualities[slot // BLOCK_ROWS][slot % BLOCK_ROWS]) for slot in slots]
            if not any(weights):
                weights = [1.0] * len(slots)
            total = np.zeros(view.dimension)
            for (vector, _), weight in zip(candidates, weights, strict=True):
                total += vector.astype(np.float64) * weight
            norm = np.sqrt((total * total).sum())
            candidates = [((total / norm if norm else total).astype(np.float32), slots[0])]
        score, slot = min((-exact(vector, probe), slot) for vector, slot in candidates)
        hits.append(Hit(*view.subject_at(owner), -score, slot))
    return sorted(hits, key=lambda hit: (-hit.score, hit.slot))[:k]


def exact(vector: Vectors, probe: Vectors) -> float:
    return float(np.float32(math.fsum((vector.astype(np.float64) * probe.astype(np.float64)).tolist())))


def same_as_defined(found: Found, view: GalleryView, probes: Vectors, k: int, without: Without = NOBODY) -> None:
    assert found.hits == [defined(view, probe, k, without) for probe in probes]
    proof = found.certificate
    assert (proof.excluded >= 0).all()
    assert (proof.excluded + proof.rescored == proof.searched).all()
    for hits, floor in zip(found.hits, proof.floor.tolist(), strict=True):
        assert floor == (hits[-1].score if len(hits) == k else -math.inf)
