"""Every network of kith.networks as an ONNX file says what torch says; too slow on one core for a unit test."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kith.checkpoints import write_pack
from kith.embedder import embed, open_embedder
from kith.manifest import EmbedderSpec, Manifest
from kith.networks import BUILDERS, build
from kith.networks.weights import save_state
from kith.runtimes.export import export_onnx, parity


def seasoned(name: str, dimension: int) -> nn.Module:
    """With batch norms that are not the identity."""
    torch.manual_seed(0)
    network = build(name, dimension)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)
            nn.init.uniform_(module.weight, 0.8, 1.2)
    return network


@pytest.mark.parametrize(
    ("name", "dimension"), [("mobilefacenet", 128), ("resnet18", 256), ("resnet50", 128), ("iresnet50", 512)]
)
def test_every_network_is_exported_faithfully_and_without_a_warning(
    name: str, dimension: int, recwarn: pytest.WarningsRecorder
) -> None:
    network = seasoned(name, dimension)
    assert parity(network, export_onnx(network)) < 1e-4
    assert not recwarn.list


def test_no_network_is_left_out() -> None:
    tried = test_every_network_is_exported_faithfully_and_without_a_warning.pytestmark[0].args[1]
    assert {name for name, _ in tried} == set(BUILDERS)


def test_weights_of_torch_run_by_onnxruntime_give_the_vectors_of_float32(tmp_path: Path) -> None:
    spec = EmbedderSpec("safetensors", 8, "net", network="mobilefacenet", channels="BGR", mean=(0.4, 0.5, 0.6))
    pack = write_pack(
        tmp_path, Manifest("t", "-", "-", spec, 0.3, "-"), {"net": save_state(seasoned("mobilefacenet", 8))}
    )
    coarse = np.random.default_rng(0).integers(0, 256, (3, 14, 14, 3)).astype(np.uint8)
    crops = list(coarse.repeat(8, axis=1).repeat(8, axis=2))
    opened = open_embedder(pack, "cpu", runtime="onnxruntime")
    assert "onnxruntime" in opened.runtime
    plain = embed(open_embedder(pack, "cpu", runtime="float32"), crops)
    assert np.abs(embed(opened, crops) - plain).max() < 1e-4
