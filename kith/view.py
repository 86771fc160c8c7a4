"""A gallery as a worker searches it: `GalleryView`, immutable, and `Replica`, which makes the next view from changes.

A search holds one view and so sees one sequence number from start to end, without a lock. A new view shares with the
old one everything that did not change: templates in blocks of BLOCK_ROWS, subjects in chunks, names in buckets.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Change, Op, Snapshot, Vectors

#: Buckets of the name index: a change copies one bucket and the tuple of all, so both should stay small.
_BUCKETS = 1024
_CHUNK = 1024

#: No subject: the slot is free.
FREE = -1

Owners = NDArray[np.int32]
Row = tuple[str, str] | None
Chunk = TypeVar("Chunk")


@dataclass(frozen=True, slots=True, eq=False)
class GalleryView:
    """One gallery at one sequence number. Read-only, and safe to use from any thread for any length of time.

    blocks: float32 (rows, d), rows ≤ BLOCK_ROWS; owners: int32 (rows,), the subject's row for each template, FREE for a
    free slot. Slot s is row s % BLOCK_ROWS of block s // BLOCK_ROWS. subjects, templates: how many.
    """

    name: str
    model_id: str
    dimension: int
    cutoff: float | None
    sequence: int
    subjects: int
    templates: int
    blocks: tuple[Vectors, ...]
    owners: tuple[Owners, ...]
    _table: tuple[list[Row], ...]
    _buckets: tuple[dict[str, int], ...]

    def subject_at(self, row: int) -> tuple[str, str]:
        """(subject_id, name) of a row found in `owners`."""
        subject = self._table[row // _CHUNK][row % _CHUNK]
        assert subject is not None
        return subject

    def row_of(self, subject: str) -> int | None:
        """The row of the subject of this (normalised) name, None when nobody has it."""
        return self._buckets[hash(subject) % _BUCKETS].get(subject)

    def slots_of(self, row: int) -> list[int]:
        """The slots of a subject's templates, ascending."""
        found: list[int] = []
        for block, owners in enumerate(self.owners):
            found.extend((np.flatnonzero(owners == row) + block * BLOCK_ROWS).tolist())
        return found

    def vector(self, slot: int) -> Vectors:
        """The template in `slot`, float32 (d,)."""
        vector: Vectors = self.blocks[slot // BLOCK_ROWS][slot % BLOCK_ROWS]
        return vector


class _Shared(Generic[Chunk]):
    """Chunks that published views also hold: `own` gives one that they do not, copied once per batch of changes."""

    def __init__(self, copy: Callable[[Chunk], Chunk], chunks: Iterable[Chunk] = ()) -> None:
        self._copy = copy
        self._chunks = list(chunks)
        self._owned: set[int] = set(range(len(self._chunks)))

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, index: int) -> Chunk:
        return self._chunks[index]

    def add(self, chunk: Chunk) -> None:
        self._owned.add(len(self._chunks))
        self._chunks.append(chunk)

    def own(self, index: int) -> Chunk:
        if index not in self._owned:
            self._chunks[index] = self._copy(self._chunks[index])
            self._owned.add(index)
        return self._chunks[index]

    def publish(self) -> tuple[Chunk, ...]:
        self._owned.clear()
        return tuple(self._chunks)


class Replica:
    """Follows one gallery: `view` is the newest state, `apply` makes the next. One thread at a time may apply.

    Takes over the arrays of `snapshot`.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._name, self._model_id, self._dimension = snapshot.name, snapshot.model_id, snapshot.dimension
        self.epoch = snapshot.epoch
        self._cutoff, self._sequence = snapshot.cutoff, snapshot.sequence
        self._blocks: list[Vectors] = list(snapshot.blocks)
        #: Rows of each block that some view may read; rows beyond are ours to write.
        self._visible = [0] * len(self._blocks)
        self._rows = [0] * len(self._blocks)
        self._windows: list[Vectors] = list(snapshot.blocks)
        self._touched = set(range(len(self._blocks)))
        self._owners: _Shared[Owners] = _Shared(np.ndarray.copy, (_free_block() for _ in self._blocks))
        self._owner_windows = [self._owners[block] for block in range(len(self._owners))]
        self._table: _Shared[list[Row]] = _Shared(list.copy)
        self._names: _Shared[dict[str, int]] = _Shared(dict.copy, ({} for _ in range(_BUCKETS)))
        self._row_of: dict[str, int] = {}
        self._free_rows: list[int] = []
        self._templates = 0
        for subject_id, subject in snapshot.names.items():
            self._call(subject_id, subject)
        for slot, subject_id in snapshot.owners.items():
            self._own_slot(slot, self._row_of[subject_id])
        self.view = self._publish()

    def apply(self, changes: Iterable[Change]) -> GalleryView:
        """The view after `changes`, which are in order and hold no RELOAD; those already known are skipped.

        A block is copied at most once per call, and not at all for templates in slots no view has read.
        """
        for change in changes:
            if change.sequence <= self._sequence:
                continue
            if change.op is Op.ENROL:
                assert change.vector is not None
                self._call(change.subject_id, change.subject)
                self._write(change.slot, change.vector)
                self._own_slot(change.slot, self._row_of[change.subject_id])
            elif change.op is Op.RENAME:
                self._call(change.subject_id, change.subject)
            elif change.op is Op.FORGET:
                self._forget(change.subject_id)
            elif change.op is Op.CUTOFF:
                self._cutoff = change.cutoff
            self._sequence = change.sequence
        if self._sequence != self.view.sequence:
            self.view = self._publish()
        return self.view

    def _publish(self) -> GalleryView:
        for block in self._touched:
            rows = self._visible[block] = self._rows[block]
            window = self._blocks[block][:rows]
            window.flags.writeable = False
            self._windows[block] = window
            owners = self._owners[block][:rows]
            owners.flags.writeable = False
            self._owner_windows[block] = owners
        self._touched.clear()
        self._owners.publish()
        return GalleryView(
            name=self._name,
            model_id=self._model_id,
            dimension=self._dimension,
            cutoff=self._cutoff,
            sequence=self._sequence,
            subjects=len(self._row_of),
            templates=self._templates,
            blocks=tuple(self._windows),
            owners=tuple(self._owner_windows),
            _table=self._table.publish(),
            _buckets=self._names.publish(),
        )

    def _write(self, slot: int, vector: Vectors) -> None:
        block, row = divmod(slot, BLOCK_ROWS)
        while len(self._blocks) <= block:
            empty = np.zeros((BLOCK_ROWS, self._dimension), np.float32)
            self._blocks.append(empty)
            self._windows.append(empty)
            self._visible.append(0)
            self._rows.append(0)
            self._owners.add(_free_block())
            self._owner_windows.append(self._owners[len(self._owners) - 1])
            self._touched.add(len(self._blocks) - 1)
        if row < self._visible[block]:
            # Some search may be reading this row now, so it keeps the old array and we go on with a copy.
            self._blocks[block] = self._blocks[block].copy()
            self._visible[block] = 0
        # No race otherwise: every published window of this array ends before this row.
        self._blocks[block][row] = vector
        self._touched.add(block)

    def _own_slot(self, slot: int, owner: int) -> None:
        block, row = divmod(slot, BLOCK_ROWS)
        owners = self._owners.own(block)
        self._templates += int(owner != FREE) - int(owners[row] != FREE)
        owners[row] = owner
        self._rows[block] = max(self._rows[block], row + 1)
        self._touched.add(block)

    def _call(self, subject_id: str, subject: str) -> None:
        row = self._row_of.get(subject_id)
        if row is None:
            row = self._free_rows.pop() if self._free_rows else self._add_row()
            self._row_of[subject_id] = row
        else:
            known = self._table[row // _CHUNK][row % _CHUNK]
            assert known is not None
            if known[1] == subject:
                return
            self._drop_name(known[1])
        self._table.own(row // _CHUNK)[row % _CHUNK] = (subject_id, subject)
        self._names.own(hash(subject) % _BUCKETS)[subject] = row

    def _add_row(self) -> int:
        row = len(self._row_of)
        if row // _CHUNK == len(self._table):
            self._table.add([])
        self._table.own(row // _CHUNK).append(None)
        return row

    def _drop_name(self, subject: str) -> None:
        # It is this subject's still: a name is free in the log before another subject takes it.
        del self._names.own(hash(subject) % _BUCKETS)[subject]

    def _forget(self, subject_id: str) -> None:
        row = self._row_of.pop(subject_id, None)
        if row is None:
            # Known gone already, from an `early` change before this one.
            return
        nothing = np.zeros(self._dimension, np.float32)
        for block in range(len(self._owners)):
            for slot in (np.flatnonzero(self._owners[block] == row) + block * BLOCK_ROWS).tolist():
                self._write(slot, nothing)
                self._own_slot(slot, FREE)
        known = self._table.own(row // _CHUNK)[row % _CHUNK]
        assert known is not None
        self._drop_name(known[1])
        self._table.own(row // _CHUNK)[row % _CHUNK] = None
        self._free_rows.append(row)


def _free_block() -> Owners:
    return np.full(BLOCK_ROWS, FREE, np.int32)
