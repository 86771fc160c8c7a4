"""What a run says while it works; the command line draws it, tests collect it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch that is over. facts: means over its steps; validation: figures on people held out, None where there are
    none; rate: images per second, validation left out."""

    phase: int
    objective: str
    epoch: int
    facts: Mapping[str, float]
    validation: Mapping[str, float] | None
    rate: float
    seconds: float
    best: bool = field(default=False)


class Progress(Protocol):
    """Told of everything, in order."""

    def note(self, text: str) -> None:
        """Something worth knowing, in a sentence."""
        ...

    def reading(self, done: int, of: int) -> None:
        """Pictures read so far."""
        ...

    def step(self, name: str, step: int, of: int, facts: Mapping[str, float], rate: float) -> None:
        """A step of the epoch called `name` is done."""
        ...

    def epoch(self, record: Epoch) -> None:
        """An epoch is over."""
        ...


class Silent:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def reading(self, done: int, of: int) -> None: ...

    def step(self, name: str, step: int, of: int, facts: Mapping[str, float], rate: float) -> None: ...

    def epoch(self, record: Epoch) -> None: ...
