"""A face detector of about 75 thousand parameters: boxes and five landmarks at three strides, no anchors.

The shape is that of YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 2023), and so are the twelve outputs: `kith.yunet` runs either file without knowing which it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

#: Cells of the three grids, pixels; sides of an input are multiples of the last.
STRIDES = (8, 16, 32)

#: What a cell says, and in how many values: whether a face is there (class and objectness), its box, its landmarks.
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}

#: Names of the outputs, in order.
OUTPUTS = tuple(f"{part}_{stride}" for part in PARTS for stride in STRIDES)

#: Channels in, channels out, and whether the maps are halved before: the units behind the first convolution.
_BACKBONE = (
    (16, 16, False), (16, 16, True), (16, 64, False), (64, 64, False), (64, 64, False), (64, 64, True),
    (64, 64, False), (64, 64, True), (64, 64, False), (64, 64, True), (64, 64, False),
)  # fmt: skip

#: Units of the backbone that a head looks at, for strides 8, 16 and 32.
_TAPPED = (6, 8, 10)

_WIDTH = 64

#: Few cells hold a face. Begun at this logit (1.8 %), the loss is not the sum of all the others' surprise.
_RARE = -4.0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the network makes of a batch of n images.

    maps: one (n, channels, height, width) for each unit, in the order of computation, before its ReLU. outputs: one
    (n, cells, values) for each of OUTPUTS; class and objectness as logits.
    """

    maps: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class FaceDetector(nn.Module):
    """(n, 3, height, width) float32, BGR, 0..255, sides multiples of 32, to the twelve OUTPUTS.

    Cells go line by line. With (column, line) of a cell: the face's score is √(cls · obj), its centre (column + dx,
    line + dy) · stride, its size exp(dw, dh) · stride, a landmark (column + x, line + y) · stride; bbox is dx, dy,
    dw, dh.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, _BACKBONE[0][0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(_BACKBONE[0][0])
        )
        self.backbone = nn.ModuleList(_unit(channels, out) for channels, out, _ in _BACKBONE)
        self.neck = nn.ModuleList(_unit(_WIDTH, _WIDTH) for _ in STRIDES)
        self.shared = nn.ModuleList(_unit(_WIDTH, _WIDTH) for _ in STRIDES)
        self.heads = nn.ModuleDict(
            {f"{part}_{stride}": _separable(_WIDTH, size) for part, size in PARTS.items() for stride in STRIDES}
        )
        for part in ("cls", "obj"):
            for stride in STRIDES:
                nn.init.constant_(self.heads.get_parameter(f"{part}_{stride}.1.bias"), _RARE)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The OUTPUTS as they are served: class and objectness as probabilities."""
        seen = self.look(pixels)
        return tuple(
            value.sigmoid() if name.startswith(("cls", "obj")) else value
            for name, value in zip(OUTPUTS, seen.outputs, strict=True)
        )

    @staticmethod
    def plan() -> list[tuple[bool, bool]]:
        """For each unit of the backbone: whether maps are halved before it, and whether a head looks at what it
        makes."""
        return [(halved, number in _TAPPED) for number, (_, _, halved) in enumerate(_BACKBONE)]

    def look(self, pixels: Tensor, taught: Sequence[Tensor] | None = None) -> Seen:
        """Everything seen on the way.

        taught: the maps of a teacher of the same shape, after their ReLU. Each unit then works on what the teacher
        made of the image up to there, not on what the units before it made: all can be taught at once, none waits for
        another to be right.
        """
        maps: list[Tensor] = []

        def after(unit: nn.Module, before: Tensor) -> Tensor:
            maps.append(unit(before))
            return functional.relu(maps[-1]) if taught is None else taught[len(maps) - 1]

        now = after(self.stem, pixels)
        levels = []
        for unit, (halved, tapped) in zip(self.backbone, self.plan(), strict=True):
            now = after(unit, functional.max_pool2d(now, 2) if halved else now)
            if tapped:
                levels.append(now)
        # From coarse to fine: what a face is, told to those who see where exactly.
        fused = [after(self.neck[2], levels[2])]
        for level in (1, 0):
            wider = functional.interpolate(fused[0], scale_factor=2.0, mode="nearest")
            fused.insert(0, after(self.neck[level], levels[level] + wider))
        ready = [after(unit, level) for unit, level in zip(self.shared, fused, strict=True)]
        outputs = [
            self.heads[f"{part}_{stride}"](ready[level]).permute(0, 2, 3, 1).flatten(1, 2)
            for part in PARTS
            for level, stride in enumerate(STRIDES)
        ]
        return Seen(tuple(maps), tuple(outputs))


def _separable(channels: int, out: int) -> nn.Sequential:
    """Mix the channels of each pixel, then look at the neighbours within each channel (depthwise)."""
    return nn.Sequential(nn.Conv2d(channels, out, 1), nn.Conv2d(out, out, 3, padding=1, groups=out))


def _unit(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(*_separable(channels, out), nn.BatchNorm2d(out))
