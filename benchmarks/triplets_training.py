"""The same training for every method of the study: so many images seen, then the embedding is taken as it is."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kith.training.collapse import CollapseGuard
from kith.training.margin_losses import margin_loss
from kith.training.miners import miner
from kith.training.sampler import NeighbourhoodSampler, PkSampler
from kith.training.schedule import Curriculum
from kith.training.triplet_loss import triplet_loss

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

#: Images in a batch: 16 subjects with 4 images each, or as many drawn at random.
SUBJECTS, IMAGES = 16, 4
BATCH = SUBJECTS * IMAGES

#: A head's rate over the network's: its columns begin √d long, and Adam's steps do not know that only their direction
#: counts.
_HEAD_RATE = 10

#: Epochs between two looks of the neighbourhoods sampler at all images: a look costs a third of an epoch's training.
_LEARN_EVERY = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """Part of a training. objective: `triplet`, or a margin loss by name. miner: see kith.training.miners, or
    `curriculum`. part: of all steps. rate: Adam's, falling to zero by half a cosine. options: of the margin loss."""

    objective: str
    miner: str = "semi-hard"
    neighbourhoods: bool = False
    part: float = 1.0
    rate: float = 1e-3
    options: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn from. pixels: (n, h, w, c) uint8, `rim` pixels larger than the network takes, for shifts at random;
    labels: (n,) 0, 1, …; subjects: P of a batch; mirror: flip at random."""

    pixels: Pixels
    labels: Labels
    build: Callable[[], nn.Module]
    steps: int
    subjects: int = SUBJECTS
    images: int = IMAGES
    rim: int = 0
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """network: in eval mode, (n, c, h, w) to (n, d). diagnosis: of the collapse guard at the end. active: share of
    active triplets over the last steps, NaN without triplets. seconds: of one core."""

    network: nn.Module
    diagnosis: str | None
    collapsed: bool
    active: float
    seconds: float


def train(task: Task, stages: tuple[Stage, ...], seed: int) -> Trained:
    """Train a new network on `task`, stage by stage."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        # Convolutions like it best; torch's stubs do not know it.
        network = task.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    began_s = time.process_time()
    run = _Run(task, network, seed)
    for number, stage in enumerate(stages):
        run.stage(stage, round(stage.part * task.steps), seed + 1000 * number)
    return Trained(
        network.eval(),
        run.guard.diagnosis(),
        run.guard.collapsed,
        float(np.mean(run.active[-50:])) if run.active else float("nan"),
        time.process_time() - began_s,
    )


class _Run:
    def __init__(self, task: Task, network: nn.Module, seed: int) -> None:
        self._task, self._network = task, network
        self._random = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self.guard = CollapseGuard()
        self.active: list[float] = []

    def stage(self, stage: Stage, steps: int, seed: int) -> None:
        self.guard = CollapseGuard()
        self.active = []
        self._network.train()
        weights = [{"params": list(self._network.parameters()), "lr": stage.rate}]
        plan: Iterator[Labels]
        loss: Callable[[Tensor, Tensor], Tensor]
        if stage.objective != "triplet":
            dimension = self._network(self._batch(np.arange(2))).shape[1]
            classes = int(self._task.labels.max()) + 1
            head = margin_loss(stage.objective, classes, dimension, seed, **dict(stage.options))
            plan, loss = self._shuffled(), head
            weights.append({"params": list(head.parameters()), "lr": stage.rate * _HEAD_RATE})
        else:
            plan, loss = self._mined(stage, seed)
        optimiser = torch.optim.Adam(weights)
        fade = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _, rows in zip(range(steps), plan, strict=False):
            self._network.train()
            found = self._network(self._batch(rows))
            value = loss(found, torch.from_numpy(self._task.labels[rows]))
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            fade.step()
            active = self.active[-1] if self.active else None
            self.guard.feed(functional.normalize(found.detach()), active)

    def _mined(self, stage: Stage, seed: int) -> tuple[Iterator[Labels], Callable[[Tensor, Tensor], Tensor]]:
        now = Curriculum()
        mining = miner(now.difficulty.miner if stage.miner == "curriculum" else stage.miner)
        given = (self._task.labels.tolist(), self._task.subjects, self._task.images, seed)
        near = NeighbourhoodSampler(*given)
        sampler = near if stage.neighbourhoods or stage.miner == "curriculum" else PkSampler(*given)

        def plan() -> Iterator[Labels]:
            nonlocal now, mining
            epoch = 0
            while True:
                if stage.miner == "curriculum" and epoch:
                    now = now.after(float(np.mean(self.active[-50:])), self.guard.collapsed)
                    mining = miner(now.difficulty.miner)
                    near.share = 1 - now.difficulty.neighbourhoods
                if epoch and epoch % _LEARN_EVERY == 0 and sampler is near and near.share < 1:
                    near.learn(embed(self._network, self._task.pixels, self._task.rim))
                yield from sampler.batches(epoch)
                epoch += 1

        def loss(found: Tensor, labels: Tensor) -> Tensor:
            unit = functional.normalize(found)
            made = triplet_loss(unit, mining(unit.detach(), labels, self._generator))
            self.active.append(made.active)
            return made.value

        return plan(), loss

    def _shuffled(self) -> Iterator[Labels]:
        while True:
            order = self._random.permutation(len(self._task.labels))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                yield order[start : start + BATCH]

    def _batch(self, rows: NDArray[np.int64]) -> Tensor:
        task = self._task
        height, width = (side - 2 * task.rim for side in task.pixels.shape[1:3])
        made = np.empty((len(rows), height, width, task.pixels.shape[3]), np.uint8)
        shifts = self._random.integers(0, 2 * task.rim + 1, (len(rows), 2))
        mirrored = self._random.random(len(rows)) < (0.5 if task.mirror else 0.0)
        for place, (row, (down, right), flip) in enumerate(zip(rows, shifts, mirrored, strict=True)):
            crop = task.pixels[row, down : down + height, right : right + width]
            made[place] = crop[:, ::-1] if flip else crop
        return to_input(made)


def to_input(pixels: Pixels) -> Tensor:
    """(n, h, w, c) uint8 to (n, c, h, w) float32 in −1..1."""
    return (torch.from_numpy(pixels).float() / 127.5 - 1).permute(0, 3, 1, 2)


@torch.no_grad()
def embed(network: nn.Module, pixels: Pixels, rim: int = 0) -> NDArray[np.float32]:
    """(n, d) unit rows of (n, h, w, c) uint8, whose rim is cut off; the network is put in eval mode."""
    network.eval()
    height, width = (side - 2 * rim for side in pixels.shape[1:3])
    inner = np.ascontiguousarray(pixels[:, rim : rim + height, rim : rim + width])
    parts = [
        functional.normalize(network(to_input(inner[start : start + 256])).flatten(1)).numpy()
        for start in range(0, len(inner), 256)
    ]
    return np.concatenate(parts)
