"""kith subjects: who is in a gallery."""

from dataclasses import asdict
from typing import Annotated

import typer

from kith.cli.previewing import show_effect
from kith.cli.recent import HOURS, Hours, Preview
from kith.cli.terminal import Gallery, Json, answer, answer_json, answer_table, client_for, plain_table
from kith.cli.wording import time_of
from kith.proposed_changes import renamed

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Who is in a gallery: list, show, rename (kith forget erases).")
app.add_typer(_group, name="subjects", rich_help_panel="Galleries")

_Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name.", show_default=False)]


@_group.command("list")
def list_(context: typer.Context, gallery: Gallery = None, as_json: Json = False) -> None:
    """All subjects by name; with --json one line each."""
    with client_for(context) as client:
        subjects = client.galleries.subjects(gallery or client.settings.gallery.default)
    if as_json:
        for each in subjects:
            answer_json(asdict(each))
        return
    table = plain_table("name", "templates", "since", "id", "external id", right=("templates",))
    for each in subjects:
        table.add_row(each.name, str(each.templates), time_of(each.created_ms), each.subject_id, each.external_id or "")
    answer_table(table)


@_group.command()
def show(context: typer.Context, subject: _Subject, gallery: Gallery = None, as_json: Json = False) -> None:
    """One subject with its templates, oldest first."""
    with client_for(context) as client:
        detail = client.galleries.show(gallery or client.settings.gallery.default, subject)
    if as_json:
        answer_json(asdict(detail))
        return
    answer(f"{detail.name}  (id {detail.subject_id}, since {time_of(detail.created_ms)})")
    if detail.external_id is not None:
        answer(f"  external id {detail.external_id}")
    for key, value in detail.metadata.items():
        answer(f"  {key}: {value}")
    table = plain_table("template", "quality", "enrolled", "change", "image", right=("quality", "change"))
    for each in detail.templates:
        table.add_row(
            each.template_id, f"{each.quality:.2f}", time_of(each.enrolled_ms), str(each.sequence), each.image
        )
    answer_table(table)


@_group.command()
def rename(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)],
    gallery: Gallery = None,
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """Give a subject another name; its id and templates stay."""
    with client_for(context) as client:
        where = gallery or client.settings.gallery.default
        if preview:
            show_effect(client, where, lambda now: renamed(now, old, new), hours, as_json=as_json)
            return
        sequence = client.galleries.rename(where, old, new)
    if as_json:
        answer_json({"old": old, "new": new, "sequence": sequence})
    else:
        answer(f"{old} is now called {new} (change {sequence})")
