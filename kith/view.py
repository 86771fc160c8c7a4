"""A gallery as a worker searches it: `GalleryView`, immutable, and `Replica`, which makes the next view from changes.

A search holds one view and so sees one sequence number from start to end, without a lock. A new view shares with the
old one everything that did not change: templates in blocks of BLOCK_ROWS, subjects in chunks, names in buckets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kith.collecting import not_collecting
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS, FREE, Change, Op, Owners, Qualities, Snapshot, Vectors, slots_of, widened
from kith.shared_chunks import Shared
from kith.wiping import wiped_when_dropped

__all__ = ["FREE", "GalleryView", "Replica"]

#: Buckets of the name index: a change copies one bucket and the tuple of all, so both should stay small.
_BUCKETS = 1024
_CHUNK = 1024

Row = tuple[str, str] | None
Array = TypeVar("Array", bound=NDArray[Any])


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class GalleryView:
    """One gallery at one sequence number. Read-only, and safe to use from any thread for any length of time.

    blocks: float32 (rows, d), or float16 of a replica in half precision, rows ≤ BLOCK_ROWS; owners: int32 (rows,), the
    number of the subject of each template, FREE for a free slot; qualities: float32 (rows,), 0..1. Slot s is row
    s % BLOCK_ROWS of block s // BLOCK_ROWS. subjects, templates: how many. Blocks that did not change are the same
    arrays, or longer windows of them, from view to view.
    """

    name: str
    epoch: str
    model_id: str
    dimension: int
    settings: GallerySettings
    sequence: int
    subjects: int
    templates: int
    blocks: tuple[Vectors, ...]
    owners: tuple[Owners, ...]
    qualities: tuple[Qualities, ...]
    _table: tuple[list[Row], ...]
    _buckets: tuple[dict[str, int], ...]

    @property
    def cutoff(self) -> float | None:
        """The gallery's own cutoff, None for the model's."""
        return self.settings.cutoff

    def subject_at(self, number: int) -> tuple[str, str]:
        """(subject_id, name) of a number found in `owners`."""
        [subject] = self.subjects_at([number])
        return subject

    def subjects_at(self, numbers: Sequence[int]) -> list[tuple[str, str]]:
        """`subject_at` of many."""
        table = self._table
        subjects = [table[number // _CHUNK][number % _CHUNK] for number in numbers]
        assert None not in subjects
        return subjects  # type: ignore[return-value]

    def row_of(self, subject: str) -> int | None:
        """The number of the subject of this (normalised) name, None when nobody has it."""
        return self._buckets[hash(subject) % _BUCKETS].get(subject)

    def slots_of(self, number: int) -> list[int]:
        """The slots of a subject's templates, ascending."""
        return slots_of(self.owners, number)

    def vector(self, slot: int) -> Vectors:
        """The template in `slot`, float32 (d,)."""
        vector: Vectors = self.blocks[slot // BLOCK_ROWS][slot % BLOCK_ROWS]
        return vector


class Replica:
    """Follows one gallery: `view` is the newest state, `apply` makes the next. One thread at a time may apply.

    Takes over the arrays of `snapshot`. half: keep vectors as float16, in half the memory. A score is then off by
    0.0005 at the most: 2⁻¹¹ of |p||g|, and 2⁻²⁵ for each number too small for the full precision of float16.
    """

    def __init__(self, snapshot: Snapshot, *, half: bool = False) -> None:
        self._kept_as = np.float16 if half else np.float32
        self._name, self._model_id, self._dimension = snapshot.name, snapshot.model_id, snapshot.dimension
        self.epoch = snapshot.epoch
        self._settings, self._sequence = snapshot.settings, snapshot.sequence
        # Whoever is forgotten leaves a block by a copy of it: the old one must not lie about in freed memory. The
        # snapshot's blocks are taken over, in its list too: a second reader must not outlive the memory.
        for at, block in enumerate(snapshot.blocks):
            snapshot.blocks[at] = wiped_when_dropped(block)
            if half:
                # One at a time: what it was is free before the next one is looked at.
                snapshot.blocks[at] = wiped_when_dropped(snapshot.blocks[at].astype(np.float16))
        self._blocks: list[Vectors] = list(snapshot.blocks)
        #: Rows of each block that some view may read; rows beyond are ours to write.
        self._visible = [0] * len(self._blocks)
        self._rows = [len(owners) for owners in snapshot.owners]
        self._windows: list[Vectors] = list(snapshot.blocks)
        self._touched = set(range(len(self._blocks)))
        self._owners: Shared[Owners] = Shared(widened, snapshot.owners)
        self._qualities: Shared[Qualities] = Shared(widened, snapshot.qualities)
        self._owner_windows = list(snapshot.owners)
        self._quality_windows = list(snapshot.qualities)
        table: list[list[Row]] = [[None] * _CHUNK for _ in range(max(snapshot.names, default=-1) // _CHUNK + 1)]
        names: list[dict[str, int]] = [{} for _ in range(_BUCKETS)]
        # Not by `_call`: of a million subjects this loop is what a load waits for.
        with not_collecting():
            for number, subject in snapshot.names.items():
                table[number // _CHUNK][number % _CHUNK] = subject
                names[hash(subject[1]) % _BUCKETS][subject[1]] = number
        self._table: Shared[list[Row]] = Shared(list.copy, table)
        self._names: Shared[dict[str, int]] = Shared(dict.copy, names)
        self._subjects = len(snapshot.names)
        self._templates = sum(int(np.count_nonzero(owners != FREE)) for owners in snapshot.owners)
        # Arrays that came in are not ours to write before they are copied: they may be read-only, or end early.
        self._owners.publish()
        self._qualities.publish()
        self.view = self._publish()

    def apply(self, changes: Iterable[Change]) -> GalleryView:
        """The view after `changes`, which are in order and hold no RELOAD; those already known are skipped.

        A block is copied at most once per call, and not at all for templates in slots no view has read.
        """
        for change in changes:
            if change.sequence <= self._sequence:
                continue
            if change.op in (Op.ENROL, Op.MOVE, Op.RENAME):
                self._call(change.number, change.subject_id, change.subject)
            if change.op in (Op.ENROL, Op.MOVE):
                assert change.vectors is not None
                assert change.qualities is not None
                for slot, vector, quality in zip(change.slots, change.vectors, change.qualities, strict=True):
                    self._put(slot, vector, change.number, float(quality))
                self._clear(change.lost)
            elif change.op is Op.REMOVE:
                self._clear(change.slots)
            elif change.op is Op.FORGET:
                self._clear(change.slots)
                if change.early:
                    # Slots he got in a change we have not read yet: later ones of the log free them, but nobody shall
                    # see a part of a forgotten subject until then.
                    self._clear(slots_of([self._owners[block] for block in range(len(self._owners))], change.number))
                self._forget(change.number)
            elif change.op is Op.SETTINGS:
                assert change.settings is not None
                self._settings = change.settings
            self._forget(change.gone)
            self._sequence = change.sequence
        if self._sequence != self.view.sequence:
            self.view = self._publish()
        return self.view

    def _publish(self) -> GalleryView:
        for block in self._touched:
            rows = self._visible[block] = self._rows[block]
            self._windows[block] = _window(self._blocks[block], rows)
            self._owner_windows[block] = _window(self._owners[block], rows)
            self._quality_windows[block] = _window(self._qualities[block], rows)
        self._touched.clear()
        self._owners.publish()
        self._qualities.publish()
        return GalleryView(
            name=self._name,
            epoch=self.epoch,
            model_id=self._model_id,
            dimension=self._dimension,
            settings=self._settings,
            sequence=self._sequence,
            subjects=self._subjects,
            templates=self._templates,
            blocks=tuple(self._windows),
            owners=tuple(self._owner_windows),
            qualities=tuple(self._quality_windows),
            _table=self._table.publish(),
            _buckets=self._names.publish(),
        )

    def _put(self, slot: int, vector: Vectors, owner: int, quality: float) -> None:
        block, row = divmod(slot, BLOCK_ROWS)
        vector = vector.astype(self._kept_as, copy=False)
        while len(self._blocks) <= block:
            empty = wiped_when_dropped(np.zeros((BLOCK_ROWS, self._dimension), self._kept_as))
            self._blocks.append(empty)
            self._windows.append(empty[:0])
            self._visible.append(0)
            self._rows.append(0)
            self._owners.add(np.zeros(BLOCK_ROWS, np.int32))
            self._qualities.add(np.zeros(BLOCK_ROWS, np.float32))
            self._owner_windows.append(self._owners[len(self._owners) - 1][:0])
            self._quality_windows.append(self._qualities[len(self._qualities) - 1][:0])
        if row < self._visible[block] or row >= len(self._blocks[block]):
            # Some search may be reading this row now, so it keeps the old array and we go on with a copy.
            if not (row < self._visible[block] and np.array_equal(self._blocks[block][row], vector)):
                self._blocks[block] = wiped_when_dropped(widened(self._blocks[block]))
                self._visible[block] = 0
                self._blocks[block][row] = vector
        else:
            # No race: every published window of this array ends before this row.
            self._blocks[block][row] = vector
        owners, qualities = self._owners.own(block), self._qualities.own(block)
        self._templates += int(owner != FREE) - int(owners[row] != FREE)
        owners[row], qualities[row] = owner, quality
        self._rows[block] = max(self._rows[block], row + 1)
        self._touched.add(block)

    def _clear(self, slots: Iterable[int]) -> None:
        nothing = np.zeros(self._dimension, np.float32)
        for slot in slots:
            # A slot we never heard of is one whose template came and went before we read of it.
            if slot // BLOCK_ROWS < len(self._blocks):
                self._put(slot, nothing, FREE, 0.0)

    def _call(self, number: int, subject_id: str, subject: str) -> None:
        while number // _CHUNK >= len(self._table):
            self._table.add([None] * _CHUNK)
        known = self._table[number // _CHUNK][number % _CHUNK]
        if known is not None:
            if known[1] == subject:
                return
            self._drop_name(known[1])
        else:
            self._subjects += 1
        self._table.own(number // _CHUNK)[number % _CHUNK] = (subject_id, subject)
        self._names.own(hash(subject) % _BUCKETS)[subject] = number

    def _drop_name(self, subject: str) -> None:
        # It is this subject's still: a name is free in the log before another subject takes it.
        del self._names.own(hash(subject) % _BUCKETS)[subject]

    def _forget(self, number: int) -> None:
        chunk = number // _CHUNK
        known = self._table[chunk][number % _CHUNK] if chunk < len(self._table) else None
        if known is None:
            # Nobody, or known gone already from an `early` change before this one.
            return
        self._drop_name(known[1])
        self._table.own(chunk)[number % _CHUNK] = None
        self._subjects -= 1


def _window(array: Array, rows: int) -> Array:
    window = array[:rows]
    window.flags.writeable = False
    return window  # type: ignore[return-value]
