"""kith galleries: which there are."""

from dataclasses import asdict

import typer

from kith.cli.terminal import Json, answer_json, answer_table, client_for, plain_table
from kith.cli.wording import time_of
from kith.gallery import GalleryInfo

app = typer.Typer()
_group = typer.Typer(invoke_without_command=True, help="The galleries, with their sizes and models.")
app.add_typer(_group, name="galleries", rich_help_panel="Galleries")


@_group.callback()
def _default(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_(context, as_json)


@_group.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All galleries by name; with --json one line each."""
    with client_for(context) as client:
        found = client.galleries.galleries()
    if as_json:
        for each in found:
            answer_json(asdict(each))
    else:
        show_galleries(found)


def show_galleries(found: list[GalleryInfo] | tuple[GalleryInfo, ...]) -> None:
    """A table of galleries."""
    table = plain_table(
        "gallery", "subjects", "templates", "change", "cutoff", "model", "since", right=("subjects", "templates")
    )
    for each in found:
        cutoff = "the model's" if each.cutoff is None else f"{each.cutoff:.3f}"
        sizes = (str(each.subjects), str(each.templates), str(each.sequence))
        table.add_row(each.name, *sizes, cutoff, each.model_id, time_of(each.created_ms))
    answer_table(table)
