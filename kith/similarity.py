"""Exact search: the nearest subjects of a probe, by cosine. The only file that knows that vectors are unit.

Two passes. The first finds candidates with float32 matrix products, which round differently from one batch size to the
next; the second scores the candidates in float64 and rounds once. So the answer is brute force's, and the same for a
probe alone and for the same probe in a batch. See `_slack` for why the first pass loses nobody.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kith.errors import ModelMismatch, UnknownSubject
from kith.journal import BLOCK_ROWS, Vectors
from kith.names import subject_name
from kith.view import FREE, GalleryView

#: Blocks scored before the running best is brought up to date: few enough that the scores stay in the cache.
_BLOCKS_AT_ONCE = 16

Scores = NDArray[np.float32]
Indices = NDArray[np.intp]


class Hit(NamedTuple):
    """One subject found. score: cosine of its best template, which is in `slot`.

    A tuple for its price: a search of a small gallery spends more on building its answer than on finding it.
    """

    subject_id: str
    subject: str
    score: float
    slot: int


def search(view: GalleryView, probes: Vectors, k: int = 2) -> list[list[Hit]]:
    """For each probe the `k` nearest distinct subjects of `view`, best first; fewer when the gallery has fewer.

    probes: float32 (B, d), unit. Scores are exact to float32; equal ones are ordered by slot, lowest first.
    Raises ModelMismatch when the probes' dimension is not the gallery's, ValueError when k < 1.
    """
    if k < 1:
        raise ValueError(f"a search needs k of at least 1, not {k}")
    probes = _checked(view, probes)
    count = len(probes)
    best = np.full((count, k), -np.inf, np.float32)
    best_rows = np.full((count, k), FREE, np.int32)
    slack = _slack(view.dimension)
    found: list[tuple[Indices, Indices]] = []
    for start in range(0, len(view.blocks), _BLOCKS_AT_ONCE):
        scores, owners, slots = _score(view, probes, start)
        # A probe goes on only where this chunk holds something near its k-th best so far: nearly always, nobody does.
        active = np.flatnonzero(scores.max(axis=1, initial=-np.inf) >= best[:, -1] - slack)
        if not active.size:
            continue
        mine = scores if active.size == count else scores[active]
        near, near_rows = _distinct(mine.copy(), owners, k)
        best[active], best_rows[active] = _distinct(
            np.concatenate((best[active], near), axis=1), np.concatenate((best_rows[active], near_rows), axis=1), k
        )
        # Free slots score −inf, and so would pass while there are fewer than k subjects: `>` −inf keeps them out.
        floor = np.maximum(best[active, -1:] - slack, np.finfo(np.float32).min)
        probe, column = np.nonzero(mine >= floor)
        if probe.size:
            found.append((active[probe], slots[column]))
    if not found:
        return [[] for _ in range(count)]
    return _ranked(view, probes, np.concatenate([at for at, _ in found]), np.concatenate([s for _, s in found]), k)


def score_subject(view: GalleryView, probe: Vectors, subject: str) -> Hit:
    """The best template of the subject claimed. probe: float32 (d,), unit.

    Raises UnknownSubject, InvalidName, ModelMismatch.
    """
    probes = _checked(view, probe[np.newaxis])
    row = view.row_of(subject_name(subject))
    slots = [] if row is None else view.slots_of(row)
    if not slots:
        raise UnknownSubject(f"nobody is called {subject!r} in gallery {view.name} at sequence {view.sequence}")
    return _ranked(view, probes, np.zeros(len(slots), np.intp), np.array(slots), 1)[0][0]


def _checked(view: GalleryView, probes: Vectors) -> Vectors:
    if probes.ndim != 2 or probes.shape[1] != view.dimension:
        raise ModelMismatch(
            f"gallery {view.name} holds vectors of {view.dimension} numbers, the probes have shape {probes.shape}"
        )
    return np.ascontiguousarray(probes, np.float32)


def _slack(dimension: int) -> np.float32:
    """How far below the k-th best of the first pass a template may score there and still belong to the k best.

    A float32 dot product of d products is off by at most d · 2⁻²⁴ · Σ|pᵢgᵢ| whatever the order of summation, and
    Σ|pᵢgᵢ| ≤ |p||g| = 1. Both the template and the k-th best may be off, in opposite directions. The quarter on top
    covers norms a little over 1 and the second pass's rounding.
    """
    return np.float32(2.5 * (dimension + 2) * 2.0**-24)


def _score(view: GalleryView, probes: Vectors, start: int) -> tuple[Scores, NDArray[np.int32], Indices]:
    """Scores float32 (B, C), owners int32 (C,) and slots (C,) of `_BLOCKS_AT_ONCE` blocks; free slots score −inf."""
    blocks = view.blocks[start : start + _BLOCKS_AT_ONCE]
    owners = np.concatenate(view.owners[start : start + _BLOCKS_AT_ONCE])
    if len(blocks) == 1:
        scores: Scores = probes @ blocks[0].T
        slots = np.arange(start * BLOCK_ROWS, start * BLOCK_ROWS + len(owners))
    else:
        scores = np.empty((len(probes), len(owners)), np.float32)
        slots = np.empty(len(owners), np.intp)
        column = 0
        for number, block in enumerate(blocks, start):
            end = column + len(block)
            np.matmul(probes, block.T, out=scores[:, column:end])
            slots[column:end] = np.arange(number * BLOCK_ROWS, number * BLOCK_ROWS + len(block))
            column = end
    free = owners == FREE
    if free.any():
        scores[:, free] = -np.inf
    return scores, owners, slots


def _distinct(scores: Scores, owners: NDArray[np.int32], k: int) -> tuple[Scores, NDArray[np.int32]]:
    """The k best scores of distinct owners in each row of `scores` (A, C), best first, and their owners; both (A, k).

    owners: (C,), or (A, C). Overwrites `scores`. Where a row has fewer owners, −inf and an owner of no meaning.
    """
    rows = np.arange(len(scores))
    every = owners if owners.ndim == 2 else owners[np.newaxis]
    best = np.empty((len(scores), k), np.float32)
    whose = np.empty((len(scores), k), np.int32)
    for rank in range(k):
        column = scores.argmax(axis=1)
        best[:, rank] = scores[rows, column]
        whose[:, rank] = every[rows if len(every) > 1 else 0, column]
        if rank + 1 < k:
            scores[every == whose[:, rank : rank + 1]] = -np.inf
    return best, whose


def _ranked(view: GalleryView, probes: Vectors, probe: Indices, slots: Indices, k: int) -> list[list[Hit]]:
    """The second pass: candidate i is the template in slots[i], for probes[probe[i]]; the k best distinct of each."""
    templates = np.array([view.vector(slot) for slot in slots.tolist()], np.float64)
    # Rounded before sorting: the same vector under two names must tie, whatever the last bit of a float64 sum says.
    scores = np.einsum("id,id->i", templates, probes[probe].astype(np.float64)).astype(np.float32)
    answers: list[list[Hit]] = [[] for _ in probes]
    order = np.lexsort((slots, -scores, probe))
    for at, slot, score in zip(probe[order].tolist(), slots[order].tolist(), scores[order].tolist(), strict=True):
        answer = answers[at]
        if len(answer) < k:
            owner = int(view.owners[slot // BLOCK_ROWS][slot % BLOCK_ROWS])
            subject_id, subject = view.subject_at(owner)
            if all(hit.subject_id != subject_id for hit in answer):
                answer.append(Hit(subject_id, subject, score, slot))
    return answers
