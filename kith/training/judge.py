"""How good a network is so far: open-set identification of the people held out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kith.evaluation.identification import quick_open_set
from kith.training.faces import Faces


@dataclass(frozen=True, slots=True)
class Judge:
    """held_out: enough people to measure DIR at `fpir` on. seed: of who is enrolled."""

    held_out: Faces
    fpir: float
    seed: int

    def figures(self, embed: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> dict[str, float]:
        """DIR at the rate, rank-1, and the cutoff that gave them. embed: pictures to unit rows."""
        found = quick_open_set(embed(self.held_out.pixels), self.held_out.labels, self.fpir, self.seed)
        return {"dir": found.dir, "rank_1": found.rank_1, "cutoff": found.cutoff}


def judge_by(held_out: Faces | None, fpir: float, seed: int, note: Callable[[str], None]) -> Judge | None:
    """A judge, or None where nobody is held out, or too few to measure anything at that rate; `note` then says so,
    once and not after every epoch."""
    if held_out is None:
        return None
    try:
        quick_open_set(np.eye(len(held_out.labels), 2, dtype=np.float32), held_out.labels, fpir)
    except ValueError as few:
        note(
            f"the {len(held_out.names)} people held out judge nothing ({few}): hold out more, or raise validation.fpir"
        )
        return None
    return Judge(held_out, fpir, seed)
