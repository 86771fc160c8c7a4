"""What the sweeps of a gallery on a GPU have in common: `Layout`, made once for the pieces of an arrangement."""

import weakref
from collections.abc import Sequence

import numpy as np

from kith.journal import BLOCK_ROWS, FREE
from kith.searchers.arrangement import Piece
from kith.searchers.half import GROUP_ROWS, HalfStretch
from kith.searchers.half_products import Groups

#: Layouts remembered: of about as many galleries.
_REMEMBERED = 64

#: Bytes that a device reads for about as long as the host looks at what was found before: half a millisecond.
_MEANWHILE_BYTES = 3 << 29

#: Sweeps of a search at the most. Each adds some steps to start it and some to end it.
_SWEEPS = 3

Pieces = Sequence[Piece[HalfStretch]]


class Layout:
    """Kept, for its dozens of small steps would cost each search as much as the sweep. It holds numbers only: no form
    lives longer for being known here.

    row_of: int64, the first row of each group in the gallery. owners: int32 (groups · GROUP_ROWS,), whose each row of
    the groups is, in every view that is searched by this; FREE where it must not be found. offsets: see Groups.
    off, norm: of all forms, see HalfStretch.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._made_for = [weakref.ref(piece) for piece in pieces]
        forms = [piece.form.vectors for piece in pieces]
        numbers = [np.arange(len(form) // GROUP_ROWS) * GROUP_ROWS for form in forms]
        self.row_of = np.concatenate(
            [number + piece.blocks.start * BLOCK_ROWS for number, piece in zip(numbers, pieces, strict=True)]
        )
        self.offsets = Groups.of(forms).offsets
        self.off = max(float(piece.form.off.max(initial=0.0)) for piece in pieces)
        self.norm = max(float(piece.form.norm.max(initial=0.0)) for piece in pieces)
        self.owners = np.concatenate([piece.form.owners for piece in pieces])
        blocks = self.owners.reshape(-1, BLOCK_ROWS)
        for piece in pieces:
            for block, rows in piece.drops:
                blocks[block, rows] = FREE
            blocks = blocks[len(piece.form.owners) // BLOCK_ROWS :]

    def fits(self, pieces: Pieces) -> bool:
        """Whether it was made for these very pieces."""
        made_for = [ref() for ref in self._made_for]
        return len(made_for) == len(pieces) and all(a is b for a, b in zip(made_for, pieces, strict=True))

    def alive(self) -> bool:
        """Whether all that it was made for is still there."""
        return all(ref() is not None for ref in self._made_for)


class Layouts:
    """The layouts of the galleries searched last. meanwhile_bytes: see _MEANWHILE_BYTES."""

    def __init__(self, meanwhile_bytes: int = _MEANWHILE_BYTES) -> None:
        self._meanwhile_bytes = meanwhile_bytes
        self._known: list[Layout] = []

    def __len__(self) -> int:
        return len(self._known)

    def swept_together(self, pieces: Pieces) -> list[tuple[Pieces, Layout]]:
        """`pieces`, parted into what each sweep of a search has. Where they are large there are several: the host looks
        at what one has found while the device is at the next, and has little left to do after the last."""
        parts: list[Pieces] = []
        end, size = len(pieces), 0
        for at in range(len(pieces) - 1, 0, -1):
            size += pieces[at].form.vectors.nbytes
            if size >= self._meanwhile_bytes and len(parts) < _SWEEPS - 1:
                parts.insert(0, pieces[at:end])
                end, size = at, 0
        return [(part, self._of(part)) for part in (pieces[:end], *parts)]

    def _of(self, pieces: Pieces) -> Layout:
        # No race: whoever finds another's layout makes one, and the list is replaced as a whole.
        layout = next((each for each in self._known if each.fits(pieces)), None)
        if layout is None:
            layout = Layout(pieces)
            # Of what is searched no more there would be several bytes a template.
            self._known = [layout, *(each for each in self._known if each.alive())][:_REMEMBERED]
        return layout
