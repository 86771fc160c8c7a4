"""A gallery as a list: everybody with all their templates, at one sequence number. `Catalogue`.

A snapshot (kith.journal) is for searching and knows templates by slot; a catalogue knows their ids and pictures, and
what is noted of each subject.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kith.journal import BLOCK_ROWS, Vectors
from kith.subjects import GalleryInfo, SubjectDetail


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """info: of the gallery at `info.sequence`. subjects: by number, templates oldest first.

    blocks: float32 (rows, d), as in a snapshot; empty where no vectors were asked for.
    """

    info: GalleryInfo
    subjects: Mapping[int, SubjectDetail]
    blocks: list[Vectors] = field(default_factory=list)

    def vector(self, slot: int) -> Vectors:
        """The vector in a slot that a template has, float32 (d,)."""
        vector: Vectors = self.blocks[slot // BLOCK_ROWS][slot % BLOCK_ROWS]
        return vector
