"""The change log of a gallery and the plain state it builds: `Change` in order onto `Snapshot` gives the gallery.

Changes are state-based: an enrolment says what is in a slot afterwards, a rename what the subject is called afterwards,
a forget that the subject is gone. Applying one twice, or to a state that already knows of it, changes nothing; that is
what lets a snapshot be read while others write.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

#: Templates in one packed block: large enough that a block costs one round trip, small enough to copy on a write.
BLOCK_ROWS = 1024

Vectors = NDArray[np.float32]


class Op(StrEnum):
    """What a change did. RELOAD is never stored: it says that the log no longer reaches back to where it was asked."""

    ENROL = "enrol"
    RENAME = "rename"
    FORGET = "forget"
    CUTOFF = "cutoff"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One change of a gallery, number `sequence`, made at `at_ms` (Unix milliseconds).

    ENROL carries subject_id, subject (its name), slot, template_id, image, quality and vector (float32, (d,)); RENAME
    subject_id and subject (the new name); FORGET subject_id alone; CUTOFF cutoff (None for the model's own).
    early: the change itself was an enrolment or a rename, but its subject has been forgotten since and nothing of it is
    left; it is handed out as the FORGET that follows later in the log.
    """

    sequence: int
    op: Op
    at_ms: int = 0
    subject_id: str = ""
    subject: str = ""
    slot: int = -1
    template_id: str = ""
    image: str = ""
    quality: float = 0.0
    vector: Vectors | None = None
    cutoff: float | None = None
    early: bool = False


@dataclass(slots=True, eq=False)
class Snapshot:
    """A whole gallery as it was at `sequence`; the caller owns it and may change it.

    blocks: arrays float32 (BLOCK_ROWS, d), slot s is row s % BLOCK_ROWS of block s // BLOCK_ROWS, unused rows are zero.
    owners: slot → subject_id of every template. names: subject_id → name. epoch: which gallery of this name it is.
    """

    name: str
    model_id: str
    dimension: int
    epoch: str
    sequence: int = 0
    cutoff: float | None = None
    blocks: list[Vectors] = field(default_factory=list)
    owners: dict[int, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def apply(self, changes: Iterable[Change]) -> None:
        """Bring the state forward, in place. Changes must be in order and of this gallery."""
        for change in changes:
            if change.op is Op.ENROL:
                assert change.vector is not None
                self.row(change.slot)[:] = change.vector
                self.owners[change.slot] = change.subject_id
                self.names[change.subject_id] = change.subject
            elif change.op is Op.RENAME:
                self.names[change.subject_id] = change.subject
            elif change.op is Op.FORGET:
                # By owner, not by a list of slots in the change: a snapshot read while slots moved may know of more or
                # fewer of them than there were when the change was made, and all of them must go.
                for slot in [slot for slot, owner in self.owners.items() if owner == change.subject_id]:
                    del self.owners[slot]
                    self.row(slot)[:] = 0
                self.names.pop(change.subject_id, None)
            elif change.op is Op.CUTOFF:
                self.cutoff = change.cutoff
            self.sequence = change.sequence

    def row(self, slot: int) -> Vectors:
        """The row of `slot`, float32 (d,), writable; blocks are added as needed."""
        block, row = divmod(slot, BLOCK_ROWS)
        while len(self.blocks) <= block:
            self.blocks.append(np.zeros((BLOCK_ROWS, self.dimension), np.float32))
        vector: Vectors = self.blocks[block][row]
        return vector
