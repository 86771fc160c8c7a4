"""The loop that distils a detector: phases of epochs of steps, resumable at any step.

All randomness comes from (seed, phase, step), never from a generator that runs along: a run that was killed and resumed
takes the very steps an undisturbed one takes.
"""

import copy
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kith.networks.face_detector import FaceDetector
from kith.training.checkpoint import Checkpoint, Position, load, save
from kith.training.cutouts import Cutout
from kith.training.detector_config import DetectorConfig
from kith.training.detector_loss import maps_loss, outputs_loss
from kith.training.detector_teacher import DetectorTeacher, canvas_of
from kith.training.errors import Diverged
from kith.training.progress import Epoch, Progress
from kith.training.scenes import WINDOW_PX, scene, window

CHECKPOINT = "detector-checkpoint.pt"
FAILED_BATCH = "failed-scenes.npy"

#: Given the averaged network after an epoch, returns figures to show.
Check = Callable[[FaceDetector], Mapping[str, float]]

#: Phase 0 and phase 1.
PIECES, WHOLE = "piece by piece", "as a whole"

#: Steps over which a phase's learning rate rises from nothing, and what it falls to in the end, as a share.
_WARM_UP, _FINAL = 50, 0.01

#: Batch norms follow the batch for so many steps where the teacher has the student's shape, else for this share of all.
#: Then they stay as they are: the teacher's are fixed, and what varies with the company an image is in cannot be it.
_FOLLOWED, _FOLLOWED_SHARE = 60, 0.6


class DetectorTrainer:
    """One run in the folder `out`. network: the student; average: its averaged weights, which are what is kept."""

    def __init__(
        self,
        config: DetectorConfig,
        teacher: DetectorTeacher,
        cutouts: Sequence[Cutout],
        out: Path,
        progress: Progress,
    ) -> None:
        self._config, self._teacher, self._cutouts = config, teacher, cutouts
        self._out, self._progress = out, progress
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = FaceDetector()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self._saved_s = time.monotonic()
        #: Name and steps of each phase.
        self._phases = ((PIECES, config.piece_steps if teacher.alike else 0), (WHOLE, config.steps))

    def run(self, resume: bool, check: Check) -> FaceDetector:
        """All steps that are left; the averaged network, in eval mode.

        Raises Diverged when the loss is no number any more; the scenes are kept in `failed-scenes.npy`.
        """
        start, state = Position(), None
        if resume and (self._out / CHECKPOINT).is_file():
            state = load(self._out / CHECKPOINT, self._wanted())
            start = state.position
            self.network.load_state_dict(state.network)
            self.average.load_state_dict(state.average)
            self._progress.note(f"going on at phase {start.phase + 1}, epoch {start.epoch + 1}, step {start.step + 1}")
        for phase in range(start.phase, len(self._phases)):
            optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=0.0)
            at = Position(phase)
            if phase == start.phase:
                at = start
                if state is not None and state.optimiser:
                    optimiser.load_state_dict(state.optimiser)
            while at.epoch * self._config.epoch_steps < self._phases[phase][1]:
                self._epoch(at, optimiser, check)
                at = Position(phase, at.epoch + 1)
                self._save(at, optimiser)
            self._save(Position(phase + 1), None)
        return self.average

    def _epoch(self, at: Position, optimiser: torch.optim.Optimizer, check: Check) -> None:
        name, of = self._phases[at.phase]
        first = at.epoch * self._config.epoch_steps
        last = min(first + self._config.epoch_steps, of)
        sums: dict[str, float] = {}
        began_s, seen = time.monotonic(), 0
        for step in range(first + at.step, last):
            for group in optimiser.param_groups:
                group["lr"] = self._rate(at.phase, step, of)
            scenes = self.scenes(at.phase, step)
            self.network.train(self._follows_batch(at.phase, step, of))
            facts = self._step(at.phase, scenes, optimiser)
            self._follow(step)
            for key, value in facts.items():
                sums[key] = sums.get(key, 0.0) + value
            seen += len(scenes)
            label = f"{name} {at.epoch + 1}/{-(-of // self._config.epoch_steps)}"
            self._progress.step(label, step + 1 - first, last - first, facts, seen / (time.monotonic() - began_s))
            if time.monotonic() - self._saved_s > self._config.checkpoint_minutes * 60:
                self._save(Position(at.phase, at.epoch, step + 1 - first), optimiser)
        took_s = time.monotonic() - began_s
        means = {key: value / max(1, last - first - at.step) for key, value in sums.items()}
        self._progress.epoch(Epoch(at.phase, name, at.epoch, means, check(self.average), seen / took_s, took_s))

    def scenes(self, phase: int, step: int) -> NDArray[np.uint8]:
        """What is seen in a step: (n, side, side, 3) uint8 RGB."""
        config = self._config
        rng = np.random.default_rng([config.seed, phase, step])
        if rng.random() < config.windows:
            count = max(2, config.batch_px // WINDOW_PX**2)
            return np.stack([window(self._cutouts, rng).pixels for _ in range(count)])
        count = max(2, config.batch_px // config.scene_px**2)
        return np.stack([scene(self._cutouts, rng, config.scene_px).pixels for _ in range(count)])

    def _step(self, phase: int, scenes: NDArray[np.uint8], optimiser: torch.optim.Optimizer) -> Mapping[str, float]:
        canvas = canvas_of(scenes)
        lesson = self._teacher.teach(canvas)
        seen = self.network.look(
            torch.from_numpy(canvas).contiguous(memory_format=torch.channels_last), lesson.maps if phase == 0 else None
        )
        answers = outputs_loss(seen.outputs, lesson.outputs)
        value, facts = answers.value, dict(answers.facts)
        if lesson.maps:
            apart = maps_loss(seen.maps, lesson.maps)
            value, facts["maps"] = value + self._config.maps * apart, float(apart.detach())
        if not torch.isfinite(value):
            np.save(self._out / FAILED_BATCH, scenes)
            raise Diverged(
                f"the loss of the student {self._phases[phase][0]} is {float(value.detach())}; the scenes are in "
                f"{self._out / FAILED_BATCH}: look at them, then lower the learning rate"
            )
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip)
        optimiser.step()
        return {"loss": float(value.detach()), **facts}

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """The average moves towards the network: noise of single steps cancels out (Polyak and Juditsky 1992).

        Faster while few steps of the phase were made, or it would hold what the network was before it learned anything.
        """
        stays = min(self._config.average, (1 + step) / (10 + step))
        mine = self.average.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                mine[name].lerp_(value, 1 - stays)
            else:
                mine[name].copy_(value)

    def _follows_batch(self, phase: int, step: int, of: int) -> bool:
        return phase == 0 and step < _FOLLOWED if self._teacher.alike else step < _FOLLOWED_SHARE * of

    def _rate(self, phase: int, step: int, of: int) -> float:
        rate = (self._config.piece_rate, self._config.rate)[phase]
        fall = _FINAL + (1 - _FINAL) * (1 + np.cos(np.pi * step / of)) / 2
        return float(rate * min(1.0, (step + 1) / _WARM_UP) * fall)

    def _save(self, at: Position, optimiser: torch.optim.Optimizer | None) -> None:
        self._saved_s = time.monotonic()
        state = Checkpoint(
            position=at,
            network=self.network.state_dict(),
            average=self.average.state_dict(),
            best={},
            best_score=0.0,
            optimiser={} if optimiser is None else optimiser.state_dict(),
            head=[],
            memory={},
            wanted=self._wanted(),
        )
        save(self._out / CHECKPOINT, state)

    def _wanted(self) -> str:
        """What must not change between a run and its continuation: the configuration and what it learns from."""
        # How fast is no part of what.
        told = self._config.model_dump_json(exclude={"checkpoint_minutes", "threads", "checked"})
        return hashlib.sha256(f"{told}\n{len(self._cutouts)}".encode()).hexdigest()
