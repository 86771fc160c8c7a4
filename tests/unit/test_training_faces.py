"""What a run learns from: label noise, lonely pictures and broken files are found and said, nobody is on both sides."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kith.crops import CropReader
from kith.errors import Misconfigured, Rejected
from kith.training.config import TrainConfig, read_config
from kith.training.faces import Faces, read_faces, split

READER = CropReader(None)
PHASE = "[[phases]]\nobjective = 'triplet'\nlearning_rate = 1\n"


def picture(path: Path, seed: int, side: int = 112) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "people"
    for number, name in enumerate(("ada", "bob", "cyd")):
        for image in range(2):
            picture(root / name / f"{image}.png", 10 * number + image)
    return root


def test_all_usable_pictures_are_read_with_their_subjects(folder: Path, tmp_path: Path) -> None:
    faces = read_faces(folder, READER, tmp_path / "cache")
    assert faces.names == ("ada", "bob", "cyd")
    assert faces.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (faces.pixels[3] == np.asarray(Image.open(folder / "bob" / "1.png"))).all()
    assert faces.notes == ()


def test_a_picture_under_two_names_is_left_out_and_reported_as_label_noise(folder: Path, tmp_path: Path) -> None:
    (folder / "bob" / "ada.png").write_bytes((folder / "ada" / "0.png").read_bytes())
    faces = read_faces(folder, READER, tmp_path / "cache")
    assert faces.labels.tolist() == [0, 1, 1, 2, 2]
    assert "1 pictures lie under two names (label noise) and are left out: ada/0.png = bob/ada.png" in faces.notes


def test_a_picture_twice_under_one_name_counts_once(folder: Path, tmp_path: Path) -> None:
    (folder / "ada" / "again.png").write_bytes((folder / "ada" / "0.png").read_bytes())
    assert read_faces(folder, READER, tmp_path / "cache").labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_broken_files_lonely_subjects_and_files_without_one_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "ada" / "1.png").write_bytes(b"no picture")
    picture(folder / "stray.png", 99)
    picture(folder / "bob" / "large.png", 98, side=120)
    faces = read_faces(folder, READER, tmp_path / "cache")
    left_out, alone = faces.notes
    assert left_out.startswith("3 files are left out")
    for name in ("ada/1.png", "stray.png", "bob/large.png"):
        assert name in left_out
    assert alone == "1 of 3 subjects have one picture only: their positives are variations of it"


def test_a_folder_without_a_usable_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "people" / "ada").mkdir(parents=True)
    with pytest.raises(Rejected, match="holds no pictures in folders of subjects"):
        read_faces(tmp_path / "people", READER, tmp_path / "cache")
    (tmp_path / "people" / "ada" / "1.jpg").write_bytes(b"nothing")
    with pytest.raises(Rejected, match=r"none of the 1 pictures .* can be used; 1 files are left out: ada/1\.jpg"):
        read_faces(tmp_path / "people", READER, tmp_path / "cache")


def test_crops_are_read_once_and_again_only_when_a_file_has_changed(folder: Path, tmp_path: Path) -> None:
    read: list[int] = []

    def tell(done: int, of: int) -> None:
        read.append(done)

    first = read_faces(folder, READER, tmp_path / "cache", tell)
    again = read_faces(folder, READER, tmp_path / "cache", tell)
    assert read == [1, 2, 3, 4, 5, 6]
    assert (again.pixels == first.pixels).all()
    assert (again.labels == first.labels).all()
    picture(folder / "cyd" / "2.png", 77)
    assert len(read_faces(folder, READER, tmp_path / "cache", tell).labels) == 7
    assert len(read) == 13


def test_nobody_is_on_both_sides_of_a_split() -> None:
    labels = np.repeat(np.arange(40), 3)
    faces = Faces(np.arange(120, dtype=np.uint8).reshape(120, 1, 1, 1), labels, tuple(map(str, range(40))), ())
    learned, held_out = split(faces, 0.25, seed=3)
    assert held_out is not None
    assert len(held_out.names) == 10
    assert not set(learned.names) & set(held_out.names)
    for part in (learned, held_out):
        for row, label in enumerate(part.labels):
            assert int(part.pixels[row, 0, 0, 0]) // 3 == int(part.names[label])
    assert split(faces, 0.25, seed=3)[1].names == held_out.names  # type: ignore[union-attr]
    assert split(faces, 0.0, seed=3) == (faces, None)


class TestConfiguration:
    def test_the_shipped_file_holds_every_default(self, repository: Path) -> None:
        shipped = read_config(TrainConfig, repository / "config" / "train.toml")
        plain = read_config(
            TrainConfig,
            None,
            data={"path": "people"},
            phases=[
                {"objective": "NormalizedSoftmaxLoss", "epochs": 30, "learning_rate": 1e-3},
                {"objective": "triplet", "epochs": 10, "learning_rate": 1e-4},
            ],
        )
        assert shipped == plain

    def test_what_is_given_wins_key_by_key(self, repository: Path) -> None:
        given = {"seed": 5, "name": None, "data": {"aligned": True}}
        found = read_config(TrainConfig, repository / "config" / "train.toml", **given)
        assert (found.seed, found.name, found.data.aligned, str(found.data.path)) == (5, "kith-trained", True, "people")

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("[data", "is not TOML"),
            ("[data]\npath = 'x'\n", "phases: Field required"),
            (f"[data]\npath = 'x'\n[augment]\nflipp = 1\n{PHASE}epochs = 1", "augment.*flipp"),
            (f"[data]\npath = 'x'\n{PHASE}epochs = 0", "phases.0.epochs"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_key(self, tmp_path: Path, text: str, complaint: str) -> None:
        file = tmp_path / "train.toml"
        file.write_text(text)
        with pytest.raises(Misconfigured, match=rf"train\.toml.*{complaint}"):
            read_config(TrainConfig, file)
