"""Any image classifier with its head cut off: the network that is left says what a picture looks like, not who it is.

A classifier trained on a closed list of people has learned, up to its last layer, what tells people apart; only the
last layer is about the list (Taigman, Yang, Ranzato and Wolf, "DeepFace", CVPR 2014, use the layer before it).
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from kith.errors import Rejected
from kith.networks.graphs import GraphProbe, plain_graph
from kith.networks.layers import Layer, default_sample, find_head, find_named, pooled, refuse
from kith.networks.tapped import ModuleProbe
from kith.networks.torchscript import graph_of

AnyClassifier = nn.Module | ExportedProgram


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """An embedding network that was a classifier.

    network: (n, 3, height, width) float32 to (n, dimension) float32, in eval mode, with weights of its own. layer: the
    classification layer that was cut off, or the layer whose output the embedding is. classes: how many the classifier
    knew; None where its head was not found, because another layer was named. head: a copy of what was cut off, None for
    another layer.
    """

    network: nn.Module
    layer: str
    dimension: int
    classes: int | None
    head: nn.Linear | None = None


class _Probe(Protocol):
    ran: list[Layer]
    output: object

    def before(self, head: Layer) -> nn.Module: ...

    def behind(self, layer: Layer) -> nn.Module: ...

    def linear(self, head: Layer) -> nn.Linear: ...


def cut_head(classifier: AnyClassifier, layer: str | None = None, sample: Tensor | None = None) -> Cut:
    """The embedding network inside `classifier`, which is left as it was.

    classifier: a module, a TorchScript module or an ExportedProgram that takes one image batch. layer: the name of the
    layer whose output is wanted; None for the input of the classification layer: the last linear layer or 1×1
    convolution, if its output, perhaps through softmax, log-softmax or sigmoid, is what leaves the classifier. Maps
    (n, c, h, w) are averaged. sample: a batch as the classifier takes it, by which the layers are found; None for noise
    of 2×3×112×112, or an ExportedProgram's own shape. Raises Rejected, listing the layers, when head or layer is
    not found.
    """
    given = sample_for(classifier) if sample is None else sample
    probe = _probe(classifier, given)
    head = find_head(probe.ran, probe.output)
    classes = None if head is None else head.output.shape[1]
    if layer is not None:
        chosen = find_named(probe.ran, layer)
        return _checked(Cut(_Pooled.around(probe.behind(chosen)), layer, 0, classes), given)
    if head is None:
        refuse(probe.ran, "no classification layer was found: no linear layer or 1×1 convolution gives what leaves it")
    return _checked(Cut(_Pooled.around(probe.before(head)), head.name, 0, classes, probe.linear(head)), given)


def project(cut: Cut, dimension: int, random: torch.Generator | None = None) -> Cut:
    """`cut` with a fresh projection to `dimension` behind it: a linear layer without bias and a batch norm.

    The projection begins as orthogonal directions drawn by `random`, which keep angles about as they were (Johnson and
    Lindenstrauss 1984); it is worth its place when it is trained. Raises Rejected for a dimension below 1.
    """
    if dimension < 1:
        raise Rejected(f"an embedding has at least 1 dimension, not {dimension}")
    linear = nn.Linear(cut.dimension, dimension, bias=False)
    nn.init.orthogonal_(linear.weight, generator=random or torch.Generator().manual_seed(0))
    network = nn.Sequential(cut.network, linear, nn.BatchNorm1d(dimension)).eval()
    return replace(cut, network=network, dimension=dimension, head=None)


def sample_for(classifier: AnyClassifier) -> Tensor:
    """A batch of noise as `classifier` takes it: an ExportedProgram says what it was recorded for, else 2×3×112×112."""
    if isinstance(classifier, ExportedProgram) and classifier.example_inputs:
        (first, *_), _ = classifier.example_inputs
        if isinstance(first, Tensor) and first.ndim == 4:
            return default_sample(first.shape[-1], len(first))
    return default_sample()


class _Pooled(nn.Module):
    """A graph whose last output may be maps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return pooled(self.network(pixels))

    @classmethod
    def around(cls, network: nn.Module) -> nn.Module:
        return cls(network).eval() if isinstance(network, fx.GraphModule) else network


def _probe(classifier: AnyClassifier, sample: Tensor) -> _Probe:
    try:
        if isinstance(classifier, ExportedProgram):
            return GraphProbe(plain_graph(classifier), sample)
        if isinstance(classifier, torch.jit.ScriptModule):
            return GraphProbe(graph_of(classifier, sample), sample)
        return ModuleProbe(classifier, sample)
    except (RuntimeError, AssertionError, TypeError, IndexError, ValueError) as unfit:
        reason = str(unfit).strip().splitlines() or [type(unfit).__name__]
        raise Rejected(
            f"the classifier does not run on a batch of {tuple(sample.shape)}: {reason[0]}; name the side of its input "
            "in pixels with --input-size"
        ) from None


def _checked(cut: Cut, sample: Tensor) -> Cut:
    with torch.no_grad():
        out = cut.network(sample)
    if out.ndim != 2 or len(out) != len(sample):
        raise Rejected(
            f"the layer {cut.layer} gives {tuple(out.shape)} for a batch of {len(sample)}: not one vector per picture; "
            "name another with --layer"
        )
    return replace(cut, dimension=out.shape[1])
