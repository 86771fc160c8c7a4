"""Made-up photographic accidents: reproducible, within bounds, the person stays."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.training.augment import NONE, Augmentation, augment


def face(seed: int = 0) -> np.ndarray:
    squares = np.random.default_rng(seed).integers(0, 256, (14, 14, 3)).astype(np.uint8)
    return cv2.resize(squares, (112, 112), interpolation=cv2.INTER_CUBIC)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_draw_gives_a_picture_of_the_same_shape_and_leaves_the_original_alone(seed: int) -> None:
    every = Augmentation(flip=1, grey=1, blur=1, shrink=1, jpeg=1, noise=1, erase=1)
    crop = face()
    before = crop.copy()
    out = augment(crop, every, np.random.default_rng(seed))
    assert out.shape == crop.shape
    assert out.dtype == np.uint8
    assert (crop == before).all()


def test_the_same_generator_gives_the_same_picture_and_another_gives_another() -> None:
    first, again, other = (augment(face(), Augmentation(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_without_augmentation_the_picture_is_copied_as_it_is() -> None:
    crop = face()
    out = augment(crop, NONE, np.random.default_rng(0))
    assert (out == crop).all()
    assert out is not crop


def test_a_flip_alone_is_the_mirror_image() -> None:
    out = augment(face(), replace(NONE, flip=1.0), np.random.default_rng(0))
    assert np.abs(out.astype(int) - face()[:, ::-1].astype(int)).max() <= 1


def test_light_is_moved_by_about_as_much_as_is_asked_for() -> None:
    how = replace(NONE, light=0.2)
    grey = np.full((112, 112, 3), 100, np.uint8)
    means = [augment(grey, how, np.random.default_rng(seed)).mean() for seed in range(300)]
    assert np.std(np.log(np.array(means) / 100)) == pytest.approx(0.2, rel=0.2)


def test_a_covered_face_shows_one_box_of_one_colour() -> None:
    crop = face()
    out = augment(crop, replace(NONE, erase=1.0), np.random.default_rng(3))
    rows, columns = np.nonzero((out != crop).any(axis=2))
    box = out[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    changed = len(rows) / box.shape[0] / box.shape[1]
    assert changed > 0.95
    assert len(np.unique(box.reshape(-1, 3), axis=0)) <= 1 + (1 - changed) * box.size
