"""Options of commands that preview what a change would do to the decisions of the last hours (kith.recent)."""

from typing import Annotated

import typer

Preview = Annotated[bool, typer.Option("--preview", help="Only show which recent decisions it would change.")]
Hours = Annotated[float, typer.Option(min=0, help="How far back recent decisions are looked at.")]

#: How far back where nobody says.
HOURS = 24.0
