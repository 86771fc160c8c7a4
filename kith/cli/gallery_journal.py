"""kith gallery history, undo, at, diff: what happened to a gallery, and how it was before."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kith.changes_told import inverse, names_in, told
from kith.cli.exits import Exit
from kith.cli.previewing import show_effect
from kith.cli.recent import HOURS, Hours, Preview
from kith.cli.terminal import Json, answer, answer_json, answer_table, client_for, plain_table, say
from kith.cli.wording import time_of
from kith.errors import CannotUndo
from kith.gallery_past import Past, PastSubject, SubjectDifference, diff, read_past, read_pasts
from kith.proposed_changes import undone
from kith.subjects import HistoryEntry

app = typer.Typer()

_Name = Annotated[str, typer.Argument(metavar="GALLERY", show_default=False)]
_State = Annotated[int, typer.Argument(metavar="SEQ", min=0, show_default=False)]


@app.command()
def history(
    context: typer.Context,
    gallery: _Name,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, metavar="SEQ", help="Those before this change.")] = None,
    as_json: Json = False,
) -> None:
    """Changes, newest first, as far back as the journal is kept; with --json one line each."""
    with client_for(context) as client:
        entries = client.galleries.history(gallery, before=before, limit=limit)
    if as_json:
        for each in entries:
            answer_json(_plain(each))
        return
    table = plain_table("change", "when", "what", right=("change",))
    names = names_in(entries)
    for each in entries:
        table.add_row(str(each.sequence), time_of(each.at_ms), told(each, names))
    answer_table(table)


@app.command()
def undo(
    context: typer.Context,
    gallery: _Name,
    sequence: _State,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """Take a change back, by another change, which can be undone as well."""
    with client_for(context) as client:
        found = client.galleries.history(gallery, before=sequence + 1, limit=1)
        if not found or found[0].sequence != sequence:
            raise CannotUndo(f"the journal of gallery {gallery} holds no change {sequence}")
        if preview:
            show_effect(client, gallery, lambda now: undone(now, found[0]), hours, as_json=as_json)
            return
        if not yes:
            say(f"change {sequence}, {time_of(found[0].at_ms)}: {told(found[0])}")
            if not sys.stdin.isatty():
                raise typer.BadParameter("nobody can be asked here; add --yes")
            if not typer.confirm(f"To undo it: {inverse(found[0])}. Do that?", err=True):
                say("nothing was changed")
                raise typer.Exit(Exit.FAILED)
        done = client.galleries.undo(gallery, sequence)
    if as_json:
        answer_json({"undone": sequence, "sequence": done})
    else:
        answer(f"change {sequence} is undone: {inverse(found[0])} (change {done})")


@app.command()
def at(
    context: typer.Context,
    gallery: _Name,
    sequence: Annotated[int, typer.Option("--seq", min=0, metavar="SEQ", help="After this change.")],
    as_json: Json = False,
) -> None:
    """Who was in it after an earlier change, with how many templates. Whoever was forgotten since is not shown."""
    with client_for(context) as client:
        past = read_past(client.galleries, gallery, sequence)
    people = sorted(past.subjects.values(), key=lambda each: each.name)
    if as_json:
        answer_json(
            {
                "sequence": sequence,
                "model_id": past.model_id,
                "settings": asdict(past.settings),
                "subjects": [_person(each) for each in people],
                "erased": past.erased,
            }
        )
        return
    answer(f"gallery {gallery} after change {sequence}: {len(people):,} subjects, model {past.model_id}")
    table = plain_table("name", "templates", "id", right=("templates",))
    for each in people:
        table.add_row(each.name, str(len(each.templates)), each.subject_id)
    answer_table(table)
    _say_erased([past])


@app.command("diff")
def diff_(context: typer.Context, gallery: _Name, before: _State, after: _State, as_json: Json = False) -> None:
    """What is different between two states: people and their templates (by id), settings, the model."""
    with client_for(context) as client:
        pasts = read_pasts(client.galleries, gallery, [before, after])
    found = diff(*pasts)
    if as_json:
        answer_json(
            {
                "subjects": [
                    {
                        "before": each.before and _person(each.before),
                        "after": each.after and _person(each.after),
                        "added": sorted(each.added),
                        "removed": sorted(each.removed),
                    }
                    for each in found.subjects
                ],
                "settings": found.settings and [asdict(each) for each in found.settings],
                "model_id": found.model_id,
                "erased": max(past.erased for past in pasts),
            }
        )
        return
    for each in found.subjects:
        answer(difference(each))
    if found.settings is not None:
        old, new = (asdict(each) for each in found.settings)
        changed = [f"{key} {old[key]} → {new[key]}" for key in old if old[key] != new[key]]
        answer(f"~ settings: {', '.join(changed)}")
    moved = found.model_id[0] != found.model_id[1]
    if moved:
        answer(f"~ model: {found.model_id[0]} → {found.model_id[1]}; templates are the same where their ids are")
    if not (found.subjects or found.settings or moved):
        answer("no difference")
    _say_erased(pasts)


def difference(each: SubjectDifference) -> str:
    """`+ new`, `- gone` or `~ changed`."""
    if each.before is None:
        assert each.after is not None
        return f"+ {each.after.name} with {len(each.added)} templates"
    if each.after is None:
        return f"- {each.before.name} with {len(each.removed)} templates"
    renamed = f" → {each.after.name}" if each.before.name != each.after.name else ""
    counts = "".join(f", {sign}{len(some)}" for sign, some in (("+", each.added), ("-", each.removed)) if some)
    return f"~ {each.before.name}{renamed}{counts}"


def _person(each: PastSubject) -> dict[str, Any]:
    return {"subject_id": each.subject_id, "name": each.name, "templates": sorted(each.templates)}


def _plain(entry: HistoryEntry) -> dict[str, Any]:
    return {**asdict(entry), "op": str(entry.op), "told": told(entry)}


def _say_erased(pasts: Iterable[Past]) -> None:
    erased = max(past.erased for past in pasts)
    if erased:
        say(f"{erased} change{'s tell' if erased > 1 else ' tells'} of people forgotten since; they are left out")
