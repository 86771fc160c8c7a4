"""kith images: pictures in the store that nothing tells of any more."""

import sys
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from kith.cli.counting import counting
from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.orphans import Orphaned, Orphans

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Pictures in the store.")
app.add_typer(_group, name="images", rich_help_panel="System")

_DAY_S = 86_400


@_group.command()
def unused(
    context: typer.Context,
    older_than: Annotated[
        float, typer.Option(min=1 / 24, metavar="DAYS", help="Only those last put so long ago; an hour at least.")
    ] = 7.0,
    remove: Annotated[bool, typer.Option("--remove", help="Delete them; there is no way back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Find pictures that no gallery, job, decision or event refers to; with --remove, delete them.

    \b
    kith images unused                             how many, how large; deletes nothing
    kith images unused --json                      one line each
    kith images unused --older-than 30 --remove    asks, and deletes

    A template that undoing could bring back keeps its picture, and so does a dead letter. Reads all of Redis but the
    vectors. The store must be this installation's alone: of what another one refers to, this one knows nothing.
    """
    with client_for(context) as client:
        orphans = Orphans(client.store, client.erasure, client.audit, client.by)
        with counting(quiet=as_json) as count:
            found = orphans.find(older_than * _DAY_S, partial(count, "looked through"))
        if as_json:
            for each in found.unused:
                answer_json(asdict(each))
        else:
            _show(found, older_than)
        if not remove:
            return
        if found.unused and not yes:
            _ask(found)
        with counting(quiet=as_json) as count:
            gone = orphans.remove(found.unused, partial(count, "removed"))
    line = f"{gone:,} pictures are deleted"
    # Those that were put again, or asked about, while somebody thought about it.
    kept = f"; {len(found.unused) - gone:,} are in use again" if gone < len(found.unused) else ""
    (say if as_json else answer)(line + kept)


def _show(found: Orphaned, days: float) -> None:
    answer(f"{found.looked_at:,} pictures of {_size(found.size_bytes)} are in the store")
    size = _size(sum(each.size_bytes for each in found.unused))
    answer(f"{len(found.unused):,} of {size} are older than {days:g} days, and nothing tells of them any more")


def _ask(found: Orphaned) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; add --yes")
    if not typer.confirm(f"Delete {len(found.unused):,} of {found.looked_at:,} pictures?", err=True):
        say("nothing was deleted")
        raise typer.Exit(Exit.FAILED)


def _size(size_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"
