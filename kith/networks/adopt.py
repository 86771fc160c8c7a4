"""Somebody's weights of one of our networks → a safetensors file that serves, and how long its vectors are."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from kith.networks import build
from kith.networks.weights import load_into, read_state, save_state


@dataclass(frozen=True, slots=True)
class Adopted:
    """weights: a safetensors file. dimension: of the network's vectors."""

    weights: bytes
    dimension: int


def adopt(data: bytes, where: str, name: str) -> Adopted:
    """`data`, a state dict saved by torch or a safetensors file, as weights of the network called `name`.

    The usual wrappings of checkpoints are taken off. Raises InvalidPack, naming `where`, for a name nobody builds,
    a file that holds anything but tensors, and tensors of another network.
    """
    state = read_state(data, where)
    dimension = dimension_of(state, name)
    network = load_into(build(name, dimension), state, where, name)
    return Adopted(save_state(network), dimension)


def dimension_of(state: Mapping[str, Tensor], name: str) -> int:
    """The dimension of `state` as weights of the network called `name`; 1 when it fits at no dimension.

    It is the first axis of the tensors whose first axis is 1 in that network with one dimension: the last layer.
    """
    lengths = set()
    for part, value in build(name, 1).state_dict().items():
        found = state.get(part, state.get(f"module.{part}"))
        if found is not None and found.dim() == value.dim() and found.shape != value.shape:
            lengths.add(found.shape[0])
    return lengths.pop() if len(lengths) == 1 else 1
