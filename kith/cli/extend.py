"""kith extend: the other answer to a growing list, a classifier that is grown and retrained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kith.cli.classifier_options import Channels, Classifier, InputSize, Mean, Scale, Std, Weights
from kith.cli.evaluate import existing
from kith.cli.extras import needs_training
from kith.cli.learning_screen import LearningScreen
from kith.cli.terminal import Json, answer, answer_json, answer_table, folder, plain_table
from kith.errors import Misconfigured

if TYPE_CHECKING:
    from kith.training.extension import Extension

app = typer.Typer()


@app.command(rich_help_panel="Learning")
def extend(
    classifier: Classifier,
    classes: Annotated[
        Path, typer.Option("--classes", metavar="DIR", parser=folder, help="The new classes: CLASS/IMAGE.jpg.")
    ],
    old: Annotated[
        Path, typer.Option("--old", metavar="DIR", parser=folder, help="Pictures of the old classes, to replay.")
    ],
    weights: Weights = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names",
            metavar="FILE",
            parser=existing,
            help="JSON list: the old classes in the order of the outputs (default: classes.json beside the weights, "
            "else the folders of --old, sorted).",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the grown classifier.")] = Path(
        "extended"
    ),
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the pictures for the last layer.")] = 30,
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="Afterwards train all layers, at a lower rate.")
    ] = False,
    all_epochs: Annotated[int, typer.Option("--all-epochs", min=1, help="Passes for all layers.")] = 5,
    rate: Annotated[
        float, typer.Option(min=0, help="Learning rate of the last layer, as a share of its weights.")
    ] = 0.05,
    all_rate: Annotated[float, typer.Option("--all-rate", min=0, help="Learning rate of all layers.")] = 1e-4,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a step.")] = 32,
    detector: Annotated[
        Path | None,
        typer.Option("--detector", metavar="PACK", parser=folder, help="Model pack whose detector finds the faces."),
    ] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The pictures are 112×112 aligned crops.")] = False,
    input_size: InputSize = None,
    channels: Channels = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same classifier.")] = 0,
    as_json: Json = False,
) -> None:
    """Grow a trained classifier by new classes, and see what that is worth beside an embedding.

    \b
    kith extend kith:resnet18 --weights staff.safetensors --old staff/ --classes new/ --aligned
    kith extend net.pt2 --old staff/ --classes new/ --detector packs/mine --all-layers

    The last layer gets a row for each new class, which begins at the mean of its pictures, and learns on old and new
    pictures, classes balanced. A quarter of each class is held out, and says how many old and new classes are named
    rightly before and after, beside the same classifier with its head cut off and no training at all. Old pictures that
    the classifier was trained on flatter its figures: give others where you can. An import path runs the code it names,
    TorchScript and .pt2 files are programs: use those you trust.
    """
    with needs_training():
        from kith.training.extension import Task, extend, open_reader, plain, preprocessing  # noqa: PLC0415
        from kith.training.last_layers import Schedule  # noqa: PLC0415
    if detector is None and not aligned:
        raise Misconfigured("photographs need a detector to find the faces (--detector PACK); or say --aligned")
    task = Task(
        classifier,
        weights,
        new=classes,
        old=old,
        names=names,
        input_size=input_size,
        spec=preprocessing(channels, scale, mean, std),
    )
    how = Schedule(
        epochs=epochs,
        all_epochs=all_epochs if all_layers else 0,
        rate=rate,
        all_rate=all_rate,
        batch=batch,
        seed=seed,
    )
    with LearningScreen(quiet=as_json) as screen:
        found = extend(task, open_reader(None if aligned else detector), out.expanduser(), how, screen)
    if as_json:
        answer_json(plain(found))
        return
    _show(found)


def _show(found: "Extension") -> None:
    answer(
        f"{found.old} old and {len(found.names) - found.old} new classes, learned from {found.learned:,} pictures; "
        f"judged by {found.judged[0]:,} of old and {found.judged[1]:,} of new classes, held out\n"
    )
    table = plain_table(
        "named rightly", "old classes", "new classes", "seconds", right=("old classes", "new classes", "seconds")
    )
    for each in found.answers:
        table.add_row(each.what, _percent(each.old), _percent(each.new), f"{each.seconds:.1f}")
    answer_table(table)
    answer("")
    for file in found.files:
        answer(f"wrote {file}")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
