"""The arithmetic of the search in half precision, recomputed one by one; by its kernels where there is a GPU."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kith.errors import Misconfigured
from kith.searchers import half_products
from kith.searchers.half import GROUP_ROWS, LARGEST, Probes, halved
from kith.searchers.half_products import Groups, Products, TorchProducts, open_products
from tests.unit.test_similarity import units

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(params=["torch", "fastest"])
def products(request: pytest.FixtureRequest) -> Products:
    return TorchProducts() if request.param == "torch" else open_products(DEVICE)


def forms(dimension: int, *groups: int) -> list[Tensor]:
    """So many groups of each, of different vectors."""
    made = [torch.from_numpy(units(count * GROUP_ROWS, dimension, 3 + count)).half() for count in groups]
    return [each.to(DEVICE) for each in made]


def by_definition(every: list[Tensor], probes: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
    """(probes, groups, GROUP_ROWS)"""
    rows = torch.cat(every).double().cpu().numpy()
    scores = np.array([[float(row @ probe) for row in rows] for probe in probes.double().cpu().numpy()])
    return scores.reshape(len(probes), -1, GROUP_ROWS)


@pytest.mark.parametrize("dimension", [3, 64, 512])
def test_maxima_and_scores_are_those_of_every_group_of_all_forms(products: Products, dimension: int) -> None:
    every = forms(dimension, 2, 1, 3)
    groups, probes = Groups.of(every), torch.from_numpy(units(16, dimension, 9)).half().to(DEVICE)
    scores = by_definition(every, probes)
    maxima = torch.empty((16, 6), device=DEVICE)
    products.maxima(groups, probes, maxima)
    assert np.abs(maxima.cpu().numpy() - scores.max(axis=2)).max() < 1e-5
    which = torch.tensor([[5, 0], [2, 3], [1, 4]], device=DEVICE)
    found = products.scores(groups, which, probes[:3]).cpu().numpy()
    for probe, chosen in enumerate(which.tolist()):
        assert np.abs(found[probe] - scores[probe, chosen]).max() < 1e-5


@pytest.mark.parametrize(("looked", "kept"), [(1, 5), (3, 20), (5, 12), (6, 16), (4, 200)])
def test_the_best_rows_are_those_of_the_best_groups(products: Products, looked: int, kept: int) -> None:
    every = forms(32, 2, 1, 3)
    groups, probes = Groups.of(every), torch.from_numpy(units(16, 32, 9)).half().to(DEVICE)
    scores = by_definition(every, probes)[:11]
    maxima = torch.from_numpy(scores.max(axis=2).astype(np.float32)).to(DEVICE)
    answer = products.best(groups, maxima, probes, looked, kept)()
    more = min(looked + 1, 6)
    assert answer.shape == (11, 2 * (kept + more))
    raw, values, chosen, at = np.split(answer, np.cumsum([kept, more, more]), axis=1)
    for probe, mine in enumerate(scores):
        order = np.argsort(-mine.max(axis=1))[:more]
        assert chosen[probe].tolist() == order.tolist()
        assert values[probe] == pytest.approx(mine.max(axis=1)[order], abs=1e-6)
        rows = mine[order[:looked]].ravel()
        best = np.argsort(-rows)[:kept]
        assert raw[probe] == pytest.approx(rows[best], abs=1e-5)
        assert rows[at[probe].astype(int)] == pytest.approx(rows[best], abs=1e-5)


def test_a_group_lies_where_its_offset_says() -> None:
    every = forms(24, 1, 2)
    groups = Groups.of(every)
    addresses = every[0].data_ptr() + 2 * groups.offsets
    assert addresses.tolist() == [
        every[0].data_ptr(), every[1].data_ptr(), every[1][GROUP_ROWS:].data_ptr(),
    ]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), dimension=st.sampled_from([1, 3, 64, 512]), scale=st.sampled_from([1e-6, 1, 300]))
def test_no_product_of_halves_is_further_from_the_cosine_than_its_bound(
    seed: int, dimension: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    # A few great numbers and many small ones: those have few digits in float16.
    vectors = np.clip(rng.standard_normal((20, dimension)) ** 7 * scale, -LARGEST, LARGEST).astype(np.float32)
    probes = units(3, dimension, seed)
    half, off, norm = halved(torch.from_numpy(vectors))
    many = Probes.of(probes)
    bound = many.bounds(float(off.max()), float(norm.max()))
    assert many.half.shape == (16, dimension)
    assert not many.half[3:].any()
    products = many.half[:3].float() @ half.float().t()
    exact = probes.astype(np.float64) @ vectors.astype(np.float64).T
    assert (np.abs(products.numpy() - exact).max(axis=1) <= bound).all()


class TooLarge(TorchProducts):
    """A kernel that a device has no room for."""

    def maxima(self, groups: Groups, probes: Tensor, into: Tensor) -> None:
        raise MemoryError("out of resource: shared memory, required: 163840, limit: 101376")


class Imprecise(TorchProducts):
    """Adds in a few digits."""

    def maxima(self, groups: Groups, probes: Tensor, into: Tensor) -> None:
        super().maxima(groups, probes, into)
        into[:] = (into * 100).round() / 100


def test_a_kernel_that_does_not_fit_or_is_inexact_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = TorchProducts()
    monkeypatch.setattr(half_products, "ways", lambda _: [TooLarge(), Imprecise(), exact])
    assert open_products(DEVICE) is exact
    monkeypatch.setattr(half_products, "ways", lambda _: [TooLarge(), Imprecise()])
    with pytest.raises(Misconfigured, match="errors up to"):
        open_products(DEVICE)
    monkeypatch.setattr(half_products, "ways", lambda _: [TooLarge()])
    with pytest.raises(Misconfigured, match="multiplies no matrices"):
        open_products(DEVICE)
