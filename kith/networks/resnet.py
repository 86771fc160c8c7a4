"""Plain ResNet-18 and ResNet-50, for aligned crops of 112×112.

Module names and shapes are those of torchvision, so that its state dicts fit but for the last layer, `fc`.
"""

from torch import Tensor, nn


class ResNet(nn.Module):
    """ResNet (He, Zhang, Ren and Sun 2016, arXiv:1512.03385; the stride of a bottleneck in its 3×3 convolution).

    (n, 3, 112, 112) float32 to (n, dimension) float32. The max pool behind the first convolution is left out: it was
    made for 224 pixels, without it the last maps of half of that are 7×7 again. A batch norm ends it, which brings the
    values near unit variance. Other input sizes work too, the maps are averaged.
    """

    def __init__(self, block: type["_Basic | _Bottleneck"], blocks: tuple[int, ...], dimension: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        wider = block.expansion
        self.layer1 = _stage(block, blocks[0], 64, 64, stride=1)
        self.layer2 = _stage(block, blocks[1], 64 * wider, 128, stride=2)
        self.layer3 = _stage(block, blocks[2], 128 * wider, 256, stride=2)
        self.layer4 = _stage(block, blocks[3], 256 * wider, 512, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * wider, dimension)
        self.bn = nn.BatchNorm1d(dimension)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.relu(self.bn1(self.conv1(pixels)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        flat: Tensor = self.bn(self.fc(self.avgpool(maps).flatten(1)))
        return flat


def resnet18(dimension: int = 512) -> ResNet:
    """ResNet-18, about 11 M parameters."""
    return ResNet(_Basic, (2, 2, 2, 2), dimension)


def resnet50(dimension: int = 512) -> ResNet:
    """ResNet-50, about 25 M parameters."""
    return ResNet(_Bottleneck, (3, 4, 6, 3), dimension)


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width * self.expansion, stride)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        sum_: Tensor = self.relu(out + (maps if self.downsample is None else self.downsample(maps)))
        return sum_


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(channels, width * self.expansion, stride)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps))))))
        out = self.bn3(self.conv3(out))
        sum_: Tensor = self.relu(out + (maps if self.downsample is None else self.downsample(maps)))
        return sum_


def _stage(block: type[_Basic | _Bottleneck], blocks: int, channels: int, width: int, stride: int) -> nn.Sequential:
    """Blocks of which the first has the stride."""
    wide = width * block.expansion
    return nn.Sequential(block(channels, width, stride), *(block(wide, width, 1) for _ in range(blocks - 1)))


def _shortcut(channels: int, out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
