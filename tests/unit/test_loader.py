"""Batches made ahead: the planned rows, in order, the same whoever makes them."""

import threading

import numpy as np
import pytest

from kith.training.augment import NONE, Augmentation
from kith.training.loader import Loader


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 112, 112, 3)).astype(np.uint8)


LABELS = np.arange(20, dtype=np.int64) // 2
PLAN = [np.array(rows) for rows in ([3, 1, 4], [1, 5, 9], [2, 6, 5])]


def test_batches_hold_the_planned_rows_in_order(pixels: np.ndarray) -> None:
    loaded = list(Loader(pixels, LABELS, NONE, seed=0).load(PLAN, epoch=0))
    assert [number for number, _ in loaded] == [0, 1, 2]
    for (_, batch), rows in zip(loaded, PLAN, strict=True):
        assert (batch.pixels.numpy() == pixels[rows]).all()
        assert (batch.labels.numpy() == LABELS[rows]).all()
        assert (batch.indices.numpy() == rows).all()


def test_the_number_of_threads_changes_nothing_and_the_epoch_everything(pixels: np.ndarray) -> None:
    def pictures(threads: int, epoch: int) -> np.ndarray:
        loader = Loader(pixels, LABELS, Augmentation(), seed=7, threads=threads)
        return np.concatenate([batch.pixels.numpy() for _, batch in loader.load(PLAN, epoch)])

    assert (pictures(1, 0) == pictures(4, 0)).all()
    assert (pictures(1, 0) != pictures(1, 1)).any()


def test_a_run_that_goes_on_in_mid_epoch_sees_what_an_undisturbed_one_sees(pixels: np.ndarray) -> None:
    loader = Loader(pixels, LABELS, Augmentation(), seed=7)
    whole = dict(loader.load(PLAN, epoch=2))
    rest = dict(loader.load(PLAN, epoch=2, first=1))
    assert sorted(rest) == [1, 2]
    assert all((rest[number].pixels == whole[number].pixels).all() for number in rest)


def test_leaving_half_way_leaves_no_thread_at_work(pixels: np.ndarray) -> None:
    batches = Loader(pixels, LABELS, NONE, seed=0).load(PLAN * 50, epoch=0)
    next(batches)
    batches.close()
    for thread in threading.enumerate():
        if thread.name.startswith("augment"):
            thread.join(timeout=5)
            assert not thread.is_alive()
