"""Who multiplies int8 on this CPU besides torch's `_int_mm`: `contenders`. Who wins: kith.searchers.int8_race.

That one brings the rows into its own order in each product, on processors that add several products at once in 32 bits
(VNNI, AMX); on others it is a loop that takes ten times as long as float32 would. Two of the libraries within torch are
quicker: oneDNN by its newer door, which orders the rows once, for AMX, and FBGEMM. Without VNNI both multiply an
unsigned byte by a signed one and add neighbouring products in 16 bits, which overflow where both factors are large.
Probes then have codes of seven bits, shifted to 1…127: 2 · 127 · 127 < 2¹⁵. So nothing overflows, the sums in 32 bits
are exact, and so are they as float32, in which both answer, as long as they stay below 2²⁴ (`are_whole`).
"""

import math
import time
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kith.free_memory import overwriting_freed

#: The greatest code of a probe, of seven bits, and what is added to make them unsigned; the greatest one of eight bits.
SEVEN_BITS, _SHIFT, EIGHT_BITS = 63, 64, 127

#: FBGEMM stores rows in tiles of so many numbers: shorter ones would take more memory than float32.
_TILE = 512

#: How often a product may try to be in time.
_CHANCES = 9


class Product(Protocol):
    """Products of packed rows with probes. levels: the greatest code of a probe."""

    levels: int

    def pack(self, codes: NDArray[np.int8]) -> Any:
        """Codes (n, width), n > 0, as the library wants them."""
        ...

    def unpack(self, packed: Any) -> NDArray[np.int8]:
        """The codes again."""
        ...

    def times(self, packed: Any, probes: NDArray[np.int8]) -> torch.Tensor:
        """The products with probes (B, width) of codes up to `levels`: whole numbers, float32 (B, n)."""
        ...


class FbgemmProduct:
    """The quickest for few probes on many processors."""

    levels = SEVEN_BITS

    def pack(self, codes: NDArray[np.int8]) -> Any:
        # Torch means to drop such tensors one day; whoever updates it then finds the race without this contender.
        rows = torch._make_per_tensor_quantized_tensor(torch.from_numpy(codes), 1.0, 0)
        return torch.ops.quantized.linear_prepack(rows, None)

    def unpack(self, packed: Any) -> NDArray[np.int8]:
        codes: NDArray[np.int8] = torch.ops.quantized.linear_unpack(packed)[0].int_repr().numpy()
        return codes

    def times(self, packed: Any, probes: NDArray[np.int8]) -> torch.Tensor:
        whole = torch.from_numpy(probes.astype(np.float32))
        products: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            whole, 1.0, _SHIFT, packed
        )
        return products


class OneDnnProduct:
    """Takes rows of any width."""

    levels = SEVEN_BITS

    def __init__(self) -> None:
        self._scale, self._zero = torch.ones(1), torch.zeros(1, dtype=torch.int8)

    def pack(self, codes: NDArray[np.int8]) -> Any:
        return torch.ops.onednn.qlinear_prepack(torch.from_numpy(codes), None)

    def unpack(self, packed: Any) -> NDArray[np.int8]:
        codes: NDArray[np.int8] = packed.to_dense().t().contiguous().numpy()
        return codes

    def times(self, packed: Any, probes: NDArray[np.int8]) -> torch.Tensor:
        return self._times(packed, torch.from_numpy((probes + np.int8(_SHIFT)).astype(np.uint8)), _SHIFT)

    def _times(self, packed: Any, probes: torch.Tensor, shift: int) -> torch.Tensor:
        products: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            probes, 1.0, shift, packed, self._scale, self._zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return products


class SignedOneDnnProduct(OneDnnProduct):
    """With all eight bits of a probe, for processors that add such products in 32 bits."""

    levels = EIGHT_BITS

    def times(self, packed: Any, probes: NDArray[np.int8]) -> torch.Tensor:
        return self._times(packed, torch.from_numpy(probes), 0)


class Weights:
    """Rows as a library packed them. Their memory is not ours to zero, but it is overwritten when it is freed."""

    def __init__(self, product: Product, codes: NDArray[np.int8]) -> None:
        self._product = product
        self._batches: set[int] = set()
        # Of the copies that are made on the way, too.
        with overwriting_freed():
            self._packed = product.pack(codes)

    def __del__(self, overwriting: Callable[[], Any] = overwriting_freed) -> None:
        with overwriting():
            self._packed = None

    def codes(self) -> NDArray[np.int8]:
        """A copy. The caller drops it within `overwriting_freed`."""
        return self._product.unpack(self._packed)

    def times(self, probes: NDArray[np.int8]) -> torch.Tensor:
        """See Product."""
        if len(probes) in self._batches:
            return self._product.times(self._packed, probes)
        # A library prepares itself for each size, and keeps what it prepared: in memory that was somebody else's, with
        # gaps, in which a vector would stay for good.
        with overwriting_freed():
            products = self._product.times(self._packed, probes)
        self._batches.add(len(probes))
        return products


def contenders(width: int, *, patience_s: float = math.inf) -> list[Product]:
    """Those that are here, multiply rows of `width` numbers, and are right about the largest codes there are.

    patience_s: who takes longer for the products of one probe with a thousand rows is not looked at any further. A
    library that has nothing better for a processor multiplies in a plain loop, and to check that one takes a second.
    """
    every: list[Product] = [SignedOneDnnProduct(), OneDnnProduct()]
    if width % _TILE == 0:
        every.append(FbgemmProduct())
    return [product for product in every if are_whole(product.levels, width) and _is_exact(product, width, patience_s)]


def are_whole(levels: int, width: int) -> bool:
    """Whether all products of probes with codes up to `levels` are whole float32."""
    return 127 * levels * width < 2**24


def _is_exact(product: Product, width: int, patience_s: float) -> bool:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(-127, 128, (1024, width), dtype=torch.int8, generator=generator)
    codes[0], codes[1] = 127, -127
    for batch in (1, 2, 5, 16, 64):
        levels = product.levels
        probes = torch.randint(-levels, levels + 1, (batch, width), dtype=torch.int8, generator=generator)
        probes[-1], probes[0] = -levels, levels
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                packed = product.pack(codes.numpy())
                found = product.times(packed, probes.numpy())
                same = np.array_equal(product.unpack(packed), codes.numpy())
                slow = batch == 1 and _is_slow(product, packed, probes.numpy(), patience_s)
        except (AttributeError, NotImplementedError, RuntimeError):
            return False
        if slow or not same or not torch.equal(found, probes.float() @ codes.float().t()):
            return False
    return True


def _is_slow(product: Product, packed: Any, probes: NDArray[np.int8], patience_s: float) -> bool:
    # Once in time is enough: whatever else goes on only makes it slower.
    for _ in range(_CHANCES):
        began = time.perf_counter()
        product.times(packed, probes)
        if time.perf_counter() - began <= patience_s:
            return False
    return True
