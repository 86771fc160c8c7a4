"""IResNet and ResNet: blocks recomputed in numpy, names of the published weights, and the forms that serve them."""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from kith.networks import build
from kith.runtimes.fusion import fold_batch_norms, fuse_activations

Floats = NDArray[np.float64]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def seasoned(name: str, dimension: int) -> nn.Module:
    """With batch norms that are not the identity, and PReLU slopes that differ; for all tests the same, none may
    change it."""
    torch.manual_seed(0)
    network = build(name, dimension)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return network.eval()


def conv(maps: Floats, module: nn.Conv2d) -> Floats:
    """(c, h, w) by (o, c, k, k), one output position at a time."""
    weight, stride, padding = module.weight.detach().double().numpy(), module.stride[0], int(module.padding[0])
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    kernel = weight.shape[2]
    side = (padded.shape[1] - kernel) // stride + 1
    out = np.zeros((len(weight), side, side))
    for y in range(side):
        for x in range(side):
            window = padded[:, y * stride : y * stride + kernel, x * stride : x * stride + kernel]
            out[:, y, x] = (weight * window).sum(axis=(1, 2, 3))
    return out


def norm(maps: Floats, module: nn.BatchNorm2d) -> Floats:
    assert module.running_mean is not None
    assert module.running_var is not None
    mean, var = module.running_mean.double().numpy(), module.running_var.double().numpy()
    scale = module.weight.detach().double().numpy() / np.sqrt(var + module.eps)
    return (maps - mean[:, None, None]) * scale[:, None, None] + module.bias.detach().double().numpy()[:, None, None]


def prelu(maps: Floats, module: nn.PReLU) -> Floats:
    return np.where(maps > 0, maps, maps * module.weight.detach().double().numpy()[:, None, None])


@pytest.mark.parametrize("place", [0, 1], ids=["halving", "keeping"])
def test_a_block_of_iresnet_is_norm_conv_norm_prelu_conv_norm_and_its_shortcut(place: int) -> None:
    block = seasoned("iresnet50", 32).layer1[place]
    maps = np.random.default_rng(0).standard_normal((64, 6, 6))
    inner = prelu(norm(conv(norm(maps, block.bn1), block.conv1), block.bn2), block.prelu)
    shortcut = maps if place else norm(conv(maps, block.downsample[0]), block.downsample[1])
    expected = norm(conv(inner, block.conv2), block.bn3) + shortcut
    with torch.inference_mode():
        out = block(torch.from_numpy(maps).float()[None])[0].numpy()
    assert out.shape == (64, 6, 6) if place else (64, 3, 3)
    assert out == pytest.approx(expected, abs=1e-3)


def test_a_basic_block_of_resnet_adds_its_shortcut_before_the_last_relu() -> None:
    block = seasoned("resnet18", 128).layer2[0]
    maps = np.random.default_rng(0).standard_normal((64, 6, 6))
    inner = norm(conv(np.maximum(norm(conv(maps, block.conv1), block.bn1), 0), block.conv2), block.bn2)
    expected = np.maximum(inner + norm(conv(maps, block.downsample[0]), block.downsample[1]), 0)
    with torch.inference_mode():
        assert block(torch.from_numpy(maps).float()[None])[0].numpy() == pytest.approx(expected, abs=1e-3)


def test_a_bottleneck_strides_in_its_middle_convolution() -> None:
    block = seasoned("resnet50", 256).layer2[0]
    maps = np.random.default_rng(0).standard_normal((256, 4, 4))
    inner = np.maximum(norm(conv(maps, block.conv1), block.bn1), 0)
    assert block.conv2.stride == (2, 2)
    inner = norm(conv(np.maximum(norm(conv(inner, block.conv2), block.bn2), 0), block.conv3), block.bn3)
    expected = np.maximum(inner + norm(conv(maps, block.downsample[0]), block.downsample[1]), 0)
    with torch.inference_mode():
        assert block(torch.from_numpy(maps).float()[None])[0].numpy() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "entries", "parameters", "shapes"),
    [
        (
            "iresnet50",
            # As counted in InsightFace's own state dict of r50.
            {
                "conv1.weight",
                "prelu.weight",
                "layer3.13.bn3.running_var",
                "layer4.0.downsample.1.bias",
                "features.weight",
            },
            43_590_848,
            {"fc.weight": (512, 25088), "layer2.0.prelu.weight": (128,), "layer1.0.bn1.weight": (64,)},
        ),
        (
            "resnet18",
            {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias", "fc.bias"},
            11_176_512 + 512 * 512 + 512 + 1024,
            {"conv1.weight": (64, 3, 7, 7), "fc.weight": (512, 512)},
        ),
        (
            "resnet50",
            {"layer1.0.downsample.1.running_var", "layer3.5.conv3.weight", "layer4.2.bn3.weight"},
            23_508_032 + 2048 * 512 + 512 + 1024,
            {"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 1, 1), "fc.weight": (512, 2048)},
        ),
    ],
)
def test_names_and_sizes_are_those_of_the_published_weights(
    name: str, entries: set[str], parameters: int, shapes: dict[str, tuple[int, ...]]
) -> None:
    network = build(name, 512)
    state = network.state_dict()
    assert entries <= set(state)
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert sum(weight.numel() for weight in network.parameters()) == parameters


@pytest.mark.parametrize(("name", "dimension"), [("resnet18", 128), ("resnet50", 256)])
@torch.inference_mode()
def test_the_dimension_is_free_and_the_fused_form_says_the_same(name: str, dimension: int) -> None:
    network = seasoned(name, dimension)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = network(pixels)
    assert expected.shape == (2, dimension)
    fused = fuse_activations(fold_batch_norms(network), pixels)
    assert not [module for module in fused.modules() if isinstance(module, nn.BatchNorm2d)]
    assert torch.nn.functional.cosine_similarity(fused(pixels), expected).min() > 0.99999


@torch.inference_mode()
def test_norms_in_front_of_a_convolution_and_prelu_stay_as_they_are_when_iresnet_is_fused() -> None:
    network = seasoned("iresnet50", 32)
    pixels = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    fused = fuse_activations(fold_batch_norms(network), pixels)
    left = [type(module) for module in fused.modules()]
    # 24 in front of the blocks and one behind the last: padding with zeros comes between them and a convolution.
    assert (left.count(nn.BatchNorm2d), left.count(nn.PReLU)) == (25, 25)
    assert torch.nn.functional.cosine_similarity(fused(pixels), network(pixels)).min() > 0.99999
