"""The journal of a gallery and the plain state it builds: `Change` in order onto `Snapshot` gives the gallery.

Changes are state-based: an enrolment says what is in its slots afterwards, a move whose they are, a rename what the
subject is called. Applying one twice, or to a state that already knows of later ones, and then the later ones again,
ends in the same state; that is what lets a snapshot be read while others write.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kith.gallery_settings import GallerySettings

#: Templates in one packed block: large enough that a block costs one round trip, small enough to copy on a write.
BLOCK_ROWS = 1024

#: In `owners`: nobody's, the slot is free. Subjects are numbered from 1 on.
FREE = 0

Vectors = NDArray[np.float32]
Owners = NDArray[np.int32]
Qualities = NDArray[np.float32]
_Array = TypeVar("_Array", bound=NDArray[Any])


class Op(StrEnum):
    """What a change did. RELOAD is never stored: it says that the log no longer reaches back to where it was asked, or
    that the vectors are of another model since (MODEL, which followers never see itself)."""

    ENROL = "enrol"
    REMOVE = "remove"
    MOVE = "move"
    RENAME = "rename"
    DESCRIBE = "describe"
    SETTINGS = "settings"
    MODEL = "model"
    FORGET = "forget"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change of a gallery, number `sequence`, made at `at_ms` (Unix milliseconds).

    ENROL, MOVE, RENAME and DESCRIBE carry number, subject_id and subject (name afterwards) of whom it is about; ENROL
    and MOVE slots with vectors (float32, (slots, d)) and qualities (float32, (slots,)): the templates that the subject
    has afterwards. REMOVE and FORGET carry number and the slots that are free afterwards, SETTINGS the settings.

    lost: slots of templates that were removed later on. They are cleared, and so are never seen by whoever comes late.
    gone: number of the subject that is no more afterwards. early: what the change was about has been forgotten since
    and nothing of it is left; it is handed out as the FORGET that follows later in the log.
    """

    sequence: int
    op: Op
    at_ms: int = 0
    number: int = 0
    subject_id: str = ""
    subject: str = ""
    slots: tuple[int, ...] = ()
    vectors: Vectors | None = None
    qualities: Qualities | None = None
    lost: tuple[int, ...] = ()
    gone: int = 0
    settings: GallerySettings | None = None
    early: bool = False


@dataclass(slots=True, eq=False)
class Snapshot:
    """A whole gallery as it was at `sequence`; the caller owns it and may change it by `apply`.

    blocks: arrays float32 (rows, d) with rows ≤ BLOCK_ROWS, slot s is row s % BLOCK_ROWS of block s // BLOCK_ROWS; some
    may be read-only and end early: `apply` replaces those it writes to. owners: int32 (rows,), the number of the
    subject of each template, FREE for none; qualities: float32 (rows,). Rows of free slots are zero. names: number →
    (subject_id, name). epoch: which gallery of this name it is.
    """

    name: str
    model_id: str
    dimension: int
    epoch: str
    sequence: int = 0
    settings: GallerySettings = field(default_factory=GallerySettings)
    blocks: list[Vectors] = field(default_factory=list)
    owners: list[Owners] = field(default_factory=list)
    qualities: list[Qualities] = field(default_factory=list)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)

    def apply(self, changes: Iterable[Change]) -> None:
        """Bring the state forward, in place. Changes must be in order and of this gallery."""
        for change in changes:
            if change.op in (Op.ENROL, Op.MOVE, Op.RENAME):
                self.names[change.number] = (change.subject_id, change.subject)
            if change.op in (Op.ENROL, Op.MOVE):
                assert change.vectors is not None
                assert change.qualities is not None
                for slot, vector, quality in zip(change.slots, change.vectors, change.qualities, strict=True):
                    self.put(slot, vector, change.number, float(quality))
                self._clear(change.lost)
            elif change.op is Op.REMOVE:
                self._clear(change.slots)
            elif change.op is Op.FORGET:
                # What the state knows as his, beside the slots he had: a state read while slots moved may know of more.
                self._clear(change.slots)
                self._clear(self.slots_of(change.number))
                self.names.pop(change.number, None)
            elif change.op is Op.SETTINGS:
                assert change.settings is not None
                self.settings = change.settings
            self.names.pop(change.gone, None)
            self.sequence = change.sequence

    def slots_of(self, number: int) -> list[int]:
        """Slots of the templates of a subject, ascending."""
        return slots_of(self.owners, number)

    def templates(self) -> tuple[Vectors, Owners]:
        """All templates, (n, d), and the number of each one's subject, (n,); by slot."""
        if not self.blocks:
            return np.empty((0, self.dimension), np.float32), np.empty(0, np.int32)
        taken = [owners != FREE for owners in self.owners]
        vectors = [block[: len(mask)][mask] for block, mask in zip(self.blocks, taken, strict=True)]
        return np.concatenate(vectors), np.concatenate([o[mask] for o, mask in zip(self.owners, taken, strict=True)])

    def row(self, slot: int) -> Vectors:
        """The vector in `slot`, float32 (d,); zeros where there is none."""
        block, row = divmod(slot, BLOCK_ROWS)
        if block >= len(self.blocks) or row >= len(self.blocks[block]):
            return np.zeros(self.dimension, np.float32)
        vector: Vectors = self.blocks[block][row]
        return vector

    def put(self, slot: int, vector: Vectors, owner: int, quality: float) -> None:
        """Write one template, of subject number `owner`."""
        block, row = divmod(slot, BLOCK_ROWS)
        while len(self.blocks) <= block:
            self.blocks.append(np.empty((0, self.dimension), np.float32))
            self.owners.append(np.empty(0, np.int32))
            self.qualities.append(np.empty(0, np.float32))
        if len(self.blocks[block]) < BLOCK_ROWS or not self.blocks[block].flags.writeable:
            self.blocks[block] = widened(self.blocks[block])
        if len(self.owners[block]) < BLOCK_ROWS:
            self.owners[block] = widened(self.owners[block])
            self.qualities[block] = widened(self.qualities[block])
        self.blocks[block][row] = vector
        self.owners[block][row] = owner
        self.qualities[block][row] = quality

    def _clear(self, slots: Iterable[int]) -> None:
        nothing = np.zeros(self.dimension, np.float32)
        for slot in slots:
            self.put(slot, nothing, FREE, 0.0)


def slots_of(owners: Sequence[Owners], number: int) -> list[int]:
    """Slots of the templates of subject `number`, ascending; owners: of each block."""
    found: list[int] = []
    for block, each in enumerate(owners):
        found.extend((np.flatnonzero(each == number) + block * BLOCK_ROWS).tolist())
    return found


def widened(block: _Array) -> _Array:
    """A writable copy of BLOCK_ROWS rows, zeros after those of `block`."""
    wide = np.zeros((BLOCK_ROWS, *block.shape[1:]), block.dtype)
    wide[: len(block)] = block
    return wide  # type: ignore[return-value]
