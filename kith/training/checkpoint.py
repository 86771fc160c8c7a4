"""A run's state on disk: tensors and plain values only.

It is written aside and moved into place, so that a kill at any moment leaves the last complete one.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kith.errors import InvalidPack, Misconfigured


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is: the next step to do. phase, epoch and step count from 0."""

    phase: int = 0
    epoch: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """network, average, best: state dicts (best: of the best validation so far, empty before the first). optimiser,
    head, memory: of the current phase. best_score: what `best` reached. wanted: fingerprint of the configuration."""

    position: Position
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    best_score: float
    optimiser: dict[str, Any]
    head: list[Tensor]
    wanted: str
    memory: dict[str, float] = field(default_factory=dict)


def save(file: Path, state: Checkpoint) -> None:
    """Write `state` to `file`, whole or not at all."""
    plain = {name: getattr(state, name) for name in Checkpoint.__slots__}
    plain["position"] = [state.position.phase, state.position.epoch, state.position.step]
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    torch.save(plain, aside)
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    aside.replace(file)


def load(file: Path, wanted: str) -> Checkpoint:
    """The state in `file`. Raises Misconfigured when it belongs to another configuration, InvalidPack when the file is
    damaged. Nothing in it is executed."""
    try:
        plain = torch.load(file, map_location="cpu", weights_only=True)
        state = Checkpoint(**{**plain, "position": Position(*plain["position"])})
    except Exception as broken:  # noqa: BLE001 - a damaged file raises anything
        raise InvalidPack(f"{file} is not a checkpoint of a training run ({broken}); delete it to start anew") from None
    if state.wanted != wanted:
        raise Misconfigured(
            f"{file} belongs to a run with another configuration or other pictures; name another --out, or leave out "
            "--resume to start anew"
        )
    return state
