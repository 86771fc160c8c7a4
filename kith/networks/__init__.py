"""Backbones: a builder name to a network that turns (n, 3, 112, 112) float32 into (n, dimension) float32.

A network's output is not normalised here: training wants the raw vector, serving normalises in one place
(`kith.embedder`).
"""

from collections.abc import Callable

from torch import nn

from kith.errors import InvalidPack
from kith.networks.iresnet import IResNet50
from kith.networks.mobilefacenet import MobileFaceNet
from kith.networks.resnet import resnet18, resnet50

#: Builder name, as it stands in a pack's manifest, to builder. Dimensions in use are 128, 256 and 512; any will do.
BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "mobilefacenet": MobileFaceNet,
    "iresnet50": IResNet50,
    "resnet18": resnet18,
    "resnet50": resnet50,
}


def build(name: str, dimension: int) -> nn.Module:
    """A network by its builder name, random weights, in eval mode: (n, 3, 112, 112) to (n, dimension).

    Raises InvalidPack for a name nobody builds or a dimension below 1.
    """
    builder = BUILDERS.get(name)
    if builder is None:
        raise InvalidPack(f"no network is called {name!r}; known: {', '.join(sorted(BUILDERS))}")
    if dimension < 1:
        raise InvalidPack(f"an embedding has at least 1 dimension, not {dimension}")
    return builder(dimension).eval()
