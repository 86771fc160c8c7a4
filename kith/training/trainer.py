"""The loop: phases of epochs of steps, resumable at any step, watched for what goes wrong.

All randomness comes from (seed, phase, epoch, step), never from a generator that runs along: a run that was killed and
resumed makes the very steps an undisturbed one makes.
"""

import copy
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kith.training.checkpoint import Checkpoint, Position, load, save
from kith.training.config import Phase, TrainConfig
from kith.training.errors import Diverged
from kith.training.faces import Faces
from kith.training.judge import judge_by
from kith.training.loader import Batch, Loader
from kith.training.optimiser import learning_rate, optimiser_of
from kith.training.phases import Lesson, Tools, lesson_of
from kith.training.progress import Epoch, Progress
from kith.training.vectors import embed_all

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.jsonl"
FAILED_BATCH = "failed-batch.npz"


@dataclass(frozen=True, slots=True)
class Trained:
    """network: the weights to keep, in eval mode: the best on validation, else the average at the end. history: every
    epoch. score: DIR of the best epoch, None without validation."""

    network: nn.Module
    history: tuple[Epoch, ...]
    score: float | None


class Trainer:
    """One run in the folder `out`. tools.network is trained in place."""

    def __init__(
        self, config: TrainConfig, tools: Tools, faces: Faces, held_out: Faces | None, out: Path, progress: Progress
    ) -> None:
        self._config, self._tools, self._faces = config, tools, faces
        self._out, self._progress = out, progress
        self._judge = judge_by(held_out, config.validation.fpir, config.seed, progress.note)
        self._network = tools.network
        self._average = copy.deepcopy(tools.network).eval()
        self._best: dict[str, Tensor] = {}
        self._best_score = -1.0
        self._history: list[Epoch] = []
        self._saved_s = time.monotonic()
        # A GPU asks for pictures faster than two threads make them; a CPU is better left to the network.
        threads = {"threads": config.threads or len(os.sched_getaffinity(0))} if tools.device.type == "cuda" else {}
        self._loader = Loader(faces.pixels, faces.labels, config.augment, config.seed, **threads)
        # More than one GPU: the forward pass is spread over them, mining sees the whole batch. One process, so that a
        # triplet may join faces from all of them.
        many = tools.device.type == "cuda" and torch.cuda.device_count() > 1
        self._forward: nn.Module = nn.DataParallel(self._network) if many else self._network

    def run(self, resume: bool = False) -> Trained:
        """All phases. Raises Diverged when the loss is no number any more (the batch is kept in `failed-batch.npz`)."""
        start, state = Position(), None
        if not resume:
            (self._out / HISTORY).unlink(missing_ok=True)
        if resume and (self._out / CHECKPOINT).is_file():
            state = load(self._out / CHECKPOINT, self._wanted())
            start = state.position
            self._restore(state)
            self._progress.note(f"going on at phase {start.phase + 1}, epoch {start.epoch + 1}, step {start.step + 1}")
        for number, phase in enumerate(self._config.phases):
            if number >= start.phase:
                self._phase(number, phase, start if number == start.phase else Position(number), state)
                state = None
        network = copy.deepcopy(self._average)
        if self._best:
            network.load_state_dict(self._best)
        return Trained(network.eval(), tuple(self._history), self._best_score if self._best else None)

    def _phase(self, number: int, phase: Phase, start: Position, state: Checkpoint | None) -> None:
        lesson = lesson_of(phase, self._tools, self._faces, self._config.seed + number)
        head = list(lesson.objective.parameters())
        learning = self._network if lesson.front is None else lesson.front
        weights = [*learning.parameters(), *head]
        optimiser = optimiser_of(phase, weights)
        if state is not None and state.optimiser:
            optimiser.load_state_dict(state.optimiser)
            for parameter, saved in zip(head, state.head, strict=True):
                parameter.data.copy_(saved)
            if lesson.triplet is not None:
                lesson.triplet.recall(state.memory, lesson.sampler)
        for epoch in range(start.epoch, phase.epochs):
            first = start.step if epoch == start.epoch else 0
            if lesson.wants_vectors:
                lesson.sampler.learn(self._vectors(self._faces.pixels))
            self._epoch(Position(number, epoch, first), phase, lesson, optimiser, head)
            self._save(Position(number, epoch + 1), lesson, optimiser, head)
        # The next phase begins with an optimiser and a head of its own.
        self._save(Position(number + 1))

    def _epoch(
        self, at: Position, phase: Phase, lesson: Lesson, optimiser: torch.optim.Optimizer, head: list[nn.Parameter]
    ) -> None:
        plan = list(lesson.sampler.batches(at.epoch))[: phase.steps_per_epoch]
        whole = phase.epochs * len(plan)
        name = f"{lesson.name} {at.epoch + 1}/{phase.epochs}"
        sums: dict[str, float] = {}
        began_s, seen = time.monotonic(), 0
        self._network.train()
        # A number of its own for every epoch of every phase: the loader's randomness must not repeat.
        for step, batch in self._loader.load(plan, at.phase * 100_000 + at.epoch, at.step):
            for group in optimiser.param_groups:
                group["lr"] = group["times"] * learning_rate(phase, at.epoch * len(plan) + step, whole)
            facts = self._step(batch, lesson, optimiser)
            for key, value in facts.items():
                sums[key] = sums.get(key, 0.0) + value
            seen += len(batch.labels)
            rate = seen / (time.monotonic() - began_s)
            self._progress.step(name, step + 1, len(plan), facts, rate)
            if time.monotonic() - self._saved_s > self._config.checkpoint_minutes * 60:
                self._save(Position(at.phase, at.epoch, step + 1), lesson, optimiser, head)
        took_s = time.monotonic() - began_s
        steps = max(1, len(plan) - at.step)
        for finding in (lesson.diagnosis(), lesson.triplet.move_on(lesson.sampler) if lesson.triplet else None):
            if finding is not None:
                self._progress.note(finding)
        self._end_epoch(
            Epoch(
                at.phase, lesson.name, at.epoch, {k: v / steps for k, v in sums.items()}, None, seen / took_s, took_s
            ),
            last=at.epoch + 1 == phase.epochs,
        )

    def _step(self, batch: Batch, lesson: Lesson, optimiser: torch.optim.Optimizer) -> Mapping[str, float]:
        device = self._tools.device
        moved = Batch(*(part.to(device, non_blocking=True) for part in (batch.pixels, batch.labels, batch.indices)))
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16) if self._tools.amp else nullcontext():
            loss = lesson.objective.loss(lesson.front or self._forward, moved)
        if not torch.isfinite(loss.value):
            self._keep(batch)
            raise Diverged(
                f"the loss of {lesson.name} is {float(loss.value.detach())}; the batch is in "
                f"{self._out / FAILED_BATCH}: look at it, then lower the learning rate"
            )
        loss.value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(
            [weight for group in optimiser.param_groups for weight in group["params"]], self._config.clip
        )
        optimiser.step()
        self._follow()
        return {"loss": float(loss.value.detach()), **loss.facts}

    @torch.no_grad()
    def _follow(self) -> None:
        """The average moves towards the network: noise of single steps cancels out (Polyak and Juditsky 1992)."""
        towards = 1 - self._config.average
        pairs = list(zip(self._average.state_dict().values(), self._network.state_dict().values(), strict=True))
        moving = [pair for pair in pairs if pair[1].is_floating_point()]
        # All tensors in a few calls: on a GPU a call each would take as long as the step.
        torch._foreach_lerp_([mine for mine, _ in moving], [value for _, value in moving], towards)
        for mine, value in pairs:
            if not value.is_floating_point():
                mine.copy_(value)

    def _end_epoch(self, record: Epoch, last: bool) -> None:
        every = self._config.validation.every
        figures, best = None, False
        if self._judge is not None and (last or (record.epoch + 1) % every == 0):
            # The averaged network's: it is the one that is kept.
            figures = self._judge.figures(self._vectors)
            if figures["dir"] > self._best_score:
                best, self._best_score = True, figures["dir"]
                self._best = {name: value.detach().cpu().clone() for name, value in self._average.state_dict().items()}
        done = Epoch(
            record.phase, record.objective, record.epoch, record.facts, figures, record.rate, record.seconds, best
        )
        self._history.append(done)
        with (self._out / HISTORY).open("a") as written:
            written.write(json.dumps(asdict(done)) + "\n")
        self._progress.epoch(done)

    def _vectors(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return embed_all(self._average, pixels, self._tools.normalise)

    def _save(
        self,
        at: Position,
        lesson: Lesson | None = None,
        optimiser: torch.optim.Optimizer | None = None,
        head: Sequence[nn.Parameter] = (),
    ) -> None:
        self._saved_s = time.monotonic()
        state = Checkpoint(
            position=at,
            network=self._network.state_dict(),
            average=self._average.state_dict(),
            best=self._best,
            best_score=self._best_score,
            optimiser={} if optimiser is None else optimiser.state_dict(),
            head=[parameter.detach() for parameter in head],
            memory=lesson.triplet.memory() if lesson is not None and lesson.triplet is not None else {},
            wanted=self._wanted(),
        )
        save(self._out / CHECKPOINT, state)

    def _restore(self, state: Checkpoint) -> None:
        self._network.load_state_dict(state.network)
        self._average.load_state_dict(state.average)
        self._best, self._best_score = state.best, state.best_score
        at = (state.position.phase, state.position.epoch)
        lines = (self._out / HISTORY).read_text().splitlines() if (self._out / HISTORY).is_file() else []
        known = (Epoch(**json.loads(line)) for line in lines)
        # An epoch that was over before its checkpoint was written is done again.
        self._history = [epoch for epoch in known if (epoch.phase, epoch.epoch) < at]

    def _wanted(self) -> str:
        """What must not change between a run and its continuation: the configuration and whom it learns from."""
        names = "\n".join(self._faces.names)
        # How fast is no part of what.
        told = self._config.model_dump_json(exclude={"checkpoint_minutes", "threads", "device", "amp"})
        return hashlib.sha256(f"{told}\n{len(self._faces.labels)}\n{names}".encode(errors="replace")).hexdigest()

    def _keep(self, batch: Batch) -> None:
        np.savez_compressed(
            self._out / FAILED_BATCH,
            pixels=batch.pixels.numpy(),
            labels=batch.labels.numpy(),
            rows=batch.indices.numpy(),
        )
