"""Networks of torch as ONNX files: they say the same, quietly, and the bytes depend on nothing but the network.

Each export takes a second, too long for a unit test.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kith.checkpoints import write_pack
from kith.embedder import embed, open_embedder
from kith.errors import InvalidPack, Rejected
from kith.manifest import Manifest
from kith.networks.heads import cut_head, project
from kith.packs.conventions import Conventions
from kith.packs.from_classifier import Recipe, pack_classifier
from kith.runtimes.export import export_onnx, parity
from kith.runtimes.session import open_session
from kith.training.beginning import begin
from kith.training.config import TrainConfig
from tests.small_classifier import Small as Classifier
from tests.small_classifier import as_kind, pixels


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Small(nn.Module):
    """(n, 3, side, side) to 5 classes, with the batch size asked for on the way."""

    def __init__(self, side: int = 112) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.norm = nn.BatchNorm2d(4)
        self.prelu = nn.PReLU(4)
        self.hidden = nn.Linear(4 * (side // 8) ** 2, 6)
        self.last = nn.Linear(6, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.prelu(self.norm(self.conv(pixels)))
        return torch.softmax(self.last(self.hidden(maps.view(pixels.size(0), -1))), 1)


def test_the_file_takes_any_batch_and_says_what_torch_says(recwarn: pytest.WarningsRecorder) -> None:
    cut = project(cut_head(Small().eval()), 3)
    data = export_onnx(cut.network)
    assert parity(cut.network, data) < 1e-5
    session = open_session(data, device="cpu", threads=1, where="here")
    assert session.get_inputs()[0].name == "pixels"
    assert session.get_inputs()[0].shape == ["n", 3, 112, 112]
    assert (session.get_outputs()[0].name, session.get_outputs()[0].shape) == ("embedding", ["n", 3])
    for batch in (1, 5):
        pixels = torch.randn(batch, 3, 112, 112)
        found = session.run(None, {"pixels": pixels.numpy()})[0]
        assert found == pytest.approx(cut.network(pixels).detach().numpy(), abs=1e-5)
    assert not recwarn.list


def test_the_same_network_gives_the_same_bytes_and_they_say_nothing_of_this_machine() -> None:
    network = cut_head(Small().eval()).network
    data = export_onnx(network)
    assert data == export_onnx(network)
    assert onnx.load_from_string(data).graph.node
    assert not [word for word in (b"/tests/", b"stack_trace", b".py", b"Small") if word in data]


def test_another_input_size_is_reached_by_bilinear_resizing_inside_the_file() -> None:
    network = cut_head(Small(side=48).eval(), sample=torch.zeros(2, 3, 48, 48)).network
    data = export_onnx(network, input_size=48)
    assert parity(network, data, input_size=48) < 1e-5
    pixels = torch.randn(2, 3, 112, 112)
    resized = functional.interpolate(pixels, (48, 48), mode="bilinear", align_corners=False)
    session = open_session(data, device="cpu", threads=1, where="here")
    found = session.run(None, {"pixels": pixels.numpy()})[0]
    assert found == pytest.approx(network(resized).detach().numpy(), abs=1e-4)


def test_a_file_that_says_something_else_is_refused() -> None:
    network = cut_head(Small().eval()).network
    with torch.no_grad():
        other = cut_head(Small().eval()).network
    with pytest.raises(InvalidPack, match="differs from torch by"):
        parity(other, export_onnx(network))


def test_a_network_that_cannot_be_exported_is_refused_in_one_line() -> None:
    class Asks(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return pixels.mean((2, 3)) if float(pixels.sum()) > 0 else pixels.amax((2, 3))

    with pytest.raises(Rejected, match=r"cannot be exported to ONNX: [^\n]+$"):
        export_onnx(Asks().eval())


def test_a_program_recorded_for_one_batch_size_becomes_a_pack_that_serves_any(tmp_path: Path) -> None:
    network = Small().eval()
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 112, 112),)), file)
    said = Conventions(channels="BGR", scale=1.0, mean=(127.5, 120.0, 110.0), std=(128.0, 64.0, 32.0), licence="none")
    made = pack_classifier(str(file), None, tmp_path / "pack", Recipe(said))
    assert (made.layer, made.classes, made.batch, made.projected) == ("last", 5, 1, False)
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8))
    vectors = embed(open_embedder(made.pack, device="cpu"), crops)
    for crop, vector in zip(crops, vectors, strict=True):
        mean, std = np.array([127.5, 120.0, 110.0]), np.array([128.0, 64.0, 32.0])
        normalised = (crop[..., ::-1].astype(np.float64) - mean) / std
        with torch.no_grad():
            maps = network.prelu(
                network.norm(network.conv(torch.from_numpy(normalised).float().permute(2, 0, 1)[None]))
            )
            expected = functional.normalize(network.hidden(maps.flatten(1)))[0].numpy()
        assert vector == pytest.approx(expected, abs=1e-4)


def classifier() -> nn.Module:
    """What an import path names."""
    torch.manual_seed(3)
    return Classifier().eval()


# torch writes a farewell to TorchScript whenever it makes some.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ["module", "scripted", "traced", "exported"])
def test_a_classifier_of_any_kind_without_its_head_is_packed_as_it_is(kind: str, tmp_path: Path) -> None:
    source = "tests.integration.test_export:classifier"
    if kind != "module":
        as_kind(kind, classifier(), tmp_path)
        source = str(next(tmp_path.iterdir()))
    fed = {"channels": "BGR", "scale": 1.0, "mean": 127.5, "std": [128, 129, 130]}
    phases = [{"objective": "triplet", "epochs": 1, "learning_rate": 1e-3}]
    begun = begin(
        TrainConfig.model_validate(
            {"data": {"path": "nowhere"}, "phases": phases, "network": {"classifier": source, **fed}}
        )
    )
    files = {str(begun.spec.file): begun.file(begun.network)}
    served = open_embedder(
        write_pack(tmp_path / "pack", Manifest("x", "x", "x", begun.spec, 0.5, "x"), files), "cpu", 1
    )
    with torch.no_grad():
        expected = functional.normalize(cut_head(classifier()).network(pixels())).numpy()
    assert served.unpack(served.forward(pixels().numpy()), 3) == pytest.approx(expected, abs=1e-4)
