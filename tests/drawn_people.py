"""People drawn as grey blocks, a network that sees blocks, and an evaluation of the one on the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kith.checkpoints import simulated_pack
from kith.crops import CropReader
from kith.evaluation.plan import Given, plan
from kith.evaluation.run import Evaluation, run

#: A name that is none of a person: what a page does with it decides whether it may be shown to anybody.
NASTY = "<img src=x onerror=alert(1)> & $x^2$ \u4e2d"


class Blocks:
    """An embedder that sees 7×7 blocks of grey, the mean taken away."""

    dimension, model_id, runtime = 49, "blocks", "numpy"

    def pack(self, crops: Sequence[NDArray[np.uint8]]) -> Any:
        return np.stack(crops)

    def forward(self, batch: Any) -> Any:
        return batch.reshape(len(batch), 7, 16, 7, 16, 3).mean(axis=(2, 4, 5)).reshape(len(batch), 49)

    def unpack(self, out: Any, n: int) -> NDArray[np.float32]:
        out = out[:n] - out[:n].mean(axis=1, keepdims=True)
        unit: NDArray[np.float32] = (out / np.linalg.norm(out, axis=1, keepdims=True)).astype(np.float32)
        return unit


def draw_people(root: Path, people: int, pictures: int, noise: float = 60.0) -> None:
    random = np.random.default_rng(0)
    for person in range(people):
        folder = root / (NASTY if person == 0 else f"person{person:03}")
        folder.mkdir(parents=True)
        face = random.uniform(60, 200, (7, 7, 1))
        for picture in range(pictures):
            seen = np.clip(face + noise * random.standard_normal((7, 7, 1)), 0, 255).astype(np.uint8)
            pixels = seen.repeat(16, axis=0).repeat(16, axis=1).repeat(3, axis=2)
            Image.fromarray(pixels).save(folder / f"{picture}.png")


def evaluated(root: Path, given: Given | None = None, **more: Any) -> Evaluation:
    pack = simulated_pack(root / "pack")
    return run(pack, Blocks(), CropReader(None), plan(given or Given(root / "faces")), comparisons=10_000, **more)
