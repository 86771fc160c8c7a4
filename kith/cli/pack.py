"""kith pack: a trained classifier as a model pack, its head cut off."""

from pathlib import Path
from typing import Annotated

import typer

from kith.cli.classifier_options import Channels, Classifier, InputSize, Layer, Mean, Scale, Std, Weights
from kith.cli.extras import needs_training
from kith.cli.terminal import Json, answer, answer_json

app = typer.Typer()


@app.command(rich_help_panel="Learning")
def pack(
    classifier: Classifier,
    out: Annotated[Path, typer.Option("--out", metavar="PACK", help="Folder of the new pack.")],
    weights: Weights = None,
    layer: Layer = None,
    dimension: Annotated[
        int | None, typer.Option("--dimension", min=1, help="Put a fresh projection to this dimension behind it.")
    ] = None,
    input_size: InputSize = None,
    channels: Channels = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    detector: Annotated[
        Path | None, typer.Option("--detector", metavar="FILE", help="A face detector, or a pack that has one.")
    ] = None,
    cutoff: Annotated[float | None, typer.Option(min=-1, max=1, help="Cosine a match needs.")] = None,
    cutoff_note: Annotated[str | None, typer.Option(help="How the cutoff was found.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights, as stated by who published them.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the weights come from.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the pack (default: its folder's).")] = None,
    as_json: Json = False,
) -> None:
    """Cut the head off a trained classifier and make a model pack of the rest.

    \b
    kith pack torchvision.models:resnet18 --weights w.pth --out packs/r18 --channels RGB \\
        --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --licence "as stated by …"
    kith pack net.pt --out packs/net --layer layer3 …  an earlier layer, its maps averaged
    kith pack kith:resnet18 --weights grown.safetensors --out packs/mine

    What is cut off is the last linear layer or 1×1 convolution; where none leads out of the classifier, the layers are
    listed. An import path runs the code it names, TorchScript and .pt2 files are programs: use those you trust. Weights
    are read as tensors or refused. Where a classifier's input is not 112×112, the pack resizes its crops itself.
    """
    with needs_training():
        from kith.packs.conventions import Conventions, three  # noqa: PLC0415
        from kith.packs.from_classifier import Recipe, pack_classifier  # noqa: PLC0415
    said = Conventions(
        channels=channels,
        scale=scale,
        mean=None if mean is None else three(mean, "--mean"),
        std=None if std is None else three(std, "--std"),
        dimension=dimension,
        cutoff=cutoff,
        cutoff_note=cutoff_note,
        licence=licence,
        source=source,
    )
    recipe = Recipe(said, layer=layer, input_size=input_size, detector=detector, name=name)
    made = pack_classifier(classifier, weights, out.expanduser(), recipe)
    manifest = made.pack.manifest
    if as_json:
        answer_json(
            {
                "pack": str(made.pack.path),
                "model_id": made.pack.model_id,
                "dimension": made.pack.dimension,
                "layer": made.layer or None,
                "classes": made.classes,
                "format": manifest.embedder.format,
                "projected": made.projected,
                "difference": made.difference,
                "batch": made.batch,
                "detector": manifest.detector is not None,
                "cutoff": manifest.default_cutoff,
            }
        )
        return
    answer(f"pack       {made.pack.path} (model id {made.pack.model_id}, {manifest.embedder.format})")
    if not made.layer:
        cut = "nothing: these are the weights of an embedding network"
    elif layer is None:
        cut = f"{made.layer}, which knew {made.classes} classes"
    else:
        cut = f"everything behind {made.layer}"
    answer(f"cut off    {cut}")
    answer(f"dimension  {made.pack.dimension}")
    answer(f"cutoff     {manifest.default_cutoff:g} ({manifest.cutoff_note})")
    if made.difference is not None:
        answer(f"export     differs from torch by {made.difference:.1g} at most")
    if made.batch is not None:
        answer(f"It was recorded for batches of {made.batch} and takes no others, which is slow; leave the size free")
    if made.projected:
        again = f"kith train --from CLASSIFIER --dimension {made.pack.dimension}"
        answer(f"The projection is random and means nothing until it is trained: {again} does both")
    if manifest.detector is None:
        answer("It has no detector and takes aligned crops only; --detector FILE gives it one.")
    answer(f"Next: kith evaluate {made.pack.path} --data PEOPLE, then kith calibrate {made.pack.path} --data OTHERS")
