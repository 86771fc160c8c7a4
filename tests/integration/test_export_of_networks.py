"""Every network of kith.networks as an ONNX file says what torch says; too slow on one core for a unit test."""

import pytest
import torch
from torch import nn

from kith.networks import BUILDERS, build
from kith.runtimes.export import export_onnx, parity


@pytest.mark.parametrize(
    ("name", "dimension"), [("mobilefacenet", 128), ("resnet18", 256), ("resnet50", 128), ("iresnet50", 512)]
)
def test_every_network_is_exported_faithfully_and_without_a_warning(
    name: str, dimension: int, recwarn: pytest.WarningsRecorder
) -> None:
    torch.manual_seed(0)
    network = build(name, dimension)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)
            nn.init.uniform_(module.weight, 0.8, 1.2)
    assert parity(network, export_onnx(network)) < 1e-4
    assert not recwarn.list


def test_no_network_is_left_out() -> None:
    tried = test_every_network_is_exported_faithfully_and_without_a_warning.pytestmark[0].args[1]
    assert {name for name, _ in tried} == set(BUILDERS)
