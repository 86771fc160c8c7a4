"""kith strangers: people that cameras saw and nobody named."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kith import wire
from kith.cli.exits import Exit
from kith.cli.terminal import Gallery, Json, answer, answer_json, answer_table, client_for, plain_table, say
from kith.cli.wording import time_of, verdict_of
from kith.client import Client
from kith.errors import Rejected
from kith.jobs import Outcome
from kith.watching.events import stranger_name
from kith.watching.strangers import Stranger

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="People nobody has named: list, show, name, merge, ignore, forget.")
app.add_typer(_group, name="strangers", rich_help_panel="Cameras")


def _number(text: str) -> int:
    found = re.fullmatch(r"(?:stranger-)?(\d{1,9})", text)
    if found is None:
        raise typer.BadParameter(f"{text} is no stranger; they are called stranger-17, or 17")
    return int(found[1])


_Number = Annotated[
    Any, typer.Argument(metavar="STRANGER", parser=_number, help="stranger-17, or 17.", show_default=False)
]
_LATER = "the watcher has not come to it yet; it will, as soon as it works"


@_group.command("list")
def list_strangers(
    context: typer.Context,
    gallery: Gallery = None,
    everybody: Annotated[bool, typer.Option("--all", help="Also those who were named or merged since.")] = False,
    as_json: Json = False,
) -> None:
    """Who there is, last seen last."""
    with client_for(context) as client:
        where = _where(client, gallery)
        found = [each for each in client.strangers.desk.strangers(where) if everybody or each.lives]
    found.sort(key=lambda stranger: (stranger.last_ms, stranger.number))
    if as_json:
        for each in found:
            answer_json(_record(each))
        return
    if not found:
        answer(f"no strangers are known in gallery {where}")
        return
    table = plain_table("stranger", "first seen", "last seen", "visits", "crops", "", right=("visits", "crops"))
    for each in found:
        counts = str(len(each.visits)), str(len(each.crops))
        table.add_row(stranger_name(each.number), time_of(each.first_ms), time_of(each.last_ms), *counts, _note(each))
    answer_table(table)


@_group.command()
def show(
    context: typer.Context,
    number: _Number,
    gallery: Gallery = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Write the crops that are kept there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One stranger: when and where, and by which pictures they are known."""
    with client_for(context) as client:
        stranger = client.strangers.desk.stranger(_where(client, gallery), number)
        files = [] if save is None else _saved(client, stranger, save)
    if as_json:
        answer_json(_record(stranger) | {"files": [str(file) for file in files]})
        return
    seen = f"seen from {time_of(stranger.first_ms)} to {time_of(stranger.last_ms)}"
    answer(f"{stranger_name(stranger.number)}, {seen}" + (f", {_note(stranger)}" if _note(stranger) else ""))
    for visit in stranger.visits:
        lasted = round((visit.ended_ms - visit.started_ms) / 1000)
        answer(f"  {time_of(visit.started_ms)}  {lasted:>5} s  {', '.join(visit.cameras)}  [{visit.visit}]")
    for crop in stranger.crops:
        answer(f"  crop {crop.image}, quality {crop.quality:.2f}, {time_of(crop.at_ms)}")
    for file in files:
        answer(f"  written: {file}")


@_group.command()
def name(
    context: typer.Context,
    number: _Number,
    subject: Annotated[str, typer.Argument(metavar="NAME", help="Who it is; new, or enrolled already.")],
    gallery: Gallery = None,
    as_json: Json = False,
) -> None:
    """Say who it is: enrols from the crops that are kept, and tells of past visits again, under the name."""
    with client_for(context) as client:
        decisions, done = client.strangers.name(_where(client, gallery), number, subject)
    enrolled = [each for each in decisions if each.outcome is Outcome.ENROLLED]
    if as_json:
        answer_json({"stranger": stranger_name(number), "subject": subject, "templates": len(enrolled), "done": done})
        return
    for each in decisions:
        if each.outcome is not Outcome.ENROLLED:
            say(f"kith: a crop was not enrolled: {verdict_of(each)}")
    answer(f"{stranger_name(number)} is {subject}, enrolled from {len(enrolled)} crops")
    _say_later(done)


@_group.command()
def merge(
    context: typer.Context, number: _Number, other: _Number, gallery: Gallery = None, as_json: Json = False
) -> None:
    """Say that two are one. The lower number goes on."""
    with client_for(context) as client:
        kept, done = client.strangers.merge(_where(client, gallery), number, other)
    if as_json:
        answer_json({"kept": stranger_name(kept), "done": done})
        return
    answer(f"{stranger_name(number)} and {stranger_name(other)} are one, {stranger_name(kept)}")
    _say_later(done)


@_group.command()
def ignore(
    context: typer.Context,
    number: _Number,
    gallery: Gallery = None,
    undo: Annotated[bool, typer.Option("--undo", help="Tell of them again.")] = False,
    as_json: Json = False,
) -> None:
    """Tell of them no more, as of the postman. They are recognised all the same, and keep their number."""
    with client_for(context) as client:
        done = client.strangers.ignore(_where(client, gallery), number, not undo)
    if as_json:
        answer_json({"stranger": stranger_name(number), "ignored": not undo, "done": done})
        return
    answer(f"{stranger_name(number)} is {'told of again' if undo else 'told of no more'}")
    _say_later(done)


@_group.command()
def forget(
    context: typer.Context,
    number: _Number,
    gallery: Gallery = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a stranger: views, pictures, visits, events and decisions about their crops. No way back."""
    with client_for(context) as client:
        where = _where(client, gallery)
        client.strangers.desk.stranger(where, number)
        if not yes:
            _ask(where, number)
        gone = client.strangers.forget(where, number)
    if as_json:
        answer_json({"stranger": stranger_name(number), **{part: getattr(gone, part) for part in gone.__slots__}})
        return
    answer(
        f"{stranger_name(number)} is forgotten, with {gone.pictures} pictures, {gone.events} events and "
        f"{gone.decisions} decisions"
    )
    _say_later(gone.done)


def _where(client: Client, gallery: str | None) -> str:
    # Asked for, so that a gallery that is not there is told apart from one where nobody was seen.
    return client.galleries.info(gallery or client.settings.gallery.default).name


def _ask(gallery: str, number: int) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; add --yes")
    if not typer.confirm(f"Forget {stranger_name(number)} of gallery {gallery}, with all pictures?", err=True):
        say("nothing was changed")
        raise typer.Exit(Exit.FAILED)


def _say_later(done: bool) -> None:
    if not done:
        say(f"kith: {_LATER}")


def _note(stranger: Stranger) -> str:
    if stranger.subject is not None:
        return f"named {stranger.subject}"
    if stranger.into is not None:
        return f"part of {stranger_name(stranger.into)}"
    return "ignored" if stranger.ignored else ""


def _record(stranger: Stranger) -> dict[str, Any]:
    record = wire.to_dict(stranger) | {"stranger": stranger_name(stranger.number)}
    # How many views there are, and of which visits, is the watcher's own affair.
    record.pop("views", None)
    return record


def _saved(client: Client, stranger: Stranger, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place, crop in enumerate(stranger.crops, 1):
        try:
            data = client.store.get(crop.image)
        except Rejected as gone:
            say(f"kith: crop {crop.image} is left out: {gone}")
            continue
        ending = "png" if data[:4] == b"\x89PNG" else "jpg"
        file = folder / f"{stranger_name(stranger.number)}-{place}.{ending}"
        file.write_bytes(data)
        files.append(file)
    return files
