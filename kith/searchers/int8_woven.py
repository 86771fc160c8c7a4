"""Stretches whose codes lie as a library multiplies them: `Woven`, instead of `Stretch` where that is faster."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kith.free_memory import overwriting_freed
from kith.searchers.arrangement import Contents
from kith.searchers.int8 import Stretch
from kith.searchers.int8_products import Product, Weights
from kith.wiping import wiped_when_dropped


@dataclass(frozen=True, slots=True, eq=False)
class Woven:
    """See Stretch. weights: its codes, None of no blocks. rows: blocks · BLOCK_ROWS. width: of a row of codes."""

    product: Product
    weights: Weights | None
    rows: int
    width: int
    scale: NDArray[np.float64]
    off: NDArray[np.float64]
    norm: NDArray[np.float64]

    @property
    def nbytes(self) -> int:
        # Both libraries keep the sum of each row, in 32 bits.
        return self.rows * (self.width + 4) + 3 * self.scale.nbytes

    @property
    def codes(self) -> torch.Tensor:
        """A copy of the codes, int8 (rows, width)."""
        codes = np.zeros((self.rows, self.width), np.int8)
        if self.weights is not None:
            with overwriting_freed():
                codes[:] = self.weights.codes()
        return torch.from_numpy(wiped_when_dropped(codes))

    def replaced(self, changes: Mapping[int, Contents], blocks: int) -> "Woven":
        """See kith.searchers.arrangement.Form."""
        shifted = np.zeros(self.rows, np.int32)
        return woven(
            self.product, Stretch(self.codes, shifted, self.scale, self.off, self.norm).replaced(changes, blocks)
        )


def woven(product: Product, stretch: Stretch) -> Woven:
    """`stretch`, packed for `product`."""
    rows, width = stretch.codes.shape
    weights = Weights(product, stretch.codes.numpy()) if rows else None
    return Woven(product, weights, rows, width, stretch.scale, stretch.off, stretch.norm)


def woven_anew(product: Product, blocks: int, dimension: int) -> Woven:
    """No vectors yet, for `product`."""
    return woven(product, Stretch.empty(blocks, dimension))
