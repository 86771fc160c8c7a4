"""Heads are cut off classifiers of every kind, and what is left says what the classifier saw before its last layer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kith.errors import Rejected
from kith.networks.heads import cut_head, project
from tests.small_classifier import FREE, Small, as_kind, pixels


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)


# torch writes a farewell to TorchScript whenever it makes some.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
KINDS = ["module", "scripted", "traced", "exported"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", ["nothing", "softmax", "log-softmax"])
def test_the_embedding_is_what_went_into_the_last_layer(kind: str, behind: str, tmp_path: Path) -> None:
    classifier = Small(behind).eval()
    with torch.no_grad():
        expected = classifier.embedding(pixels())
    cut = cut_head(as_kind(kind, classifier, tmp_path))
    assert (cut.layer, cut.dimension, cut.classes) == ("last", 6, 5)
    with torch.no_grad():
        # Another batch size than the one that was looked at.
        assert torch.allclose(cut.network(pixels()), expected, atol=1e-6)
    assert cut.head is not None
    assert torch.equal(cut.head.weight, classifier.last.weight)
    assert torch.equal(cut.head.bias, classifier.last.bias)


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_layer_is_averaged_over_its_map(kind: str, tmp_path: Path) -> None:
    classifier = Small("softmax").eval()
    with torch.no_grad():
        maps = classifier.norm(classifier.conv(pixels()))
    cut = cut_head(as_kind(kind, classifier, tmp_path), "norm")
    assert (cut.layer, cut.dimension, cut.classes, cut.head) == ("norm", 8, 5, None)
    out = cut.network(pixels()).detach()
    for row in range(3):
        for channel in range(8):
            assert float(out[row, channel]) == pytest.approx(float(maps[row, channel].double().mean()), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_layer_is_answered_with_the_layers_there_are(kind: str, tmp_path: Path) -> None:
    classifier = as_kind(kind, Small().eval(), tmp_path)
    with pytest.raises(Rejected, match=r"no layer called 'fc9' ran.*--layer") as refused:
        cut_head(classifier, "fc9")
    for line in (r"  hidden  \w+  \(2, 6\)", r"  last  \w+  \(2, 5\)", r"  conv  \w+  \(2, 8, 27, 27\)"):
        refused.match(f"(?s).*{line}")


def test_a_head_that_is_followed_by_more_than_probabilities_is_not_found() -> None:
    class Scaled(Small):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels) * 3 + 1

    with pytest.raises(
        Rejected, match=r"(?s)no classification layer was found.*--layer NAME.*  hidden  Linear  \(2, 6\)"
    ):
        cut_head(Scaled().eval())
    assert cut_head(Scaled().eval(), "hidden").dimension == 6


def test_a_convolution_of_one_pixel_is_a_head_too() -> None:
    body = nn.Sequential(nn.Conv2d(3, 7, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    classifier = nn.Sequential(body, nn.Conv2d(7, 4, 1), nn.Flatten(), nn.LogSoftmax(1)).eval()
    cut = cut_head(classifier)
    assert (cut.layer, cut.dimension, cut.classes) == ("1", 7, 4)
    with torch.no_grad():
        assert torch.allclose(cut.network(pixels()), body(pixels()).flatten(1))
        assert cut.head is not None
        assert torch.allclose(cut.head(cut.network(pixels())).log_softmax(1), classifier(pixels()), atol=1e-6)


def test_the_logits_among_several_outputs_are_found() -> None:
    class Two(Small):
        def forward(self, pixels: Tensor) -> Any:
            embedding = self.embedding(pixels)
            return {"features": embedding, "logits": self.last(embedding)}

    assert cut_head(Two().eval()).layer == "last"


def test_the_last_run_of_a_layer_that_is_used_twice_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.last = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.last(self.again(self.again(self.first(pixels.mean((2, 3))))))

    network = Twice().eval()
    with torch.no_grad():
        expected = network.again(network.again(network.first(pixels().mean((2, 3)))))
        assert torch.allclose(cut_head(network, "again").network(pixels()), expected)


def test_the_classifier_is_left_as_it_was_and_shares_nothing() -> None:
    classifier = Small()
    classifier.train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    cut = cut_head(classifier)
    with torch.no_grad():
        for weight in cut.network.parameters():
            weight.add_(1)
    assert classifier.training
    assert classifier.norm.training
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert not cut.network.training


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_can_be_trained_and_the_head_is_gone_from_it(kind: str, tmp_path: Path) -> None:
    cut = cut_head(as_kind(kind, Small().eval(), tmp_path))
    assert sorted(tuple(weight.shape) for weight in cut.network.parameters()) == [
        (6,),
        (6, 8),
        (8,),
        (8,),
        (8,),
        (8, 3, 5, 5),
    ]
    cut.network.train()
    cut.network(pixels()).square().sum().backward()
    assert all(weight.grad is not None for weight in cut.network.parameters())


def test_an_input_of_another_size_is_named() -> None:
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.Linear(6, 2)).eval()
    with pytest.raises(Rejected, match=r"does not run on a batch of \(2, 3, 112, 112\).*--input-size"):
        cut_head(classifier)
    assert cut_head(classifier, sample=torch.zeros(2, 3, 8, 8)).dimension == 6


def test_a_projection_begins_as_orthogonal_directions() -> None:
    cut = cut_head(Small().eval())
    projected = project(cut, 4, torch.Generator().manual_seed(1))
    again = project(cut, 4, torch.Generator().manual_seed(1))
    assert (projected.dimension, projected.layer, projected.classes) == (4, "last", 5)
    weight = projected.network[1].weight
    assert torch.equal(weight, again.network[1].weight)
    assert torch.allclose(weight @ weight.T, torch.eye(4), atol=1e-6)
    assert projected.network(pixels()).shape == (3, 4)
    with pytest.raises(Rejected, match="at least 1 dimension"):
        project(cut, 0)


def test_branches_and_loops_of_a_script_are_taken_as_the_sample_takes_them() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
            self.last = nn.Linear(3, 2)

        def forward(self, pixels: Tensor) -> Tensor:
            flat = pixels.mean((2, 3))
            for layer in self.layers:
                flat = layer(flat)
            for _ in range(2):
                flat = flat * 2
            flat = flat + 1 if pixels.shape[1] == 3 and pixels.dim() == 4 else flat - 1
            first, second = flat.split([1, 2], 1)
            return self.last(torch.cat([second, first], 1).reshape(pixels.shape[0], 3))

    network = Branching().eval()
    cut = cut_head(torch.jit.script(network))
    with torch.no_grad():
        assert torch.allclose(network.last(cut.network(pixels(5))), network(pixels(5)), atol=1e-6)


def test_an_operator_that_is_not_torchs_is_named() -> None:
    class Raising(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            if pixels.shape[2] == 112:
                raise ValueError("only 96 pixels")
            return pixels

    with pytest.raises(Rejected, match="only 96 pixels"):
        cut_head(torch.jit.script(Raising()))


def test_an_export_ends_where_the_tap_is_though_the_next_layer_writes_in_place() -> None:
    classifier = Small().eval()
    with torch.no_grad():
        expected = classifier.norm(classifier.conv(pixels(2))).mean((2, 3))
    cut = cut_head(classifier, "norm")
    exported = torch.export.export(cut.network, (pixels(2),), dynamic_shapes=FREE)
    assert torch.allclose(exported.module()(pixels(2)), expected, atol=1e-6)
