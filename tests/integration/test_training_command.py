"""`kith train` on real faces, in small: what it writes serves, and what it began with shows in it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kith import cli
from kith.checkpoints import load_pack
from kith.crops import CropReader
from kith.embedder import embed, open_embedder
from kith.errors import KithError
from kith.networks import build
from kith.networks.heads import cut_head
from tests.shared_data import shared_data
from tests.small_classifier import Small, as_kind

CONFIG = """
name = "tiny"
threads = 1
average = 0.5
[data]
path = "set on the command line"
aligned = true
validation_share = 0.4
[validation]
fpir = 0.2
[[phases]]
objective = "triplet"
epochs = {epochs}
learning_rate = {rate}
subjects = 4
images = 2
steps_per_epoch = 6
warm_up_steps = 1
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty people with three aligned pictures or more."""
    folder = tmp_path_factory.mktemp("people")
    train = shared_data() / "aligned" / "train"
    for person in [person for person in sorted(train.iterdir()) if len(list(person.iterdir())) > 2][:30]:
        shutil.copytree(person, folder / person.name)
    return folder


def configured(folder: Path, *, epochs: int = 2, rate: float = 1e-3) -> Path:
    file = folder / "config.toml"
    file.write_text(CONFIG.format(epochs=epochs, rate=rate))
    return file


def trained(*arguments: Any) -> dict[str, Any]:
    done = CliRunner().invoke(cli.app, ["train", *map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(*arguments: Any) -> str:
    with pytest.raises(KithError) as refusal:
        CliRunner().invoke(cli.app, ["train", *map(str, arguments)], catch_exceptions=False)
    return refusal.value.reason


def crops(people: Path, count: int = 8) -> list[Any]:
    reader = CropReader(None)
    return [reader.read(min(person.iterdir())) for person in sorted(people.iterdir())[:count]]


def test_a_run_ends_with_a_pack_that_serves_its_figures_and_a_page(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = trained(configured(tmp_path), "--data", people, "--dimension", 32, "--out", out)
    pack = load_pack(out / "pack")
    assert said["model_id"] == pack.model_id
    assert set(said["figures"]) == {"dir", "rank_1", "cutoff"}
    assert pack.dimension == 32
    assert "12 people held out" in pack.manifest.cutoff_note
    vectors = embed(open_embedder(pack, "cpu", 1), crops(people))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    evaluation = json.loads((out / "pack" / "evaluation.json").read_text())
    assert [epoch["epoch"] for epoch in evaluation["epochs"]] == [0, 1]
    page = (out / "report.html").read_text()
    assert "mobilefacenet, 32 dimensions" in page
    assert "data:image/png;base64," in page
    again = trained(configured(tmp_path), "--data", people, "--dimension", 32, "--out", tmp_path / "again")
    assert again["model_id"] == said["model_id"], "the same seed gives the same network"


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_from_a_classifier_in_a_file_it_begins_with_what_that_sees(people: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    classifier = Small().eval()
    as_kind("traced", classifier, tmp_path)
    fed = ("--channels", "RGB", "--scale", "1", "--mean", "127.5", "--std", "127.5")
    given = ("--from", tmp_path / "classifier", *fed, "--data", people)
    # At such a rate nothing moves: what comes out is what was put in.
    still = trained(configured(tmp_path, epochs=1, rate=1e-12), *given, "--out", tmp_path / "still")
    pack = load_pack(Path(still["pack"]))
    assert (pack.manifest.embedder.format, pack.dimension) == ("onnx", 6)
    some = crops(people)
    pixels = (torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    with torch.no_grad():
        expected = torch.nn.functional.normalize(cut_head(classifier).network(pixels)).numpy()
    found = embed(open_embedder(pack, "cpu", 1), some)
    assert (found * expected).sum(axis=1).min() > 0.999
    moved = trained(configured(tmp_path), *given, "--out", tmp_path / "moved")
    assert moved["model_id"] != still["model_id"]


def test_from_a_network_of_ours_with_a_fresh_projection(people: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(build("mobilefacenet", 64).state_dict(), weights)
    given = ("--from", "kith:mobilefacenet", "--weights", weights, "--dimension", 16, "--data", people)
    said = trained(configured(tmp_path, epochs=1), *given, "--out", tmp_path / "out")
    pack = load_pack(Path(said["pack"]))
    assert (pack.manifest.embedder.format, pack.dimension) == ("onnx", 16)
    assert "kith:mobilefacenet" in (tmp_path / "out" / "report.html").read_text()


def test_what_is_missing_is_named_before_any_picture_is_read(people: Path, tmp_path: Path) -> None:
    given = ("--data", people, "--aligned", "--out", tmp_path / "o")
    assert "--weights" in refused(*given, "--from", "kith:mobilefacenet")
    assert "--channels RGB or BGR" in refused(*given, "--from", "tests.small_classifier:Small")
    assert not list((tmp_path / "o").glob("crops*"))


def test_too_few_people_are_named_with_what_to_do(people: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    only = min(people.iterdir())
    shutil.copytree(only, alone / only.name)
    file = configured(tmp_path)
    assert "a batch takes 4 subjects, there are 1" in refused(file, "--data", alone, "--out", tmp_path / "o")
    few = tmp_path / "few"
    for person in sorted(people.iterdir())[:3]:
        shutil.copytree(person, few / person.name)
    file.write_text(file.read_text().replace("validation_share = 0.4", "validation_share = 0.0"))
    assert "a batch takes 4 subjects, there are 3" in refused(file, "--data", few, "--out", tmp_path / "o2")


@pytest.mark.parametrize("lender", ["file", "pack"])
def test_a_detector_lent_by_a_file_or_a_pack_finds_the_faces_and_goes_into_the_pack(
    lender: str, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    everybody = sorted((shared_data() / "faces" / "train").iterdir())
    for person in [person for person in everybody if len(list(person.iterdir())) > 2][:6]:
        shutil.copytree(person, photos / person.name)
    weights = shared_data() / "weights"
    detector = weights if lender == "pack" else weights / "yunet_n_dynamic.onnx"
    file = configured(tmp_path, epochs=1)
    file.write_text(file.read_text().replace("aligned = true", "aligned = false").replace("0.4", "0.0"))
    said = trained(file, "--data", photos, "--detector", detector, "--out", tmp_path / "out")
    pack = load_pack(Path(said["pack"]))
    assert pack.manifest.detector is not None
    assert pack.read(pack.manifest.detector) == (weights / "yunet_n_dynamic.onnx").read_bytes()
