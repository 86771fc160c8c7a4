"""A classifier of a few hundred weights, in every form a classifier comes in."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

#: Of an exported program: a batch of any size.
FREE = ({0: torch.export.Dim.DYNAMIC},)


class Small(nn.Module):
    """Convolution, hidden layer, classification layer; the batch size is asked for on the way, as much code does."""

    def __init__(self, behind: str = "nothing", classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, 4)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.hidden = nn.Linear(8, 6)
        self.last = nn.Linear(6, classes)
        self.behind = behind
        assert self.norm.running_mean is not None
        self.norm.running_mean.normal_()

    def embedding(self, pixels: Tensor) -> Tensor:
        maps = self.relu(self.norm(self.conv(pixels)))
        return torch.relu(self.hidden(maps.mean((2, 3)).view(pixels.size(0), -1)))

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.last(self.embedding(pixels))
        if self.behind == "softmax":
            logits = torch.softmax(logits, 1)
        elif self.behind == "log-softmax":
            logits = torch.log_softmax(logits, 1)
        elif self.behind == "sigmoid":
            logits = torch.sigmoid(logits)
        return logits


def pixels(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 112, 112, generator=torch.Generator().manual_seed(7))


def as_kind(kind: str, classifier: nn.Module, tmp_path: Path) -> Any:
    """The classifier as it is, or written to a file in another form and read back."""
    if kind == "module":
        return classifier
    file = str(tmp_path / "classifier")
    if kind == "exported":
        torch.export.save(torch.export.export(classifier, (pixels(2),), dynamic_shapes=FREE), f"{file}.pt2")
        return torch.export.load(f"{file}.pt2")
    made = torch.jit.script(classifier) if kind == "scripted" else torch.jit.trace(classifier, pixels(2))
    torch.jit.save(made, file)
    return torch.jit.load(file)
