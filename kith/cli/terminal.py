"""What every command shares: the global options it was given, the installation it talks to, how it speaks.

Standard output carries answers, standard error everything said about them. With --json, standard output carries JSON
and nothing else.
"""

import json
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from kith.client import Client
from kith.installation import check_running, settings_of
from kith.jobs import Content
from kith.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
Gallery = Annotated[str | None, typer.Option("--gallery", "-g", help="Gallery (default: the setting gallery.default).")]
Aligned = Annotated[
    bool, typer.Option("--aligned", help="The images are 112×112 crops, already aligned to the model's template.")
]


@dataclass(frozen=True, slots=True)
class Globals:
    """The options before the command."""

    config: Path | None = None
    home: Path | None = None
    debug: bool = False


def globals_of(context: typer.Context) -> Globals:
    """What `kith` itself was told."""
    found = context.find_object(Globals)
    assert found is not None
    return found


def settings_for(context: typer.Context) -> Settings:
    """The settings of the installation meant, whether or not it runs."""
    given = globals_of(context)
    return settings_of(given.config, given.home)


def content_of(aligned: bool) -> Content:
    """What --aligned says about the images."""
    return Content.ALIGNED if aligned else Content.PHOTO


def folder(text: str) -> Path:
    """An argument that names a folder, for typer. `~` counts also where no shell expands it (`--faces=~/photos`)."""
    path = Path(text).expanduser()
    if not path.is_dir():
        raise typer.BadParameter(f"{path} is not a folder")
    return path


@contextmanager
def client_for(context: typer.Context) -> Iterator[Client]:
    """A client of the installation meant. Raises StateUnavailable at once where it is local and not up."""
    settings = settings_for(context)
    check_running(settings)
    with Client.open(settings) as client:
        yield client


def answer(text: str) -> None:
    """One line of answer. Flushed: whoever follows through a pipe waits for it."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def answer_json(value: Any) -> None:
    """One JSON object on a line of its own."""
    # ASCII only: `\u` escapes mean the same to every reader and survive every locale.
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def answer_table(table: Table) -> None:
    """A table, as wide as its content where nobody's terminal limits it."""
    # No markup: a subject may be called "[bold]".
    console = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)


def say(text: str) -> None:
    """One line for the person, not for the script."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """`text` as a terminal may have it: a file name can hold bytes that are no text, or that move the cursor."""
    return "".join(f"\\x{ord(char):02x}" if _harmful(char) else char for char in text)


def _harmful(char: str) -> bool:
    # Cc: escape sequences; Cs: no text at all; the last: turns the reading direction and so hides a file's real name.
    if unicodedata.category(char) in ("Cc", "Cs"):
        return char not in "\n\t"
    return char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table in the house style; `right`: columns of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
