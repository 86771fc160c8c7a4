"""kith extend and kith pack on coloured shapes: the grown classifier, the figures beside it, and the files."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from kith import cli
from kith.checkpoints import load_pack
from kith.embedder import embed, open_embedder
from kith.errors import InvalidPack, NameTaken, Rejected
from kith.networks import build
from kith.networks.classifiers import Classified, load_classifier
from kith.networks.weights import read_state, save_state

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220)}


def make() -> nn.Module:
    """A classifier of four classes; its source is also what the user's own module holds."""
    return nn.Sequential(
        nn.AvgPool2d(4), nn.Conv2d(3, 12, 5, 2), nn.ReLU(), nn.Conv2d(12, 16, 3, 2), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 4),
    )  # fmt: skip


def shape(name: str, random: np.random.Generator) -> np.ndarray:
    """`red-disc` and the like, somewhere in a (112, 112, 3) uint8 picture."""
    colour, kind = name.split("-")
    picture = random.integers(90, 140, (112, 112, 3)).astype(np.uint8)
    x, y, r = (int(value) for value in random.integers((40, 40, 18), (72, 72, 30)))
    if kind == "disc":
        cv2.circle(picture, (x, y), r, COLOURS[colour], -1)
    else:
        cv2.rectangle(picture, (x - r, y - r // 4), (x + r, y + r // 4), COLOURS[colour], -1)
    return picture


def write(root: Path, names: list[str], each: int, seed: int) -> Path:
    random = np.random.default_rng(seed)
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(each):
            cv2.imwrite(str(root / name / f"{number}.png"), shape(name, random)[..., ::-1])
    return root


OLD, NEW = ["blue-bar", "green-bar", "green-disc", "red-disc"], ["blue-disc", "red-bar"]


def trained() -> nn.Module:
    """The network of `make`, taught the old shapes."""
    torch.manual_seed(0)
    random = np.random.default_rng(5)
    network = make()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(40):
        names = [OLD[index] for index in random.integers(0, 4, 32)]
        pixels = np.stack([shape(name, random) for name in names]).astype(np.float32).transpose(0, 3, 1, 2)
        loss = nn.functional.cross_entropy(
            network(torch.from_numpy(pixels / 127.5 - 1)), torch.tensor([OLD.index(name) for name in names])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("shapes")
    write(root / "old", OLD, 8, 1)
    write(root / "new", NEW, 6, 2)
    (root / "shapes_net.py").write_text("from torch import nn\n\n" + inspect.getsource(make))
    network = trained()
    (root / "shapes.safetensors").write_bytes(save_state(network))
    torch.export.save(
        torch.export.export(network, (torch.zeros(2, 3, 112, 112),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)),
        root / "shapes.pt2",
    )
    return root


@pytest.fixture
def kith(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(folder)
    torch.set_num_threads(1)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])

    return run


USUAL = ("--old", "old", "--classes", "new", "--aligned", "--epochs", 10)


def test_a_classifier_grows_by_new_classes_and_is_compared_with_the_embedding(
    kith: Callable[..., Result], folder: Path, tmp_path: Path
) -> None:
    done = kith("extend", "shapes_net:make", "--weights", "shapes.safetensors", *USUAL, "--out", tmp_path, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads(done.stdout)
    answers = {each["what"]: each for each in found["answers"]}
    assert list(answers) == [
        "the classifier as it was",
        "grown, not retrained",
        "last layer retrained",
        "head cut off, nearest template, no training",
    ]
    assert (found["classes"], found["old_classes"]) == (OLD + NEW, 4)
    assert found["judged_by"] == {"old": 8, "new": 4}
    assert answers["the classifier as it was"]["new"] is None
    assert answers["the classifier as it was"]["old"] >= 0.75
    assert answers["last layer retrained"]["new"] >= 0.75
    assert answers["last layer retrained"]["old"] >= 0.75
    assert json.loads((tmp_path / "classes.json").read_text()) == OLD + NEW
    grown = load_classifier(str(tmp_path / "classifier.pt2"))
    state = read_state((tmp_path / "classifier.safetensors").read_bytes(), "here")
    assert (grown.cut().classes, grown.cut().dimension) == (6, 64)
    assert torch.equal(grown.cut().head.weight, state["head.weight"])  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_classifier(kith: Callable[..., Result], tmp_path: Path) -> None:
    outs = []
    for number, seed in enumerate((3, 3, 4)):
        out = tmp_path / str(number)
        more = ("--seed", seed, "--all-layers", "--all-epochs", 1, "--epochs", 2, "--out", out)
        done = kith("extend", "shapes.pt2", *USUAL, *more)
        assert done.exit_code == 0, (done.output, done.exception)
        outs.append((out / "classifier.safetensors").read_bytes())
    assert "all layers retrained" in done.stdout
    assert "head cut off, nearest template, no training" in done.stdout
    assert outs[0] == outs[1] != outs[2]


def test_old_classes_in_another_order_are_noticed(kith: Callable[..., Result], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(json.dumps(OLD[::-1]))
    done = kith("extend", "shapes.pt2", *USUAL, "--epochs", 1, "--out", tmp_path, "--names", tmp_path / "names.json")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "are its classes in the order of --names" in done.stderr


def test_a_grown_network_of_ours_is_extended_again_and_packed(
    kith: Callable[..., Result], tmp_path: Path, folder: Path
) -> None:
    torch.manual_seed(0)
    (tmp_path / "ours.safetensors").write_bytes(save_state(Classified(build("mobilefacenet", 16), nn.Linear(16, 4))))
    one = kith(
        "extend", "kith:mobilefacenet", "--weights", tmp_path / "ours.safetensors", *USUAL, "--out", tmp_path / "one"
    )
    assert one.exit_code == 0, (one.output, one.exception)
    assert not (tmp_path / "one" / "classifier.pt2").exists()
    # The names stand beside the weights, so the new classes are old ones now.
    weights = tmp_path / "one" / "classifier.safetensors"
    two = kith("extend", "kith:mobilefacenet", "--weights", weights, *USUAL, "--out", tmp_path / "two")
    assert isinstance(two.exception, Rejected)
    assert "2 classes of new are known to the classifier already (blue-disc, red-bar)" in str(two.exception)
    packed = kith("pack", "kith:mobilefacenet:6", "--weights", weights, "--out", tmp_path / "pack", "--cutoff", 0.4)
    assert packed.exit_code == 0, (packed.output, packed.exception)
    pack = load_pack(tmp_path / "pack")
    assert (pack.manifest.embedder.format, pack.dimension, pack.default_cutoff) == ("safetensors", 16, 0.4)
    for said in (pack.model_id, "head, which knew 6 classes", "no detector", "Next: kith evaluate", "kith calibrate"):
        assert said in packed.stdout
    assert isinstance(
        kith("pack", "kith:mobilefacenet", "--weights", weights, "--out", tmp_path / "pack").exception, NameTaken
    )


def test_somebodys_classifier_becomes_a_pack_that_says_what_it_saw(
    kith: Callable[..., Result], folder: Path, tmp_path: Path
) -> None:
    said = ("--channels", "RGB", "--mean", "0.5", "--std", "0.5", "--licence", "ours", "--json")
    done = kith("pack", "shapes_net:make", "--weights", "shapes.safetensors", "--out", tmp_path / "pack", *said)
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads(done.stdout)
    assert (found["layer"], found["classes"], found["dimension"], found["format"]) == ("7", 4, 64, "onnx")
    pack = load_pack(tmp_path / "pack")
    assert (pack.model_id, pack.manifest.licence) == (found["model_id"], "ours")
    crops = [shape(name, np.random.default_rng(9)) for name in OLD]
    vectors = embed(open_embedder(pack, device="cpu"), crops)
    network = load_classifier("shapes_net:make", folder / "shapes.safetensors").classifier
    assert isinstance(network, nn.Sequential)
    with torch.no_grad():
        pixels = torch.from_numpy(np.stack(crops).astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1)
        expected = nn.functional.normalize(network[:7](pixels)).numpy()
    assert vectors == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("pack", "shapes.pt2", "--out", "p"), Rejected, "preprocessing is guessed is worth nothing.*--mean"),
        (("extend", "shapes.pt2", "--old", "old", "--classes", "new"), Exception, "need a detector"),
        (
            ("extend", "shapes.pt2", "--old", "old", "--classes", "old", "--aligned"),
            Rejected,
            "4 classes of old are known",
        ),
        (("pack", "kith:mobilefacenet", "--weights", "shapes.safetensors", "--out", "p"), InvalidPack, "does not fit"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    arguments: tuple[str, ...], kind: type[Exception], message: str, kith: Callable[..., Result], folder: Path
) -> None:
    done = kith(*arguments)
    assert isinstance(done.exception, kind)
    assert done.exit_code == 1
    with pytest.raises(kind, match=message):
        raise done.exception  # type: ignore[misc]
    assert not (folder / "p").exists()
