"""The race for the form of codes that is searched fastest: who wins it, who loses it early, and what it searches."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from kith.searchers import int8_race
from kith.searchers.int8 import Stretch
from kith.searchers.int8_group import StretchGroup
from kith.searchers.int8_products import FbgemmProduct, OneDnnProduct, Product, SignedOneDnnProduct, contenders
from kith.searchers.int8_woven import Woven

SIGNED, ONEDNN, FBGEMM = SignedOneDnnProduct(), OneDnnProduct(), FbgemmProduct()


@pytest.fixture(autouse=True)
def _raced_anew() -> Iterator[None]:
    # Torch says once in a process that it means to drop FBGEMM's tensors; `contenders` expects it.
    contenders(512, patience_s=int8_race._PATIENCE_S)
    int8_race._fastest.cache_clear()
    yield
    int8_race._fastest.cache_clear()


class Stopwatch:
    """Says how long each took, by whose it is and how many probes at a time, rather than measure it; keeps who ran."""

    def __init__(self, spans: dict[Product | None, tuple[float, float]]) -> None:
        self._spans = spans
        self.ran: list[tuple[Product | None, int]] = []

    def __call__(self, run: "partial[None]") -> float:
        groups, batch = run.args
        first: Any = groups[0]
        whose = None if isinstance(first, StretchGroup) else first._weights[0]._product
        self.ran.append((whose, batch))
        return self._spans[whose][batch > 1]


@pytest.mark.parametrize(
    ("signed", "onednn", "fbgemm", "winner"),
    [
        # By both batches together: the second is half as fast with one probe, and wins by more with sixteen.
        ((1.0, 1.0), (1.6, 0.2), (0.7, 0.7), ONEDNN),
        ((1.0, 1.0), (0.9, 0.9), (0.7, 0.7), FBGEMM),
        ((0.8, 0.8), (0.8, 0.8), (0.8, 0.8), SIGNED),
        # Not by enough: to have a form of its own, and seven bits of a probe, cost something too.
        ((0.9, 0.9), (0.85, 0.85), (0.85, 0.85), None),
    ],
)
def test_the_quickest_wins_if_it_is_enough_quicker_than_torchs_own(
    monkeypatch: pytest.MonkeyPatch,
    signed: tuple[float, float],
    onednn: tuple[float, float],
    fbgemm: tuple[float, float],
    winner: Product | None,
) -> None:
    monkeypatch.setattr(int8_race, "contenders", lambda *_, **__: [SIGNED, ONEDNN, FBGEMM])
    watch = Stopwatch({None: (1.0, 1.0), SIGNED: signed, ONEDNN: onednn, FBGEMM: fbgemm})
    monkeypatch.setattr(int8_race, "_quickest", watch)
    assert int8_race.fastest_product(512) is winner
    form = int8_race.empty_form(1, 512)
    assert isinstance(form, Stretch) if winner is None else (isinstance(form, Woven) and form.product is winner)


def test_whoever_is_far_behind_with_one_probe_is_not_waited_for_with_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_race, "contenders", lambda *_, **__: [SIGNED, ONEDNN])
    watch = Stopwatch({None: (1.0, 1.0), SIGNED: (0.2, 0.2), ONEDNN: (5.0, 0.0)})
    monkeypatch.setattr(int8_race, "_quickest", watch)
    assert int8_race.fastest_product(512) is SIGNED
    assert watch.ran == [(None, 1), (SIGNED, 1), (ONEDNN, 1), (SIGNED, 16)]


def test_where_nobody_else_is_right_and_quick_enough_to_be_checked_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience: list[float] = []

    def nobody(_: int, *, patience_s: float) -> list[Product]:
        patience.append(patience_s)
        return []

    monkeypatch.setattr(int8_race, "contenders", nobody)
    watch = Stopwatch({})
    monkeypatch.setattr(int8_race, "_quickest", watch)
    assert int8_race.fastest_product(512) is None
    assert watch.ran == []
    assert 0 < patience[0] < 0.01


@pytest.mark.parametrize("batch", [1, 16])
def test_what_races_multiplies_all_the_rows_of_its_gallery(batch: int) -> None:
    stretches, others = int8_race._stretches(512), contenders(512, patience_s=int8_race._PATIENCE_S)
    forms: list[Any] = [stretches, *([int8_race.woven(each, one) for one in stretches] for each in others)]
    codes = (np.arange(batch * 512) % 127 - 63).reshape(batch, 512)
    every = np.concatenate([stretch.codes.numpy() for stretch in stretches]).astype(np.float32)
    assert every.nbytes // 4 == 16 << 20
    truth = codes.astype(np.float32) @ every.T
    for some in forms:
        groups = int8_race.grouped(int8_race._searched(some), batch)
        found = [
            group.scores_of_one(codes[0].astype(np.float64))[np.newaxis]
            if batch == 1
            else group.scores(codes.astype(np.int8), {})[0].copy()
            for group in groups
        ]
        scores = np.concatenate([each.reshape(batch, -1) for each in found], axis=1)
        # The rows' own sums are not taken off in a race: it is about their speed.
        shift = 128 * every.sum(axis=1) if batch == 1 and some is stretches else 0
        assert (scores == truth + shift).all()
