"""The int8 forms of one gallery, kept up to date from view to view: `PackedGallery`.

What a view has that is not packed (yet) is searched in float32: rows added since, and blocks rewritten since. So no
search waits for packing. A block that lost a template leaves its packed form before the first search of a view without
that template; forms that searches of older views still hold end with those searches.
"""

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from kith.free_memory import overwriting_freed
from kith.journal import BLOCK_ROWS, FREE, Owners, Vectors
from kith.searchers.arrangement import Arrangement, Contents, FormT, Part, Piece
from kith.similarity.passes import PlainPass
from kith.similarity.rows import Rows, whole
from kith.view import GalleryView

#: Unpacked rows of a block that are packed at once; fewer wait until their block has been left alone for a while. Of
#: searches beside 200 enrolments a second fewer than one in a hundred then meet a packing.
_MANY_ROWS = 512

#: Blocks of one float32 pass over what is not packed.
_PLAIN_BLOCKS = 8


@dataclass(slots=True)
class _Packed:
    """One packed block. array: the array whose rows it holds, `filled` of them, which belonged to `owners`. agreed: the
    owners of a view that are known to be the same."""

    array: weakref.ref[Vectors] | None = None
    filled: int = 0
    owners: Owners = field(default_factory=lambda: np.empty(0, np.int32))
    agreed: weakref.ref[Owners] | None = None

    def holds(self, block: Vectors) -> bool:
        """Whether the packed rows are the first of `block`: an array's rows are written once, before they are shown."""
        return self.array is not None and self.array() is whole(block) and self.filled <= len(block)

    def agrees(self, owners: Owners) -> bool:
        """Whether each packed row is still its owner's, or nobody's."""
        if self.agreed is None or self.agreed() is not owners:
            now = owners[: self.filled]
            if not ((now == FREE) | (now == self.owners)).all():
                return False
            self.agreed = weakref.ref(owners)
        return True


class PackedGallery(Generic[FormT]):
    """Packed forms of the blocks of one gallery. Safe to use from many threads.

    empty: makes a form of so many blocks and dimensions. stretch_bytes: of float32 that one form stands for.
    """

    def __init__(self, dimension: int, empty: Callable[[int, int], FormT], stretch_bytes: int) -> None:
        self._dimension = dimension
        self._empty = empty
        self._span = max(1, stretch_bytes // (BLOCK_ROWS * dimension * 4))
        self._forms: list[FormT] = []
        self._blocks: list[_Packed] = []
        self._lock = threading.Lock()
        #: The newest arrangement and what it was made for.
        self._arrangement: Arrangement[FormT] | None = None
        self._view: weakref.ref[GalleryView] | None = None
        self._made_for: list[weakref.ref[Any]] = []
        self._parts: list[Part[FormT]] = []
        self._erased = False
        self._sequence = -1
        #: (block, array, rows) that were stale when last asked for: whoever is still here has been left alone.
        self._waiting: set[tuple[int, int, int]] = set()

    def arrange(self, rows: Rows, sequence: int, view: GalleryView | None = None) -> Arrangement[FormT]:
        """How to search `rows`, of a view at `sequence`. view: that one, where `rows` are all that it has."""
        with self._lock:
            # Looking at each of ten thousand blocks would take as long as a GPU takes to search them.
            if self._arrangement is not None and view is not None and self._view is not None and self._view() is view:
                return self._arrangement
            kept = self._kept(rows)
            if self._arrangement is not None and len(self._made_for) == 2 * len(rows.blocks) and all(kept):
                self._view = None if view is None else weakref.ref(view)
                return self._arrangement
            newest = sequence >= self._sequence
            if newest:
                self._erase_lost(rows, kept)
            parts = [self._part(number, rows, kept) for number in range(len(self._forms))]
            count = len(rows.blocks)
            new = range(len(self._blocks), count, _PLAIN_BLOCKS)
            pieces = tuple(part.piece for part in parts if part.piece is not None)
            rest = [each for part in parts for each in part.rest]
            rest += [PlainPass(range(start, min(start + _PLAIN_BLOCKS, count))) for start in new]
            last = self._arrangement
            made = last.made if last is not None and last.pieces == pieces else {}
            arrangement = Arrangement(pieces, tuple(rest), made)
            if newest:
                self._sequence, self._arrangement, self._parts = sequence, arrangement, parts
                self._view = None if view is None else weakref.ref(view)
                self._made_for = [weakref.ref(each) for each in (*rows.blocks, *rows.owners)]
            return arrangement

    def alive(self) -> bool:
        """Whether anybody still holds what was last searched."""
        with self._lock:
            return not self._made_for or any(ref() is not None for ref in self._made_for)

    def erased(self) -> bool:
        """Whether something was taken out since this was last asked."""
        with self._lock:
            erased, self._erased = self._erased, False
            return erased

    def nbytes(self, of: Callable[[FormT], int]) -> int:
        """Bytes of all forms."""
        with self._lock:
            return sum(map(of, self._forms))

    def pack(self, *, everything: bool) -> bool:
        """Pack what the newest view has unpacked, a stretch at a time; whether something is left to wait.

        everything: also the few rows of blocks that are still changing.
        """
        with self._lock:
            if not self._made_for:
                return False
            half = len(self._made_for) // 2
            blocks: list[Vectors] = [block for ref in self._made_for[:half] if (block := ref()) is not None]
            owners: list[Owners] = [each for ref in self._made_for[half:] if (each := ref()) is not None]
        if len(blocks) < half or len(owners) < half:
            # The view has gone; the next search tells what there is to pack.
            return False
        stale, waiting = self._stale(blocks, owners)
        due = [at for at, key in stale.items() if everything or key in self._waiting or self._urgent(at, blocks[at])]
        self._waiting = waiting
        for stretch in sorted({at // self._span for at in due}):
            mine = [at for at in due if at // self._span == stretch]
            self._pack_stretch(stretch, {at: (blocks[at], owners[at]) for at in mine}, half)
        return len(due) < len(stale)

    def _kept(self, rows: Rows) -> list[bool]:
        """Which blocks of `rows` are those of the newest arrangement."""
        half = len(self._made_for) // 2
        count = len(rows.blocks)
        blocks = [ref() for ref in self._made_for[: min(half, count)]]
        owners = [ref() for ref in self._made_for[half : half + min(half, count)]]
        pairs = zip(blocks, rows.blocks, owners, rows.owners, strict=False)
        kept = [block is mine and owner is whose for block, mine, owner, whose in pairs]
        return kept + [False] * (count - len(kept))

    def _erase_lost(self, rows: Rows, kept: list[bool]) -> None:
        """Take out blocks with a template that is no longer its owner's: it may have been forgotten."""
        lost: dict[int, list[int]] = {}
        for at, packed in enumerate(self._blocks):
            if not packed.filled or (at < len(kept) and kept[at]):
                continue
            gone = at >= len(rows.blocks)
            if not gone and not packed.holds(rows.blocks[at]):
                was = packed.owners
                now = rows.owners[at][: len(was)]
                gone = len(now) < len(was) or bool(((was != FREE) & (was != now)).any())
            if gone:
                lost.setdefault(at // self._span, []).append(at)
        nothing = Contents(np.empty((0, self._dimension), np.float32), np.empty(0, np.int32))
        self._erased |= bool(lost)
        for stretch, blocks in lost.items():
            size = min(self._span, len(self._blocks) - stretch * self._span)
            self._forms[stretch] = self._forms[stretch].replaced({at % self._span: nothing for at in blocks}, size)
            for at in blocks:
                self._blocks[at] = _Packed()

    def _part(self, number: int, rows: Rows, kept: list[bool]) -> Part[FormT]:
        """How the blocks of one form are searched."""
        form = self._forms[number]
        first = number * self._span
        blocks = range(first, min(first + self._span, len(self._blocks)))
        if number < len(self._parts):
            known = self._parts[number]
            if (
                known.form is form
                and known.blocks == blocks
                and blocks.stop <= len(kept)
                and all(kept[first : blocks.stop])
            ):
                return known
        else:
            known = None
        drops: list[tuple[int, NDArray[np.intp] | slice]] = []
        rest: list[PlainPass] = []
        used = False
        for at in blocks:
            packed = self._blocks[at]
            there = at < len(rows.blocks) and packed.filled and packed.holds(rows.blocks[at])
            if not (there and packed.agrees(rows.owners[at])):
                drops.append((at - first, slice(None)))
                if at < len(rows.blocks):
                    rest.append(PlainPass(range(at, at + 1)))
                continue
            used = True
            free = rows.free(at)
            if free.size:
                drops.append((at - first, free))
            if packed.filled < BLOCK_ROWS:
                drops.append((at - first, slice(packed.filled, None)))
            if packed.filled < len(rows.blocks[at]):
                rest.append(PlainPass(range(at, at + 1), packed.filled))
        piece = Piece(form, blocks, drops) if used else None
        if known is not None and known.piece is not None and known.piece.same_as(piece):
            # Rows were added that are not packed: what is made of the piece goes on being good.
            piece = known.piece
        return Part(form, blocks, piece, rest)

    def _is_newest(self, at: int, block: Vectors) -> bool:
        """Whether block number `at` of the newest view is of the same array as `block`."""
        newest = self._made_for[at]() if at < len(self._made_for) // 2 else None
        return newest is not None and whole(newest) is whole(block)

    def _stale(
        self, blocks: list[Vectors], owners: list[Owners]
    ) -> tuple[dict[int, tuple[int, int, int]], set[tuple[int, int, int]]]:
        with self._lock:
            known = list(self._blocks)
        stale: dict[int, tuple[int, int, int]] = {}
        for at, block in enumerate(blocks):
            packed = known[at] if at < len(known) else _Packed()
            whole_block = packed.holds(block) and packed.filled == len(block)
            if len(block) and not (whole_block and packed.agrees(owners[at])):
                stale[at] = (at, id(whole(block)), len(owners[at]))
        return stale, set(stale.values())

    def _urgent(self, at: int, block: Vectors) -> bool:
        with self._lock:
            packed = self._blocks[at] if at < len(self._blocks) else _Packed()
        # Of one that was rewritten, all rows wait: it may be again.
        return (packed.array is None or packed.holds(block)) and len(block) - packed.filled >= _MANY_ROWS

    def _known(self, at: int, block: Vectors) -> int:
        """How many of the first rows of block number `at` are packed as they are in `block`."""
        packed = self._blocks[at] if at < len(self._blocks) else _Packed()
        return packed.filled if packed.holds(block) else 0

    def _pack_stretch(self, stretch: int, changed: dict[int, tuple[Vectors, Owners]], total: int) -> None:
        first = stretch * self._span
        with self._lock:
            form = self._forms[stretch] if stretch < len(self._forms) else self._empty(0, self._dimension)
            contents = {
                at - first: Contents(block, owners, self._known(at, block)) for at, (block, owners) in changed.items()
            }
        size = max(min(self._span, len(self._blocks) - first), max(changed) - first + 1)
        size = max(size, min(self._span, total - first))
        # Outside the lock: searches go on with the form there is. Much larger copies than the form are made on the way.
        with overwriting_freed():
            fresh = form.replaced(contents, size)
        with self._lock:
            if stretch > len(self._forms) or (stretch < len(self._forms) and self._forms[stretch] is not form):
                # Something was erased meanwhile, and must not come back with this copy.
                return
            if not all(self._is_newest(at, block) for at, (block, _) in changed.items()):
                # Rewritten meanwhile: a template may be gone that was not packed before, so that nothing was erased.
                return
            if stretch == len(self._forms):
                self._forms.append(fresh)
            self._forms[stretch] = fresh
            while len(self._blocks) < first + size:
                self._blocks.append(_Packed())
            for at, (block, owners) in changed.items():
                self._blocks[at] = _Packed(weakref.ref(whole(block)), len(block), owners.copy())
            self._arrangement = None
