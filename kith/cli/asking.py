"""Asking a person before what cannot be undone."""

import sys

import typer

from kith.cli.exits import Exit
from kith.cli.terminal import say


def ask_for_name(gallery: str, warning: str) -> None:
    """Have the person type the gallery's name before what cannot be undone. Raises BadParameter where nobody can be
    asked, Exit when it is not the name."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; add --yes")
    say(warning)
    if typer.prompt("Type the gallery's name to go on", default="", show_default=False, err=True) != gallery:
        say("nothing was changed")
        raise typer.Exit(Exit.FAILED)
