"""Products of int8 by the libraries within torch: exact for the largest codes there are."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kith.searchers.int8_products import (
    EIGHT_BITS,
    SEVEN_BITS,
    FbgemmProduct,
    OneDnnProduct,
    Product,
    SignedOneDnnProduct,
    are_whole,
    contenders,
)

WIDTHS = [64, 128, 512, 576, 1024, 2048]

CASES = [
    pytest.param(product, width, id=f"{type(product).__name__}-{width}")
    for width in WIDTHS
    for product in contenders(width)
]


@pytest.mark.parametrize(("product", "width"), CASES)
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_products_are_whole_and_exact_whatever_the_codes(product: Product, width: int, batch: int) -> None:
    rng = np.random.default_rng(width)
    codes = rng.integers(-127, 128, (1024, width)).astype(np.int8)
    # The greatest sums there are, and neighbours that overflow 16 bits if a probe has codes of eight.
    codes[0], codes[1] = 127, -127
    codes[2], codes[2, ::2] = 127, -127
    probes = rng.integers(-product.levels, product.levels + 1, (batch, width)).astype(np.int8)
    probes[0] = product.levels
    packed = product.pack(codes)
    found = product.times(packed, probes)
    assert (found.numpy() == probes.astype(np.int64) @ codes.astype(np.int64).T).all()
    assert (product.unpack(packed) == codes).all()


@pytest.mark.parametrize(("levels", "widest"), [(SEVEN_BITS, 2048), (EIGHT_BITS, 1024)])
def test_rows_wider_than_float32_adds_exactly_are_nobodys_but_torchs_own(levels: int, widest: int) -> None:
    for width, whole in ((widest, True), (widest + 64, False)):
        greatest = [127 * levels * width - less for less in range(4)]
        assert are_whole(levels, width) is whole
        assert (len({float(np.float32(each)) for each in greatest}) == 4) is whole
    assert [each for each in contenders(widest + 64) if each.levels == levels] == []


def test_a_library_that_is_not_there_or_errs_does_not_race(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> object:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(OneDnnProduct, "pack", absent)
    times = FbgemmProduct.times
    monkeypatch.setattr(FbgemmProduct, "times", lambda *given: times(*given) + 1)
    assert contenders(512) == []


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> type[Product]:
    """Of a product that is here."""

    def absent(*_: object) -> object:
        raise RuntimeError("no such operator")

    # Where it is the slow one, each check of it takes a second.
    monkeypatch.setattr(SignedOneDnnProduct, "pack", absent)
    here = contenders(512)
    if not here:
        pytest.skip("none of the libraries is here")
    return type(here[-1])


def test_a_library_that_only_has_a_slow_loop_is_not_checked_to_the_end(
    monkeypatch: pytest.MonkeyPatch, kind: type[Product]
) -> None:
    batches: list[int] = []
    times = kind.times

    def slow(self: Product, packed: Any, probes: NDArray[np.int8]) -> torch.Tensor:
        batches.append(len(probes))
        time.sleep(0.02)
        return times(self, packed, probes)

    monkeypatch.setattr(kind, "times", slow)
    assert kind not in map(type, contenders(512, patience_s=0.01))
    assert set(batches) == {1}
    batches.clear()
    assert kind in map(type, contenders(512))
    assert set(batches) > {1, 64}


def test_one_that_is_kept_waiting_now_and_then_is_not_taken_for_slow(
    monkeypatch: pytest.MonkeyPatch, kind: type[Product]
) -> None:
    times, turns = kind.times, iter(range(1000))

    def waiting(self: Product, packed: Any, probes: NDArray[np.int8]) -> torch.Tensor:
        if next(turns) < 5:
            time.sleep(0.3)
        return times(self, packed, probes)

    monkeypatch.setattr(kind, "times", waiting)
    assert kind in map(type, contenders(512, patience_s=0.2))
