"""What ran inside a classifier for one batch, and which of it was the classification layer.

The layer is recognised by its values, not by its place in the code: the last linear layer or 1×1 convolution that ran,
whose output is what leaves the classifier, softmax behind it or not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from kith.errors import Rejected

#: Layers named in an error; a large network has hundreds, and those near its end are the ones to choose from.
_MOST_NAMED = 40

#: A float32 network run twice on one machine gives the same numbers; a softmax recomputed here rounds differently.
_CLOSE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer that ran. name: where it stands, with dots. kind: its type, for people. call: 0 for its first run.
    output: what came out. final: whether it is of a kind that can be a classification layer."""

    name: str
    kind: str
    call: int
    output: Tensor
    final: bool


def default_sample(size: int = 112, batch: int = 2) -> Tensor:
    """(batch, 3, size, size) noise, always the same: what layers are found by when nobody gives pictures."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def find_head(ran: Sequence[Layer], output: Any) -> Layer | None:
    """The classification layer among the layers that `ran`, in order, when the classifier returned `output`."""
    left = [value for value in pytree.tree_leaves(output) if isinstance(value, Tensor)]
    for layer in reversed(ran):
        if layer.final and any(leaves_as(layer.output, value) for value in left):
            return layer
    return None


def find_named(ran: Sequence[Layer], name: str) -> Layer:
    """The layer called `name`, the last time it ran. Raises Rejected with the names there are."""
    found = next((layer for layer in reversed(ran) if layer.name == name), None)
    if found is None:
        refuse(ran, f"no layer called {name!r} ran")
    return found


def refuse(ran: Sequence[Layer], why: str) -> NoReturn:
    """Raise Rejected: `why`, the layers there are, and the flag that names one."""
    shown = [layer for layer in ran if layer.name][-_MOST_NAMED:]
    lines = [f"  {layer.name}  {layer.kind}  {tuple(layer.output.shape)}" for layer in shown]
    more = f", the last {len(shown)} of {len(ran)} layers" if len(shown) < len(ran) else ", the layers"
    listed = "\n".join(lines) or "  none ran"
    raise Rejected(
        f"{why}; name the layer whose output is to be the embedding with --layer NAME. In order{more} "
        f"(name, type, shape of the output):\n{listed}"
    )


def leaves_as(logits: Tensor, left: Tensor) -> bool:
    """Whether `left` is `logits`, as they are or as probabilities; the positions of a 1×1 map may be flattened away."""
    if logits.ndim < 2 or left.ndim < 2 or logits.numel() != left.numel() or len(logits) != len(left):
        return False
    flat, other = logits.flatten(1).float(), left.flatten(1).float()
    return any(torch.allclose(form, other, rtol=_CLOSE, atol=_CLOSE) for form in _forms(flat))


def pooled(output: Tensor) -> Tensor:
    """Any layer's output as (n, dimension): maps (n, c, h, w) and tokens (n, t, d) are averaged over their places."""
    if output.ndim == 4:
        return output.mean((2, 3))
    if output.ndim == 3:
        return output.mean(1)
    return output.flatten(1)


def _forms(logits: Tensor) -> Iterator[Tensor]:
    yield logits
    yield logits.softmax(1)
    yield logits.log_softmax(1)
    yield logits.sigmoid()
