"""What `kith webhook` takes to say who is told, and of what."""

import sys
from typing import Annotated

import typer

On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="KIND",
        help="event, decision, or one of their kinds, such as event.new or decision.match; several times for several.",
    ),
]
Galleries = Annotated[
    list[str] | None, typer.Option("--gallery", "-g", help="Only of this gallery; several times for several.")
]
Cameras = Annotated[list[str] | None, typer.Option("--camera", help="Only of this camera; several times for several.")]
People = Annotated[
    list[str] | None,
    typer.Option(
        "--subject",
        help="Only about this person, of the galleries named (else of gallery.default); several times for several.",
    ),
]


def once(values: list[str] | None) -> tuple[str, ...]:
    """What was given, each once."""
    return tuple(dict.fromkeys(values or ()))


def asked(what: str) -> str:
    """What nobody else on this machine is to see: asked for unseen, or a line of standard input."""
    text = typer.prompt(what, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    return str(text).strip()
