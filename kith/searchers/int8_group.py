"""Products of int8 codes, a few megabytes at a time: `Group`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS
from kith.searchers.arrangement import Piece
from kith.searchers.int8 import LEVELS, SHIFT, Stretch
from kith.searchers.int8_woven import Woven
from kith.searchers.workspace import Workspace, workspace
from kith.similarity.block_scores import LEFT_OUT, leave_out
from kith.similarity.rows import Indices

#: Numbers of a row up to which the product with one probe reads memory nearly in order.
_NARROW = 128

#: Rows of which the best score is looked at first.
_GROUP_ROWS = 64


class Group(ABC):
    """Pieces that follow one another, side by side. levels: the greatest code of a probe; width: how many it has.

    scale, off, norm: float64 (blocks,), see Stretch; inverse: 1 / scale; most_…: the greatest of them."""

    levels: int
    width: int

    def __init__(self, pieces: Sequence[Piece[Any]]) -> None:
        forms = [piece.form for piece in pieces]
        self.blocks = range(pieces[0].blocks.start, pieces[-1].blocks.stop)
        self.scale, self.off, self.norm = forms[0].scale, forms[0].off, forms[0].norm
        if len(forms) > 1:
            self.scale = np.concatenate([form.scale for form in forms])
            self.off = np.concatenate([form.off for form in forms])
            self.norm = np.concatenate([form.norm for form in forms])
        self.inverse, self.most_scale = 1 / self.scale, float(self.scale.max())
        self.most_off, self.most_norm = float(self.off.max()), float(self.norm.max())
        #: Rows that must not be found: (place of the block in the group, rows).
        self._drops = [
            (piece.blocks.start - self.blocks.start + block, rows) for piece in pieces for block, rows in piece.drops
        ]

    @cached_property
    def _gaps(self) -> list[tuple[int, Indices | slice]]:
        """Those of the drops that are not the end of a block, where there are zeros."""
        return [(block, rows) for block, rows in self._drops if not (isinstance(rows, slice) and rows.start)]

    def scores_of_one(self, codes: NDArray[np.float64]) -> NDArray[Any]:
        """The products of a single probe, from whole numbers (d,): (blocks, BLOCK_ROWS). See `scores`; but rows at the
        end of a block that must not be found may be zero."""
        raw = self._products_of_one(codes).reshape(-1, BLOCK_ROWS)
        for block, rows in self._gaps:
            raw[block, rows] = LEFT_OUT
        return raw

    def scores(self, codes: NDArray[np.int8], without: Mapping[int, Indices]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The products with codes (B, width) that BlockScores takes, and the peaks of groups of _GROUP_ROWS rows. Good
        until this thread asks for the next. without: block → rows left out."""
        out, raw = self._products(codes)
        raw = raw.reshape(len(codes), -1, BLOCK_ROWS)
        for block, rows in self._drops:
            leave_out(raw, block, rows)
        for number in self.blocks if without else ():
            if number in without:
                leave_out(raw, number - self.blocks.start, without[number])
        return raw, out.view(*raw.shape[:2], -1, _GROUP_ROWS).amax(dim=3).numpy()

    @abstractmethod
    def _products_of_one(self, codes: NDArray[np.float64]) -> NDArray[Any]:
        """Whole numbers, (rows,)."""

    @abstractmethod
    def _products(self, codes: NDArray[np.int8]) -> tuple[torch.Tensor, NDArray[Any]]:
        """Whole numbers, (B, rows), as a tensor and as an array of the same memory."""


class StretchGroup(Group):
    """A group that `torch._int_mm` multiplies. cold: whether the pieces are read from memory, not from a cache."""

    levels = LEVELS

    def __init__(self, pieces: Sequence[Piece[Any]], *, cold: bool) -> None:
        super().__init__(pieces)
        self._forms: list[Stretch] = [piece.form for piece in pieces]
        self._codes = [form.codes for form in self._forms]
        self._cold = cold
        self._transposed = self._codes[0].t()
        self.width = self._codes[0].shape[1]

    @cached_property
    def _shifted(self) -> NDArray[np.int32]:
        shifted = [form.shifted for form in self._forms]
        return shifted[0] if len(shifted) == 1 else np.concatenate(shifted)

    def _products_of_one(self, codes: NDArray[np.float64]) -> NDArray[np.int32]:
        memory = workspace()
        with memory.lock:
            probe, array = memory.probe(self.width)
            # Unsigned codes of the probe spare the product a step; what that adds to each score is known.
            array[0, : len(codes)] = codes + SHIFT
            if self._cold or len(self._codes) > 1:
                raw = self._multiplied(memory, probe)[1]
            else:
                out, raw = memory.scores(1, len(self.blocks) * BLOCK_ROWS)
                torch._int_mm(probe, self._transposed, out=out)
        raw = raw.reshape(-1)
        raw -= self._shifted
        return raw

    def _products(self, codes: NDArray[np.int8]) -> tuple[torch.Tensor, NDArray[np.int32]]:
        memory = workspace()
        with memory.lock:
            return self._multiplied(memory, torch.from_numpy(codes))

    def _multiplied(self, memory: Workspace, probes: torch.Tensor) -> tuple[torch.Tensor, NDArray[np.int32]]:
        batch = len(probes)
        raw, array = memory.scores(batch, len(self.blocks) * BLOCK_ROWS)
        # The product reads many rows at a time, in steps; from memory that is slower than a copy in order.
        copied = self._cold and (batch > 1 or self.width > _NARROW)
        start = 0
        for rows in self._codes:
            own = memory.copy(rows) if copied else rows
            if batch == 1 or len(self._codes) == 1:
                torch._int_mm(probes, own.t(), out=raw[:, start : start + len(rows)])
            else:
                raw[:, start : start + len(rows)] = torch._int_mm(probes, own.t())
            start += len(rows)
        return raw, array


class WovenGroup(Group):
    """A group that another library multiplies: see kith.searchers.int8_products."""

    def __init__(self, pieces: Sequence[Piece[Any]]) -> None:
        super().__init__(pieces)
        forms: list[Woven] = [piece.form for piece in pieces]
        self.levels = forms[0].product.levels
        self._weights = [form.weights for form in forms if form.weights is not None]
        self.width = forms[0].width

    def _products_of_one(self, codes: NDArray[np.float64]) -> NDArray[np.float32]:
        whole = np.zeros((1, self.width), np.int8)
        whole[0, : len(codes)] = codes
        return self._products(whole)[1].reshape(-1)

    def _products(self, codes: NDArray[np.int8]) -> tuple[torch.Tensor, NDArray[np.float32]]:
        parts = [weights.times(codes) for weights in self._weights]
        products = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return products, products.numpy()
