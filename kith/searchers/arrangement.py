"""How one view of a gallery is searched: `Arrangement`, packed pieces and float32 passes over the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from kith.journal import Owners, Vectors
from kith.similarity.passes import PlainPass


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What is in a block now and whose it is; nothing where vectors is empty. known: how many of its first rows a form
    has as they are now."""

    vectors: Vectors
    owners: Owners
    known: int = 0


class Form(Protocol):
    """What a stretch of blocks is packed into; immutable."""

    def replaced(self, changes: Mapping[int, Contents], blocks: int) -> Any:
        """A copy of `blocks` blocks, those of `changes` (index → contents) anew."""
        ...


FormT = TypeVar("FormT", bound=Form)


@dataclass(frozen=True, eq=False)
class Piece(Generic[FormT]):
    """One stretch as a view needs it: its blocks, and per block (from 0) rows that must not be found.

    Without slots: Python 3.12 before 3.12.4 gives a generic class none for weak references.
    """

    form: FormT
    blocks: range
    drops: list[tuple[int, NDArray[np.intp] | slice]]

    def same_as(self, other: "Piece[FormT] | None") -> bool:
        """Whether they are searched alike."""
        if other is None or self.form is not other.form or self.blocks != other.blocks:
            return False
        pairs = zip(self.drops, other.drops, strict=False)
        return len(self.drops) == len(other.drops) and all(a[0] == b[0] and _same(a[1], b[1]) for a, b in pairs)


def _same(some: NDArray[np.intp] | slice, others: NDArray[np.intp] | slice) -> bool:
    if isinstance(some, slice) or isinstance(others, slice):
        return isinstance(some, slice) and isinstance(others, slice) and some == others
    return np.array_equal(some, others)


@dataclass(frozen=True, slots=True, eq=False)
class Part(Generic[FormT]):
    """What one form makes of an arrangement."""

    form: FormT
    blocks: range
    piece: Piece[FormT] | None
    rest: list[PlainPass]


@dataclass(frozen=True, slots=True, eq=False)
class Arrangement(Generic[FormT]):
    """How one view is searched. made: what a searcher makes of the pieces and uses again; it ends with them."""

    pieces: tuple[Piece[FormT], ...]
    rest: tuple[PlainPass, ...]
    made: dict[int, Any]
