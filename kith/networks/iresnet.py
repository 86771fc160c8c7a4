"""IResNet-50: the network behind most published ArcFace weights, about 44 M parameters at dimension 512.

Module names are those of InsightFace's `arcface_torch`, so that its state dicts load as they are.
"""

from torch import Tensor, nn

#: Side of the last maps of a 112×112 input.
_LAST_PX = 7


class IResNet50(nn.Module):
    """IResNet-50 as trained in ArcFace (Deng, Guo, Xue and Zafeiriou 2019, arXiv:1801.07698, section 3.1).

    (n, 3, 112, 112) float32 to (n, dimension) float32. A stride of 1 at the front keeps the small input large, and a
    batch norm without a scale of its own ends it. Another input size raises RuntimeError in the last linear layer.
    """

    def __init__(self, dimension: int = 512) -> None:
        super().__init__()
        self.conv1 = _conv3(3, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        self.layer1 = _stage(3, 64, 64)
        self.layer2 = _stage(4, 64, 128)
        self.layer3 = _stage(14, 128, 256)
        self.layer4 = _stage(3, 256, 512)
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * _LAST_PX * _LAST_PX, dimension)
        self.features = nn.BatchNorm1d(dimension)
        # The length of a vector is thrown away, so a scale per dimension would only be one more way to overfit.
        self.features.weight.requires_grad = False

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.prelu(self.bn1(self.conv1(pixels)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        flat: Tensor = self.features(self.fc(self.bn2(maps).flatten(1)))
        return flat


def _stage(blocks: int, channels: int, out: int) -> nn.Sequential:
    """Blocks of which the first halves the maps."""
    return nn.Sequential(_Block(channels, out, 2), *(_Block(out, out, 1) for _ in range(blocks - 1)))


class _Block(nn.Module):
    """BN, convolution, BN, PReLU, convolution, BN: "improved" is the batch norm in front and the PReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = _conv3(channels, out)
        self.bn2 = nn.BatchNorm2d(out)
        self.prelu = nn.PReLU(out)
        self.conv2 = _conv3(out, out, stride)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(maps))))))
        return out + (maps if self.downsample is None else self.downsample(maps))


def _conv3(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
