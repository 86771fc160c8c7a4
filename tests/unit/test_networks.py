"""The layers of MobileFaceNet against convolutions written as loops, and what a builder refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from kith.errors import InvalidPack
from kith.networks import MobileFaceNet, build


def naive_conv(pixels: np.ndarray, weight: np.ndarray, stride: int, padding: int, groups: int) -> np.ndarray:
    """(c, h, w) by (o, c / groups, k, k) to (o, h', w'), one multiplication at a time."""
    padded = np.pad(pixels, ((0, 0), (padding, padding), (padding, padding)))
    out_channels, in_channels, kernel, _ = weight.shape
    side = (padded.shape[1] - kernel) // stride + 1
    out = np.zeros((out_channels, side, side))
    for o in range(out_channels):
        group = o // (out_channels // groups)
        for y in range(side):
            for x in range(side):
                for c in range(in_channels):
                    for dy in range(kernel):
                        for dx in range(kernel):
                            value = padded[group * in_channels + c, y * stride + dy, x * stride + dx]
                            out[o, y, x] += value * weight[o, c, dy, dx]
    return out


def naive_norm(maps: np.ndarray, norm: nn.BatchNorm2d) -> np.ndarray:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    out = np.empty_like(maps)
    for c in range(len(maps)):
        deviation = (float(norm.running_var[c]) + norm.eps) ** 0.5
        out[c] = (maps[c] - float(norm.running_mean[c])) / deviation * norm.weight[c].item() + norm.bias[c].item()
    return out


def trained(seed: int = 0, dimension: int = 8) -> MobileFaceNet:
    """A network whose batch norms are not the identity."""
    torch.manual_seed(seed)
    network = build("mobilefacenet", dimension)
    assert isinstance(network, MobileFaceNet)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize(("block", "stride"), [(0, 2), (1, 1)])
def test_a_bottleneck_adds_its_input_where_the_shape_stays(block: int, stride: int) -> None:
    bottleneck = trained().features[block]
    pixels = np.random.default_rng(0).standard_normal((64, 4, 4))
    convolutions = [module for module in bottleneck.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in bottleneck.modules() if isinstance(module, nn.BatchNorm2d)]
    widen, filter_, project = (conv.weight.detach().numpy() for conv in convolutions)
    maps = np.clip(naive_norm(naive_conv(pixels, widen, 1, 0, 1), norms[0]), 0, 6)
    maps = np.clip(naive_norm(naive_conv(maps, filter_, stride, 1, len(filter_)), norms[1]), 0, 6)
    maps = naive_norm(naive_conv(maps, project, 1, 0, 1), norms[2])
    with torch.inference_mode():
        out = bottleneck(torch.from_numpy(pixels).float()[None])[0].numpy()
    assert out == pytest.approx(maps + pixels if stride == 1 else maps, abs=1e-4)


def test_the_separable_convolution_at_the_front_does_not_clip_at_six() -> None:
    front = trained().dw_conv
    with torch.inference_mode():
        assert front(torch.full((1, 64, 4, 4), 500.0)).max() > 6


def test_the_state_dict_has_the_names_of_the_published_weights() -> None:
    names = build("mobilefacenet", 128).state_dict()
    assert len(names) == 307
    shapes = {
        "conv1.0.weight": (64, 3, 3, 3),
        "dw_conv.depthwise.weight": (64, 1, 3, 3),
        "features.12.conv.1.0.weight": (512, 1, 3, 3),
        "features.14.conv.3.running_var": (128,),
        "conv2.0.weight": (512, 128, 1, 1),
        "gdconv.depthwise.weight": (512, 1, 7, 7),
        "conv3.bias": (128,),
        "bn.running_mean": (128,),
    }
    assert {name: tuple(names[name].shape) for name in shapes} == shapes


def test_an_embedding_does_not_depend_on_its_batch() -> None:
    network = trained()
    pixels = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(network(pixels)[1:2], network(pixels[1:2]), atol=1e-4)


def test_another_input_size_is_refused() -> None:
    with pytest.raises(RuntimeError), torch.inference_mode():
        build("mobilefacenet", 8)(torch.zeros(1, 3, 96, 96))


def test_an_unknown_network_is_refused_with_the_known_names() -> None:
    with pytest.raises(InvalidPack, match=r"'iresnet9000'; known: .*mobilefacenet"):
        build("iresnet9000", 128)
    with pytest.raises(InvalidPack, match="at least 1 dimension"):
        build("mobilefacenet", 0)
