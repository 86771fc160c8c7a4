"""People who do not exist: the model's file, what is drawn from it, and the folder it becomes."""

import io
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kith import cli
from kith.errors import InvalidPack, Rejected
from kith.folder import scan, subject_of
from kith.synthetic.album import README
from kith.synthetic.model import CROP_PX, HALF, PARTS, PORTRAIT_PX, Model, halves, load, mask, paint, quantise
from kith.synthetic.people import People
from kith.synthetic.photograph import PHOTOGRAPH_PX, jpeg


@pytest.fixture(scope="module")
def model() -> Model:
    return load()


def test_the_shipped_model_is_small_and_holds_no_code(model: Model) -> None:
    file = Path(cli.__file__).parents[1] / "synthetic" / "model.npz"
    assert file.stat().st_size <= 500_000
    assert (model.between >= 0).all()
    assert (np.diff(model.between[: np.flatnonzero(np.diff(model.between) > 0)[0]]) <= 0).all(), "most telling first"


def test_a_saved_model_comes_back_and_the_same_model_is_the_same_file(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "a.npz")
    model.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = load(tmp_path / "a.npz")
    for field in fields(Model):
        assert np.array_equal(getattr(again, field.name), getattr(model, field.name)), field.name


def test_a_file_that_is_no_model_is_refused_by_name(model: Model, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK nonsense")
    np.savez(tmp_path / "y.npz", mean=np.zeros(3))
    replace(model, scale=model.scale[:-1]).save(tmp_path / "z.npz")
    pickled = np.array([{"code": 1}], dtype=object)
    np.savez(tmp_path / "p.npz", **{field.name: pickled for field in fields(Model)})
    for name in ("x", "y", "z", "p", "absent"):
        with pytest.raises(InvalidPack, match=rf"{name}\.npz"):
            load(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("levels", [3, 24, 127])
def test_a_stored_value_is_off_by_half_a_step_at_most(levels: int) -> None:
    components = np.random.default_rng(0).standard_normal((7, 50)) * np.geomspace(1e-3, 1e3, 7)[:, None]
    components[3] = 0
    stored, scale = quantise(components, levels)
    assert stored.dtype == np.int8
    assert np.abs(stored).max() == levels
    assert (np.abs(stored * scale[:, None] - components) <= 0.5001 * scale[:, None]).all()
    assert np.allclose(scale[[0, -1]], np.abs(components[[0, -1]]).max(axis=1) / levels)


def test_halves_are_put_together_again_and_a_mirrored_picture_only_turns_the_odd_one() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((2, *part)) for part in PARTS]
    even, odd = halves(parts)
    assert even.shape == odd.shape == (2, HALF)
    other_even, other_odd = halves([part[:, :, ::-1] for part in parts])
    assert np.allclose(other_even, even)
    assert np.allclose(other_odd, -odd)
    height, width, _ = PARTS[0]
    left = (even + odd)[0, : height * width // 2].reshape(height, width // 2)
    right = (even - odd)[0, : height * width // 2].reshape(height, width // 2)[:, ::-1]
    assert np.allclose(np.concatenate([left, right], axis=1), parts[0][0, :, :, 0])


def test_a_grey_portrait_is_grey_all_over_and_shows_no_seam_around_the_face() -> None:
    parts = [np.full((1, *part), 90.0 if part[2] == 1 else 128.0) for part in PARTS]
    parts[:2] = [part * mask(*part.shape[1:3]) for part in parts[:2]]
    even, odd = halves(parts)
    painted = paint((even + odd)[0], (even - odd)[0])
    assert painted.shape == (*PORTRAIT_PX, 3)
    assert np.allclose(painted, [90, 128, 128], atol=1e-3)


def test_a_picture_depends_on_seed_person_and_number_alone(model: Model) -> None:
    one, other = People(model, seed=5), People(model, seed=5)
    other.picture(4, 7)
    other.picture(2, 0, aligned=True)
    assert np.array_equal(one.picture(3, 1), other.picture(3, 1))
    assert not np.array_equal(one.picture(3, 1), one.picture(3, 2))
    assert not np.array_equal(one.person(3).identity, one.person(4).identity)
    assert not np.array_equal(one.picture(3, 1), People(model, seed=6).picture(3, 1))


def test_pictures_are_photographs_or_aligned_crops_with_light_and_dark_in_them(model: Model) -> None:
    people = People(model)
    for number in range(4):
        photo, crop = people.picture(number, 0), people.picture(number, 0, aligned=True)
        assert (photo.shape, photo.dtype) == ((*PHOTOGRAPH_PX, 3), np.uint8)
        assert (crop.shape, crop.dtype) == ((CROP_PX, CROP_PX, 3), np.uint8)
        for picture in (photo, crop):
            assert 30 < picture.mean() < 220
            assert picture.std() > 15


def test_pictures_of_one_person_are_nearer_to_each_other_than_to_anybody_else(model: Model) -> None:
    people = People(model)
    pictures = np.stack([[people.picture(i, j, aligned=True) for j in range(3)] for i in range(8)]).astype(float)
    means = pictures.mean(axis=1)
    for person in range(8):
        others = [np.square(means[person] - means[other]).mean() for other in range(8) if other != person]
        own = [np.square(picture - means[person]).mean() for picture in pictures[person]]
        assert np.mean(own) < min(others)


def test_without_variation_only_the_grain_differs(model: Model) -> None:
    still = People(model, variation=0)
    one, other = (still.picture(0, shot).astype(float) for shot in range(2))
    assert 0 < np.abs(one - other).mean() < 5
    lively = People(model)
    assert np.abs(lively.picture(0, 0).astype(float) - lively.picture(0, 1)).mean() > 10


def test_people_are_chosen_to_be_unlike_those_before(model: Model) -> None:
    def nearest(people: People) -> float:
        looks = model.looks(np.stack([people.person(number).identity for number in range(25)]))
        alike = looks @ looks.T - 2 * np.eye(25)
        return float(alike.max(axis=1).mean())

    indifferent = replace(
        model, likeness=np.zeros_like(model.likeness), likeness_mean=np.zeros_like(model.likeness_mean)
    )
    assert nearest(People(model)) < nearest(People(indifferent)) - 0.1


def kith(*arguments: object) -> str:
    done = CliRunner().invoke(cli.app, [str(each) for each in arguments], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return f"{done.exit_code} {done.output}"


def test_the_command_writes_folders_of_subjects_and_says_what_they_are(tmp_path: Path) -> None:
    out = tmp_path / "people"
    assert "2 synthetic people with 3 pictures each" in kith("synth", "--subjects", 2, "--images", 3, out)
    found = [image.path for image in scan(out, lambda *_: None)]
    assert found == [f"subject-000{person}/000{shot}.jpg" for person in (1, 2) for shot in (1, 2, 3)]
    assert {subject_of(path) for path in found} == {"subject-0001", "subject-0002"}
    with Image.open(out / found[0]) as written:
        assert written.size == (200, 240)
    assert (out / found[0]).read_bytes() == jpeg(People(load()).picture(0, 0))
    assert "These people do not exist" in (out / README).read_text()


def test_a_folder_that_holds_something_is_left_alone_unless_people_are_to_be_added(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(Rejected, match="--add"):
        kith("synth", "--subjects", 1, "--images", 1, tmp_path)
    with pytest.raises(Rejected, match="is a file"):
        kith("synth", tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    for _ in range(2):
        kith("synth", "--subjects", 1, "--images", 1, "--aligned", "--add", tmp_path)
    people = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert people == ["subject-0001", "subject-0002"]
    first, second = ((tmp_path / name / "0001.jpg").read_bytes() for name in people)
    assert first != second
    assert Image.open(io.BytesIO(first)).size == (CROP_PX, CROP_PX)


@pytest.mark.parametrize(
    "arguments", [[], ["--learn", "."], ["--learn", ".", "--photos", "."], ["--subjects", "0", "x"]]
)
def test_half_a_request_is_a_wrong_command_line(arguments: list[str]) -> None:
    assert kith("synth", *arguments).startswith("2 ")
