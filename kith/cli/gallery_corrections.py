"""kith gallery merge, split, move, remove: who is who, corrected; or shown what that would do."""

from typing import Annotated

import typer

from kith.cli.previewing import show_effect
from kith.cli.recent import HOURS, Hours, Preview
from kith.cli.terminal import Json, answer, answer_json, client_for
from kith.proposed_changes import merged, moved, removed

app = typer.Typer()

_Name = Annotated[str, typer.Argument(metavar="GALLERY", show_default=False)]
_Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name.", show_default=False)]
_Templates = Annotated[
    list[str],
    typer.Option("--templates", "-t", metavar="ID", help="A template of theirs (kith subjects show); repeat it."),
]
_To = Annotated[str, typer.Option("--to", metavar="NAME", help="Whose they are.")]


@app.command()
def merge(
    context: typer.Context,
    gallery: _Name,
    subject: Annotated[str, typer.Argument(metavar="FROM", help="Who is no more.", show_default=False)],
    into: Annotated[str, typer.Argument(metavar="INTO", help="Who gets the templates.", show_default=False)],
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """Two names are one person: give all templates of FROM to INTO."""
    with client_for(context) as client:
        if preview:
            show_effect(client, gallery, lambda now: merged(now, subject, into), hours, as_json=as_json)
            return
        sequence = client.galleries.merge(gallery, subject, into)
    done(f"{subject} is {into} now", sequence, as_json)


@app.command()
def split(
    context: typer.Context,
    gallery: _Name,
    subject: _Subject,
    templates: _Templates,
    to: _To,
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """One name is two people: give some templates to somebody new."""
    with client_for(context) as client:
        if any(each.name == to for each in client.galleries.subjects(gallery)):
            raise typer.BadParameter(f"somebody is called {to!r} already; kith gallery move gives templates to them")
        if preview:
            show_effect(client, gallery, lambda now: moved(now, subject, templates, to), hours, as_json=as_json)
            return
        sequence = client.galleries.move(gallery, subject, templates, to)
    done(f"{to} has {len(templates)} templates of {subject} now", sequence, as_json)


@app.command()
def move(
    context: typer.Context,
    gallery: _Name,
    subject: _Subject,
    templates: _Templates,
    to: _To,
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """Templates of one person are another's: give them to somebody who is there."""
    with client_for(context) as client:
        client.galleries.show(gallery, to)
        if preview:
            show_effect(client, gallery, lambda now: moved(now, subject, templates, to), hours, as_json=as_json)
            return
        sequence = client.galleries.move(gallery, subject, templates, to)
    done(f"{to} has {len(templates)} templates of {subject} now", sequence, as_json)


@app.command()
def remove(
    context: typer.Context,
    gallery: _Name,
    subject: _Subject,
    templates: Annotated[list[str], typer.Argument(metavar="TEMPLATE...", show_default=False)],
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """Take templates out; undo brings them back. (kith forget erases.)"""
    with client_for(context) as client:
        if preview:
            show_effect(client, gallery, lambda now: removed(now, subject, templates), hours, as_json=as_json)
            return
        sequence = client.galleries.remove(gallery, subject, templates)
    done(f"{len(templates)} templates of {subject} are removed", sequence, as_json)


def done(what: str, sequence: int, as_json: bool) -> None:
    """What was done, with its change."""
    if as_json:
        answer_json({"sequence": sequence})
    else:
        answer(f"{what} (change {sequence})")
