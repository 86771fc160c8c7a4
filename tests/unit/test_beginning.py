"""What a training run begins with: any classifier without its head, fed as it was taught. How that is packed is in
tests/integration/test_export.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kith.checkpoints import write_pack
from kith.errors import Misconfigured, Rejected
from kith.manifest import EmbedderSpec, Manifest
from kith.networks import build
from kith.networks.weights import save_state
from kith.training.beginning import begin
from kith.training.config import TrainConfig
from tests.small_classifier import Small, as_kind, pixels

# torch writes a farewell to TorchScript whenever it makes some.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

FED = {"channels": "BGR", "scale": 1.0, "mean": 127.5, "std": [128, 129, 130]}
PHASES = [{"objective": "triplet", "epochs": 1, "learning_rate": 1e-3}]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)


def config(**network: Any) -> TrainConfig:
    return TrainConfig.model_validate({"data": {"path": "nowhere"}, "phases": PHASES, "network": network})


def small() -> nn.Module:
    """What an import path names."""
    torch.manual_seed(3)
    return Small().eval()


@pytest.mark.parametrize("kind", ["module", "scripted", "traced", "exported"])
def test_a_classifier_of_any_kind_begins_without_its_head(kind: str, tmp_path: Path) -> None:
    source = "tests.unit.test_beginning:small"
    if kind != "module":
        as_kind(kind, small(), tmp_path)
        source = str(next(tmp_path.iterdir()))
    found = begin(config(classifier=source, **FED))
    classifier = small()
    assert isinstance(classifier, Small)
    with torch.no_grad():
        assert torch.allclose(found.network(pixels()), classifier.embedding(pixels()), atol=1e-6)
    assert (found.spec.format, found.spec.dimension, found.spec.channels) == ("onnx", 6, "BGR")
    assert (found.spec.mean, found.spec.std) == ((127.5, 127.5, 127.5), (128, 129, 130))
    assert found.notes == (f"begins with {source}: the embedding is what went into last, 6 numbers",)


def test_a_network_of_ours_keeps_its_name_and_is_packed_as_weights(tmp_path: Path) -> None:
    network = build("resnet18", 16)
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    head = nn.Linear(16, 4)
    state |= {f"head.{name}": value for name, value in head.state_dict().items()}
    file = tmp_path / "classifier.pt"
    torch.save(state, file)
    found = begin(config(classifier="kith:resnet18:4", weights=file))
    assert (found.spec.format, found.spec.network, found.spec.dimension) == ("safetensors", "resnet18", 16)
    with torch.no_grad():
        assert torch.equal(found.network(pixels(2)), network(pixels(2)))
    assert found.file(found.network) == save_state(network)


def test_another_layer_a_projection_and_another_input_are_as_asked_for() -> None:
    found = begin(config(classifier="tests.unit.test_beginning:small", layer="conv", dimension=4, input_size=64, **FED))
    small_input = torch.nn.functional.interpolate(pixels(), (64, 64), mode="bilinear", align_corners=False)
    classifier = small()
    assert isinstance(classifier, Small)
    with torch.no_grad():
        out, maps = found.network(pixels()), classifier.conv(small_input).mean((2, 3))
    assert out.shape == (3, 4)
    projection = next(weight for weight in found.network.parameters() if weight.shape == (4, 8))
    norm = next(module for module in found.network.modules() if isinstance(module, nn.BatchNorm1d))
    with torch.no_grad():
        assert torch.allclose(out, norm(maps @ projection.T), atol=1e-5)
    assert "the output of conv, 4 numbers of a fresh projection" in found.notes[0]


def test_what_has_to_be_named_is_named() -> None:
    with pytest.raises(Rejected, match="--channels RGB or BGR; --mean"):
        begin(config(classifier="tests.unit.test_beginning:small"))
    with pytest.raises(Rejected, match=r"(?s)no layer called 'middle'.*conv.*hidden"):
        begin(config(classifier="tests.unit.test_beginning:small", layer="middle", **FED))


def test_a_run_begins_with_one_thing(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="not with both"):
        begin(config(classifier="tests.unit.test_beginning:small", start=tmp_path))


def test_a_program_for_one_batch_size_cannot_be_trained(tmp_path: Path) -> None:
    file = tmp_path / "fixed.pt2"
    torch.export.save(torch.export.export(small(), (pixels(2),)), file)
    with pytest.raises(Misconfigured, match=r"does not take a batch of 3 pictures.*torch\.export\.Dim"):
        begin(config(classifier=str(file), **FED))


def test_a_program_without_weights_cannot_be_trained() -> None:
    with pytest.raises((Misconfigured, Rejected)):
        begin(config(classifier="torch.nn:Flatten", **FED))


def test_from_scratch_and_from_a_pack_the_dimension_is_that_of_what_is_there(tmp_path: Path) -> None:
    assert begin(config()).spec.dimension == 128
    assert begin(config(dimension=32)).spec.dimension == 32
    spec = EmbedderSpec("safetensors", 32, "e.safetensors", network="mobilefacenet", channels="BGR", scale=2.0)
    manifest = Manifest(
        name="x", licence="x", source="x", embedder=spec, default_cutoff=0.5, cutoff_note="x", detector=None
    )
    network = build("mobilefacenet", 32)
    start = write_pack(tmp_path / "start", manifest, {"e.safetensors": save_state(network)}).path
    found = begin(config(start=start))
    assert (found.spec.dimension, found.spec.channels, found.spec.scale) == (32, "BGR", 2.0)
    with torch.no_grad():
        assert torch.equal(found.network(pixels(2)), network(pixels(2)))
    with pytest.raises(Misconfigured, match=r"holds mobilefacenet of dimension 32, the configuration wants .* 64"):
        begin(config(start=start, dimension=64))
