"""What a training run is told: frozen, from a TOML file and the command line. `config/train.toml` explains each."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kith.errors import Misconfigured
from kith.training.augment import Augmentation

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
#: A number per channel; one for all three counts.
Channels = Annotated[
    tuple[float, float, float], BeforeValidator(lambda said: [said] * 3 if isinstance(said, int | float) else said)
]


C = TypeVar("C", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Section):
    """path: folders of subjects. aligned: they hold 112×112 crops. validation: other people's folders; without it the
    share `validation_share` of the subjects is held out."""

    path: Path
    aligned: bool = False
    validation: Path | None = None
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Network(_Section):
    """name, dimension: see kith.networks; no dimension: 128, or that of what the run begins with.

    start: a model pack whose weights to begin with. classifier: a trained classifier to begin with, its head cut off;
    weights, layer, input_size and how its pixels are fed (channels, scale, mean, std) as `kith pack` takes them, and a
    dimension that is not its own puts a fresh projection behind it.
    """

    name: str = "mobilefacenet"
    dimension: Annotated[int, Field(ge=1, le=8192)] | None = None
    start: Path | None = None
    classifier: str | None = None
    weights: Path | None = None
    layer: str | None = None
    input_size: Annotated[int, Field(ge=16, le=1024)] | None = None
    channels: Literal["RGB", "BGR"] | None = None
    scale: Positive | None = None
    mean: Channels | None = None
    std: Channels | None = None


class Phase(_Section):
    """One phase. objective: `triplet`, `distil` (as a whole), `distil-pieces`, or a margin loss of
    kith.training.margin_losses by name. miner and sampler count for triplets only; `curriculum` lets the run choose.
    frozen_stages: the first so many stages of the network stay as they are, which saves their share of the time.
    affine_rate: scales and shifts learn so many times faster. AdamW moves a weight by at most the learning rate a step,
    and a scale has further to go than a filter: taught piece by piece, many have to reach 0.
    """

    objective: str
    epochs: Count
    learning_rate: Positive
    final_learning_rate: Annotated[float, Field(ge=0)] = 0.0
    warm_up_steps: Annotated[int, Field(ge=0)] = 100
    optimiser: Literal["adamw", "sgd"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    batch: Count = 64
    miner: Literal["random", "batch-hard", "semi-hard", "distance-weighted", "curriculum"] = "semi-hard"
    sampler: Literal["random", "neighbourhoods"] = "random"
    margin: Positive = 0.2
    subjects: Annotated[int, Field(ge=2)] = 16
    images: Annotated[int, Field(ge=2)] = 4
    steps_per_epoch: Count | None = None
    frozen_stages: Annotated[int, Field(ge=0)] = 0
    affine_rate: Positive = 1.0


class Validation(_Section):
    """fpir: at which DIR is measured after every `every` epochs."""

    fpir: Annotated[float, Field(gt=0, lt=1)] = 0.01
    every: Count = 1


class TrainConfig(_Section):
    """A whole run."""

    name: str = "kith-trained"
    data: Data
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    network: Network = Network()
    teacher: Path | None = None
    augment: Augmentation = Augmentation()
    validation: Validation = Validation()
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    amp: bool = True
    average: Annotated[float, Field(ge=0, lt=1)] = 0.998
    clip: Positive = 5.0
    checkpoint_minutes: Positive = 5.0
    licence: str = "the terms of the pictures it was trained on"
    source: str = "trained with kith train"


def read_config(kind: type[C], file: Path | None, **given: Any) -> C:
    """The configuration in `file` (TOML), what is `given` on top: `data={"path": …}` replaces a key, None nothing.

    Relative paths in the file count from the current folder. Raises Misconfigured, naming the file, the key and what is
    allowed.
    """
    plain: dict[str, Any] = {}
    if file is not None:
        try:
            plain = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as fault:
            raise Misconfigured(f"{file} cannot be read: {fault.strerror or fault}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
            raise Misconfigured(f"{file} is not TOML: {broken}") from None
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(plain.get(key), dict):
            plain[key] = {**plain[key], **value}
        elif value is not None:
            plain[key] = value
    try:
        return kind.model_validate(plain)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Misconfigured(f"{file or 'the command line'}: {where}: {first['msg']}") from None
