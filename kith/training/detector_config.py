"""What the distillation of a detector is told: frozen, from a TOML table or the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class DetectorConfig(BaseModel):
    """teacher: model pack whose detector is learned from. data: folders of photographs, at any depth. validation:
    folders (or files) of others, to compare the two on at the end; without any the share `held_out` of `data`.

    pictures: at most so many photographs are cut up, a sample of all. piece_steps: steps in which each unit is taught
    by itself, where the teacher has the student's shape; steps: in which the network is taught as a whole. A step
    sees about `batch_px` pixels: with probability `windows` faces as they are looked at again, else scenes of
    `scene_px` squared.
    piece_rate, rate: learning rates, falling to a hundredth along half a cosine. maps: weight of the teacher's inner
    maps beside its outputs. average: how much of the averaged weights, which are what is kept, stays at each step. An
    epoch is `epoch_steps` steps and ends with a look at `checked` of the photographs held out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: Path
    data: Annotated[tuple[Path, ...], Field(min_length=1)]
    validation: tuple[Path, ...] = ()
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    pictures: Count = 3000
    piece_steps: Annotated[int, Field(ge=0)] = 4000
    steps: Count = 6000
    epoch_steps: Count = 500
    batch_px: Annotated[int, Field(ge=160 * 160)] = 110_000
    scene_px: Annotated[int, Field(ge=64, multiple_of=32)] = 224
    windows: Share = 0.45
    piece_rate: Rate = 3e-2
    rate: Rate = 5e-4
    maps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998
    clip: Rate = 1000.0
    checked: Count = 200
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0)] = 0
    checkpoint_minutes: Rate = 3.0
