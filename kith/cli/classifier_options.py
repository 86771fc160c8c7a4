"""The options by which a trained classifier is named, the same for every command that takes one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kith.cli.evaluate import existing

_WHAT = "package.module:callable (runs that code), a TorchScript file, a .pt2 of torch.export, or kith:NAME."

Classifier = Annotated[str, typer.Argument(metavar="CLASSIFIER", help=_WHAT, show_default=False)]
From = Annotated[
    str | None, typer.Option("--from", metavar="CLASSIFIER", help=f"Begin with it, its head cut off: {_WHAT}")
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", parser=existing, help="Its weights: safetensors, or a state dict."),
]
Layer = Annotated[
    str | None,
    typer.Option("--layer", help="Layer whose output is the embedding (default: what goes into the last one)."),
]
InputSize = Annotated[
    int | None,
    typer.Option("--input-size", min=16, max=1024, help="Side of the classifier's input, pixels (default: 112)."),
]
Channels = Annotated[Literal["RGB", "BGR"] | None, typer.Option(help="Order of the input's channels.")]
Scale = Annotated[float | None, typer.Option(help="Input = (pixel · scale − mean) / std (default: 1/255).")]
Mean = Annotated[str | None, typer.Option(metavar="M[,M,M]", help="One number, or three with commas.")]
Std = Annotated[str | None, typer.Option(metavar="S[,S,S]", help="One number, or three with commas.")]
