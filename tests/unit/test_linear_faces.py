"""Learning the model of synthetic people, from pictures made to a known pattern."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kith.crops import Crops, Labelled
from kith.errors import Rejected
from kith.synthetic.model import CROP_AT, CROP_PX, FACE_HALF, PORTRAIT_PX, Model, load, paint
from kith.synthetic.people import People
from kith.training.likeness import with_likeness
from kith.training.linear_faces import Learned, Sizes, learn

Pixels = NDArray[np.uint8]

SIZES = Sizes(face=(3, 1), around=(2, 1), levels=127)


def portraits(people: int, each: int, seed: int = 0) -> tuple[Pixels, NDArray[np.str_]]:
    """Grey portraits with a stripe: its brightness is the person's, the side light and the background the picture's."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: PORTRAIT_PX[0], : PORTRAIT_PX[1]]
    stripe = np.exp(-(((rows - 90) / 8) ** 2)) * np.exp(-(((columns - 71.5) / 30) ** 2))
    side = (columns - 71.5) / 72
    pictures = []
    for _ in range(people):
        person = rng.normal(0, 40)
        for _ in range(each):
            own, light, around, chin = rng.normal(0, [4, 10, 20, 4])
            grey = 120 + (person + own) * stripe + light * side + around * (rows < 20) + chin * (rows > 130)
            grey = grey[:, :, None] + rng.normal(0, 1, (*PORTRAIT_PX, 1))
            pictures.append(np.repeat(grey, 3, axis=2).clip(0, 255).astype(np.uint8))
    return np.stack(pictures), np.array([f"p{person:03}" for person in range(people) for _ in range(each)])


def learned_from(pictures: Pixels, names: NDArray[np.str_], sizes: Sizes = SIZES) -> Learned:
    top, start = CROP_AT
    crops = pictures[:, top : top + CROP_PX, start : start + CROP_PX]
    images = tuple(Labelled(Path(f"{row}.jpg"), str(name)) for row, name in enumerate(names))
    return learn(Crops(crops, images, {}), pictures, names, sizes)


@pytest.fixture(scope="module")
def learned() -> Learned:
    return learned_from(*portraits(50, 3))


def test_what_tells_people_apart_comes_first_with_the_variance_it_has(learned: Learned) -> None:
    # 40² between people, 4² between pictures of one: estimated from fifty people.
    assert learned.model.between[0] == pytest.approx(100, rel=0.5)
    assert learned.model.between[1] < 5
    even, _ = learned.model.vectors(np.array([3.0, 0, 0, 0, 0]), np.zeros(2))
    change = paint(even, even)[:, :, 0] - paint(*learned.model.vectors(np.zeros(5), np.zeros(2)))[:, :, 0]
    row, column = np.unravel_index(np.abs(change).argmax(), change.shape)
    assert (abs(row - 90), abs(column - 71.5)) < (6, 12)


def test_side_light_is_no_part_of_an_identity_and_turns_with_the_mirror(learned: Learned) -> None:
    left, right = learned.model.vectors(np.zeros(5), np.array([2.0, 0]))
    painted = paint(left, right)[:, :, 0]
    assert abs(painted[100, 40] - painted[100, 103]) > 5
    assert painted[100, 40] + painted[100, 103] == pytest.approx(240, abs=4)


def test_the_mean_portrait_is_the_mean_of_the_portraits(learned: Learned) -> None:
    pictures, _ = portraits(50, 3)
    painted = paint(*learned.model.vectors(np.zeros(5), np.zeros(2)))[:, :, 0]
    expected = pictures[:, :, :, 0].mean(axis=0)
    assert np.abs(painted - (expected + expected[:, ::-1]) / 2).mean() < 2


def test_components_of_the_surroundings_leave_the_face_alone(learned: Learned) -> None:
    assert not learned.model.symmetric[3:, :FACE_HALF].any()
    assert learned.model.symmetric[3:, FACE_HALF:].any()


def test_the_same_pictures_make_the_same_model(learned: Learned) -> None:
    again = learned_from(*portraits(50, 3)).model
    for field in fields(Model):
        assert np.array_equal(getattr(again, field.name), getattr(learned.model, field.name)), field.name
    assert learned.notes[0] == "150 crops of 50 people, 50 of them with two or more"


def test_too_few_pictures_are_refused_with_the_number_needed() -> None:
    with pytest.raises(Rejected, match="6 of each are the least"):
        learned_from(*portraits(1, 3))
    with pytest.raises(Rejected, match="pictures of one person differ"):
        learned_from(*portraits(12, 1))


def test_people_a_recogniser_takes_for_one_another_are_known_to_look_alike() -> None:
    def embed(crops: Sequence[Pixels]) -> NDArray[np.float32]:
        """Looks at forehead, eyes, nose, mouth and chin."""
        bands = np.stack([crop[10:, 20:92].mean(axis=(1, 2)).reshape(6, 17).mean(axis=1) for crop in crops])
        bands -= bands.mean(axis=1, keepdims=True)
        return np.asarray(bands / np.linalg.norm(bands, axis=1, keepdims=True), np.float32)

    model = with_likeness(load(), embed, shown=120)
    people = People(model, seed=3)
    looks = model.looks(np.stack([people.person(number).identity for number in range(30)]))
    seen = embed([people.picture(number, 0, aligned=True) for number in range(30)])
    pairs = np.triu_indices(30, 1)
    assert np.corrcoef((looks @ looks.T)[pairs], (seen @ seen.T)[pairs])[0, 1] > 0.5
