"""Growing and retraining a last layer: rows recomputed by hand, replay that is balanced, learning that holds on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from kith.crops import CropReader
from kith.errors import Rejected
from kith.manifest import EmbedderSpec
from kith.training.errors import Diverged
from kith.training.last_layers import Schedule, features_of, grow, retrain_all, retrain_last
from kith.training.objective import Normalise
from kith.training.replay import Examples, balanced, read_examples

NORMALISE = Normalise.of(EmbedderSpec("onnx", 4), torch.device("cpu"))


def nobody(*_: object) -> None: ...


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def clouds(classes: int, each: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 6) float32 around one centre per class, and (n,) labels."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((classes, 6)) * 3 + 5
    labels = np.repeat(np.arange(classes), each)
    return (centres[labels] + random.standard_normal((len(labels), 6)) * 0.5).astype(np.float32), labels.astype(
        np.int64
    )


def accuracy(head: nn.Linear, features: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        return float((head(torch.from_numpy(features)).argmax(1).numpy() == labels).mean())


def test_old_rows_stay_and_new_ones_point_to_the_mean_of_their_pictures() -> None:
    features, labels = clouds(5)
    head = nn.Linear(6, 3)
    grown = grow(head, features, labels, 5)
    assert torch.equal(grown.weight[:3], head.weight)
    assert torch.equal(grown.bias[:3], head.bias)
    rows, bias = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    means = [
        np.mean([f for f, label in zip(features.astype(float), labels, strict=True) if label == c], axis=0)
        for c in range(5)
    ]
    centre = sum(means) / 5
    length = sum(np.linalg.norm(row) for row in rows) / 3
    usual = sum(row @ centre + b for row, b in zip(rows, bias, strict=True)) / 3
    for new in (3, 4):
        towards = means[new] - centre
        expected = towards / np.linalg.norm(towards) * length
        assert grown.weight[new].detach().numpy() == pytest.approx(expected, abs=1e-4)
        assert float(grown.bias[new].detach()) == pytest.approx(usual - expected @ centre, abs=1e-3)


def test_without_a_bias_a_new_row_points_from_the_origin() -> None:
    features, labels = clouds(3)
    grown = grow(nn.Linear(6, 2, bias=False), features, labels, 3)
    mean = features[labels == 2].mean(axis=0)
    assert grown.bias is None
    row = grown.weight[2].detach().numpy()
    assert row / np.linalg.norm(row) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_every_class_is_shown_as_often_as_any_other() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 7)
    rows = np.flatnonzero(np.arange(60) % 10 != 0)
    batches = list(balanced(labels, rows, 8, np.random.default_rng(0)))
    shown = np.concatenate(batches)
    assert {len(batch) for batch in batches} == {8}
    assert len(batches) == 7
    counts = Counter(labels[shown].tolist())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert set(shown.tolist()) <= set(rows.tolist())
    again = np.concatenate(list(balanced(labels, rows, 8, np.random.default_rng(0))))
    assert (again == shown).all()


def test_the_last_layer_learns_the_new_classes_and_keeps_the_old() -> None:
    features, labels = clouds(6)
    head, rows = nn.Linear(6, 4), np.arange(len(labels))
    old = rows[labels < 4]
    told: list[str] = []
    start = retrain_last(head, features, labels, old, Schedule(epochs=60, hold=0), nobody)
    assert accuracy(start, features[old], labels[old]) > 0.95
    grown = grow(start, features, labels, 6)
    learned = retrain_last(grown, features, labels, rows, Schedule(epochs=20), lambda name, *_: told.append(name))
    assert accuracy(learned, features[labels < 4], labels[labels < 4]) > 0.95
    assert accuracy(learned, features[labels >= 4], labels[labels >= 4]) > 0.95
    assert told == ["last layer"] * 20
    again = retrain_last(grown, features, labels, rows, Schedule(epochs=20), nobody)
    assert torch.equal(again.weight, learned.weight)
    other = retrain_last(grown, features, labels, rows, Schedule(epochs=20, seed=1), nobody)
    assert not torch.equal(other.weight, learned.weight)


def test_the_size_of_the_features_makes_no_difference() -> None:
    features, labels = clouds(3)
    head, rows = nn.Linear(6, 3, bias=False), np.arange(len(labels))
    small = nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        small.weight.copy_(head.weight / 1000)
    one = retrain_last(head, features, labels, rows, Schedule(epochs=3), nobody)
    other = retrain_last(small, features * 1000, labels, rows, Schedule(epochs=3), nobody)
    assert other.weight.detach().numpy() * 1000 == pytest.approx(one.weight.detach().numpy(), rel=1e-3, abs=1e-5)


def test_rows_that_are_held_move_less() -> None:
    features, labels = clouds(4)
    head, rows = nn.Linear(6, 4), np.arange(len(labels))
    moved = []
    for hold in (0.0, 0.1, 10.0):
        learned = retrain_last(head, features, labels, rows, Schedule(epochs=20, hold=hold), nobody)
        moved.append(float((learned.weight - head.weight).detach().norm()))
    assert moved[0] > moved[1] > moved[2]


def test_what_is_no_number_stops_it_and_names_the_flags() -> None:
    features, labels = clouds(3)
    rows = np.arange(len(labels))
    with pytest.raises(Diverged, match=r"the loss of the last layer is (nan|inf).*--rate"):
        retrain_last(nn.Linear(6, 3), features, labels, rows, Schedule(rate=1e30), nobody)
    features[0] = np.nan
    with pytest.raises(Diverged, match=r"features that are no numbers.*--mean"):
        retrain_last(nn.Linear(6, 3), features, labels, rows, Schedule(), nobody)


def test_features_do_not_depend_on_the_batch_nor_on_the_mode() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(196, 5)).train()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3)).astype(np.uint8)
    found = features_of(network, pixels, NORMALISE, batch=2)
    with torch.no_grad():
        alone = [
            network.eval()(torch.from_numpy((p / 255 - 0.5) / 0.5).float().permute(2, 0, 1)[None])[0] for p in pixels
        ]
    assert found == pytest.approx(np.stack(alone), abs=1e-5)


def test_all_layers_learn_at_a_lower_rate_and_batch_norms_keep_their_statistics() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(196, 5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (6, 112, 112, 3)).astype(np.uint8)
    rows = np.arange(6)
    examples = Examples(pixels, rows % 3, ("a", "b", "c"), 2, rows, rows, ())
    head = nn.Linear(5, 3)
    learned = retrain_all(network, head, examples, NORMALISE, Schedule(all_epochs=1, all_rate=1e-3), nobody)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, _ in network.named_parameters()}
    assert float((learned.weight - head.weight).detach().abs().max()) == pytest.approx(1e-3, rel=0.2)


def picture(folder: Path, name: str, colour: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((112, 112, 3), colour, np.uint8)).save(folder / name)


def folders(root: Path, **classes: list[int]) -> Path:
    """root/CLASS/N.png, grey of the given brightness each."""
    for name, colours in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number, colour in enumerate(colours):
            picture(root / name, f"{number}.png", colour)
    return root


def test_old_classes_come_first_in_their_order_and_part_of_each_is_held_out(tmp_path: Path) -> None:
    old = folders(tmp_path / "old", b=[1, 2, 3, 4], a=[5, 6, 7, 8])
    new = folders(tmp_path / "new", d=[11, 12], c=[13, 14, 15])
    found = read_examples(old, new, ["b", "z", "a"], CropReader(None), tmp_path / "cache")
    assert (found.names, found.old) == (("b", "z", "a", "c", "d"), 3)
    colours = {name: found.pixels[found.labels == label, 0, 0, 0].tolist() for label, name in enumerate(found.names)}
    assert {name: sorted(values) for name, values in colours.items()} == {
        "b": [1, 2, 3, 4], "z": [], "a": [5, 6, 7, 8], "c": [13, 14, 15], "d": [11, 12],
    }  # fmt: skip
    assert not set(found.learn.tolist()) & set(found.judge.tolist())
    assert Counter(found.labels[found.judge].tolist()) == {0: 1, 2: 1, 3: 1, 4: 1}
    assert found.notes == (f"{old} shows nothing of 1 old classes, which may be forgotten: z",)
    assert found.judged(new=True).tolist() == [row for row in found.judge.tolist() if found.labels[row] >= 3]


def test_what_is_wrong_with_the_folders_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    old = folders(tmp_path / "old", a=[1, 2, 3], b=[4, 5, 6])
    new = folders(tmp_path / "new", c=[7, 8, 1], lonely=[20], none=[])
    (new / "c" / "broken.png").write_bytes(b"no picture")
    found = read_examples(old, new, 2, CropReader(None), tmp_path / "cache")
    assert found.names == ("a", "b", "c")
    assert sorted(found.pixels[:, 0, 0, 0].tolist()) == [2, 3, 4, 5, 6, 7, 8]
    said = "\n".join(found.notes)
    assert f"1 folders of {new} are empty: none" in said
    assert "1 new classes have fewer than two usable pictures" in said
    assert "left out: lonely" in said
    assert "1 pictures lie under an old and a new name (label noise), left out: a = c" in said
    assert "c/broken.png" in said


@pytest.mark.parametrize(
    ("new", "known", "message"),
    [
        ({"a": [7, 8], "c": [9, 10]}, 2, r"1 classes of .* are known to the classifier already \(a\)"),
        ({"c": [7, 8]}, 3, r"knows 3 classes and .* shows 2: name them all.*--names FILE"),
        ({"c": [7, 8]}, ["a", "x"], "1 folders of .* are none of the classifier's classes: b"),
        ({"c": [7]}, 2, "no new class is left"),
        ({}, 2, "holds no pictures"),
    ],
)
def test_folders_that_cannot_work_are_refused(
    new: dict[str, list[int]], known: list[str] | int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    old = folders(tmp_path / "old", a=[1, 2, 3], b=[4, 5, 6])
    with pytest.raises(Rejected, match=message):
        read_examples(old, folders(tmp_path / "new", **new), known, CropReader(None), tmp_path / "cache")
