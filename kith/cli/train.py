"""kith train: an embedding network from folders of people."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kith.cli.classifier_options import Channels, From, InputSize, Layer, Mean, Scale, Std, Weights
from kith.cli.extras import needs_training
from kith.cli.learning_screen import LearningScreen
from kith.cli.terminal import Json, answer, answer_json, folder
from kith.errors import Misconfigured

app = typer.Typer()

Part = Literal["embedder", "detector"]


@app.command(rich_help_panel="Learning")
def train(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="TOML file; config/train.toml explains every key.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", parser=folder, help="Folders of subjects: DIR/SUBJECT/IMAGE.jpg.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option("--validation", parser=folder, help="Other people, to judge by (default: a tenth of DATA's)."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pack, the report and the checkpoint.")] = Path(
        "trained"
    ),
    teacher: Annotated[
        Path | None, typer.Option("--teacher", help="Model pack to learn from: distils it into a small one.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", help="Model pack to begin with instead of random weights.")
    ] = None,
    classifier: From = None,
    weights: Weights = None,
    layer: Layer = None,
    dimension: Annotated[
        int | None,
        typer.Option(
            "--dimension", min=1, help="Numbers in an embedding; behind a classifier, a fresh projection to so many."
        ),
    ] = None,
    input_size: InputSize = None,
    channels: Channels = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    part: Annotated[
        Part, typer.Option("--part", help="What to train: the embedder, or a detector (with --teacher).")
    ] = ("embedder"),
    detector: Annotated[
        Path | None,
        typer.Option(
            "--detector",
            help="Finds the faces and goes into the new pack: a detector, or a model pack that has one (default: the "
            "teacher's).",
        ),
    ] = None,
    aligned: Annotated[
        bool | None, typer.Option("--aligned/--photos", help="DATA holds 112×112 aligned crops.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the new pack.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed gives the same network.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")] = False,
    as_json: Json = False,
) -> None:
    """Train an embedding network, and make a model pack of it.

    \b
    kith train config/train.toml --data people/
    kith train --data people/ --teacher packs/big      a small network learns what a big one says
    kith train --data people/ --start packs/mine       goes on from a pack, with triplets
    kith train --data people/ --from net.pt --channels RGB --mean 0.5 --std 0.5
                                                       any classifier, its head cut off, with triplets
    kith train --part detector --teacher packs/big --data people/

    Killed, the same command with --resume goes on where it was. Nobody the network is judged by is learned from.
    """
    screen = LearningScreen(quiet=as_json)
    if part == "detector":
        _detector(screen, config, out, resume, teacher=teacher, data=data, validation=validation, seed=seed)
        return
    with needs_training():
        from kith.checkpoints import load_pack  # noqa: PLC0415
        from kith.packs.conventions import three  # noqa: PLC0415
        from kith.packs.detectors import find_detector, lent_by  # noqa: PLC0415
        from kith.training.config import TrainConfig, read_config  # noqa: PLC0415
        from kith.training.recipes import default_phases  # noqa: PLC0415
        from kith.training.run import run  # noqa: PLC0415
    wanted: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "teacher": teacher,
        "data": _given(path=data, validation=validation, aligned=aligned),
        "network": _given(
            start=start,
            classifier=classifier,
            weights=weights,
            layer=layer,
            dimension=dimension,
            input_size=input_size,
            channels=channels,
            scale=scale,
            mean=None if mean is None else three(mean, "--mean"),
            std=None if std is None else three(std, "--std"),
        ),
    }
    if config is None:
        if data is None:
            raise Misconfigured("name a configuration or the pictures: kith train CONFIG, or kith train --data DIR")
        wanted["phases"] = default_phases(teacher=teacher is not None, start=bool(start or classifier))
    settings = read_config(TrainConfig, config, **wanted)
    parent = settings.teacher or settings.network.start
    finder = find_detector(detector) if detector else lent_by(load_pack(parent)) if parent else None
    with screen:
        outcome = run(settings, out, screen, detector=finder, resume=resume)
    if as_json:
        answer_json(
            {
                "pack": str(outcome.pack.path),
                "model_id": outcome.pack.model_id,
                "figures": outcome.figures,
                "report": str(outcome.report),
            }
        )
        return
    answer(f"pack    {outcome.pack.path} (model id {outcome.pack.model_id})")
    answer(f"report  {outcome.report}")
    for figure, value in outcome.figures.items():
        answer(f"{figure:<7} {value:.4f}, on people held out")
    if not outcome.pack.manifest.detector:
        answer("The pack has no detector: it takes aligned crops only.")
    answer(f"Next: kith evaluate {outcome.pack.path} --data PEOPLE")


def _detector(screen: LearningScreen, config: Path | None, out: Path, resume: bool, **given: Any) -> None:
    with needs_training():
        from kith.training.config import read_config  # noqa: PLC0415
        from kith.training.detector_config import DetectorConfig  # noqa: PLC0415
        from kith.training.distil_detector import distil_detector  # noqa: PLC0415
    for several in ("data", "validation"):
        given[several] = None if given[several] is None else [given[several]]
    settings = read_config(DetectorConfig, config, **given)
    with screen:
        found = distil_detector(settings, out, screen, resume=resume)
    if screen.quiet:
        answer_json({"detector": str(found.file), "figures": dict(found.figures)})
        return
    answer(f"detector  {found.file}")
    for figure, value in found.figures.items():
        answer(f"{figure}: {value}")


def _given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}
