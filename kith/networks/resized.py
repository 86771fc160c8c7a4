"""A network of another input size, fed with the aligned crops that everything else works with."""

from torch import Tensor, nn
from torch.nn import functional

#: Side of an aligned crop, pixels.
CROP_PX = 112


class Resized(nn.Module):
    """`network`, which takes (n, 3, size, size), for (n, 3, 112, 112): enlarged or reduced bilinearly."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self._size = size

    def forward(self, pixels: Tensor) -> Tensor:
        if self._size != CROP_PX:
            pixels = functional.interpolate(pixels, (self._size, self._size), mode="bilinear", align_corners=False)
        out: Tensor = self.network(pixels)
        return out
