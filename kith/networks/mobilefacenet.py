"""MobileFaceNet: a face embedder of about 1 M parameters for phones, and for cameras by the dozen.

Module names follow the published state dicts that are meant to load, so that none needs a translation table.
"""

from torch import Tensor, nn

#: expansion, output channels, repeats, stride of the first: table 1 of MobileFaceNets.
_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class MobileFaceNet(nn.Module):
    """MobileFaceNet (Chen, Liu, Gao and Han, 2018, arXiv:1804.07573) with ReLU6 for PReLU.

    (n, 3, 112, 112) float32 to (n, dimension) float32. Its own batch norm ends it, so values are near unit variance;
    another input size raises RuntimeError in the 7×7 global depthwise convolution, which has no padding to hide it.
    """

    def __init__(self, dimension: int = 128) -> None:
        super().__init__()
        self.conv1 = _conv_bn_relu(3, 64, kernel=3, stride=2)
        self.dw_conv = _DepthwiseSeparable(64, 64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, out, repeats, stride in _BOTTLENECKS:
            for repeat in range(repeats):
                blocks.append(_Bottleneck(channels, out, expansion, stride if repeat == 0 else 1))
                channels = out
        self.features = nn.Sequential(*blocks)
        self.conv2 = _conv_bn_relu(channels, 512, kernel=1)
        self.gdconv = _GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, dimension, 1)
        self.bn = nn.BatchNorm1d(dimension)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.conv2(self.features(self.dw_conv(self.conv1(pixels))))
        flat: Tensor = self.bn(self.conv3(self.gdconv(maps)).flatten(1))
        return flat

    def stages(self) -> list[nn.Sequential]:
        """The network cut behind each of its blocks: run one after the other they are the network.

        What a student of the same shape is taught piece by piece (`kith.training.distil`).
        """
        first = [nn.Sequential(self.conv1), nn.Sequential(self.dw_conv)]
        last = [nn.Sequential(self.conv2), nn.Sequential(self.gdconv)]
        blocks = [nn.Sequential(block) for block in self.features]
        stages = [*first, *blocks, *last, nn.Sequential(self.conv3, nn.Flatten(1), self.bn)]
        # A new container is in training mode, whatever is in it.
        return [stage.train(self.training) for stage in stages]


class _Bottleneck(nn.Module):
    """Inverted residual: widen, filter per channel, narrow without an activation (Sandler et al. 2018)."""

    def __init__(self, channels: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.residual = stride == 1 and channels == out
        self.conv = nn.Sequential(
            _conv_bn_relu(channels, wide, kernel=1),
            _conv_bn_relu(wide, wide, kernel=3, stride=stride, groups=wide),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.conv(maps)
        return maps + out if self.residual else out


class _DepthwiseSeparable(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.relu(self.bn1(self.depthwise(maps)))
        out: Tensor = self.relu(self.bn2(self.pointwise(maps)))
        return out


class _GlobalDepthwise(nn.Module):
    """A learnt weighting of the 7×7 positions in place of average pooling: the corners of a face crop matter less."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.bn(self.depthwise(maps))
        return out


def _conv_bn_relu(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())
