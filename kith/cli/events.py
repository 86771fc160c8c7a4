"""kith events: what cameras told, one line each."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from kith import wire
from kith.cli.following import check, pages
from kith.cli.terminal import Json, answer, answer_json, client_for
from kith.cli.wording import time_of
from kith.watching.event_log import EventEntry
from kith.watching.events import Event, EventKind, schema

app = typer.Typer()


@app.command(rich_help_panel="Cameras")
def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is told from then on.")] = False,
    group: Annotated[
        str | None, typer.Option("--group", help="Share the work: each event goes to one consumer of the group, once.")
    ] = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", help="Name within the group (default: one of this process alone).")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="start, now, or the id of an entry: those after it. A group remembers its own."),
    ] = None,
    gallery: Annotated[str | None, typer.Option("--gallery", "-g", help="Of this gallery only.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="Of this camera only.")] = None,
    visit: Annotated[str | None, typer.Option("--visit", help="Of this visit only.")] = None,
    print_schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a record, and nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print what cameras told: who is there, who it is, who is gone.

    \b
    kith events                         all that are kept
    kith events --follow --camera door  from now on, of one camera
    kith events -f --group doors        one of several that share the work; acknowledged once printed
    kith events --json --from 1718000000000-0   what came after that entry

    A visit is told of as new, update and end; docs/cameras.md says what each holds and which may open a door. With
    --json each line is the event, and "entry" is its id in the stream: remember it to go on from there.
    """
    if print_schema:
        sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
        return
    check(start, group, consumer)
    with client_for(context) as client:

        def meant(event: Event) -> bool:
            where = event.camera is None or camera in (None, event.camera)
            return gallery in (None, event.gallery) and visit in (None, event.visit) and where

        try:
            for page in pages(client.events, follow, group, consumer, start):
                _show([entry for entry in page if meant(entry.event)], as_json)
        except KeyboardInterrupt:
            # The one way to end a follower is no failure of it.
            if not follow:
                raise


def _show(entries: Sequence[EventEntry], as_json: bool) -> None:
    for entry in entries:
        if as_json:
            answer_json({"entry": entry.entry_id, **wire.to_dict(entry.event)})
        else:
            event = entry.event
            answer(f"{time_of(event.told_ms or event.at_ms)}  {event.gallery}  {line_of(event)}")


def line_of(event: Event) -> str:
    """One line: what happened, to whom, where, and why it is thought so."""
    who = event.subject or event.stranger or "somebody"
    where = event.camera or ", ".join(event.cameras)
    visit = f" [{event.visit or event.track}]" if event.visit or event.track else ""
    return {
        EventKind.NEW: f"{where}: {who} is there{_evidence(event)}",
        EventKind.UPDATE: f"{where}: {_update(event, who)}",
        EventKind.END: f"{', '.join(event.cameras)}: {who} is gone{_lasted(event)}{_evidence(event)}",
        EventKind.UNUSABLE: f"{where}: somebody passed, {str(event.why).replace('_', ' ')}",
        EventKind.MERGED: f"{who} is on visit {event.into}" if event.visit else f"{who} and {event.into} are one",
        EventKind.RENAMED: f"{event.was} was {who}",
    }[event.kind] + visit


def _update(event: Event, who: str) -> str:
    if event.why == "better_crop":
        return f"a better picture of {who}"
    before = f", not {event.was}" if event.was else ""
    return f"it is {who}{before}{_evidence(event)}"


def _lasted(event: Event) -> str:
    lasted = round(((event.ended_ms or 0) - (event.started_ms or 0)) / 1000)
    return f" after {lasted} s" + (", too late to be announced" if event.late else "")


def _evidence(event: Event) -> str:
    proof = event.evidence
    if proof is None or proof.score is None or proof.cutoff is None or event.subject is None:
        return "" if proof is None else f" ({proof.count} crops)"
    return f" ({proof.count} crops, {proof.votes} match, together {proof.score:.2f} of {proof.cutoff:.2f})"
