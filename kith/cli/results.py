"""kith results: decisions as they are published."""

import os
import platform
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from kith import wire
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.cli.wording import line_of, time_of
from kith.errors import StateUnavailable
from kith.results import FROM_START, Entry, Results

app = typer.Typer()

_PAGE = 500
#: How long one request waits for news; between two of them a signal gets through.
_BLOCK_S = 1.0


@app.command(rich_help_panel="Decisions")
def results(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is published from then on.")] = False,
    group: Annotated[
        str | None,
        typer.Option("--group", help="Share the work: each decision goes to one consumer of the group, once."),
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option("--consumer", help="Name within the group (default: one of this process alone)."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="start, now, or the id of an entry: those after it. A group remembers its own."),
    ] = None,
    gallery: Annotated[str | None, typer.Option("--gallery", "-g", help="Of this gallery only.")] = None,
    as_json: Json = False,
) -> None:
    """Print decisions, one line each.

    \b
    kith results                        all that are kept
    kith results --follow               from now on (--from start: all, and from now on)
    kith results -f --group doors       one of several that share the work; acknowledged once printed
    kith results --json --from 1718000000000-0   what came after that entry

    What a consumer of a group took and did not acknowledge, because it was killed, goes to another after a minute, or
    at once to one of the same --consumer name. Two that run at the same time must not share a name: both would get it.

    With --json each line is the decision, and "entry" is its id in the stream: remember it to go on from there.
    """
    if start not in (None, "start", "now") and not re.fullmatch(r"\d{1,19}(-\d{1,19})?", start or ""):
        raise typer.BadParameter(f"--from takes start, now or an entry's id (milliseconds-number), not {start!r}")
    if consumer is not None and group is None:
        raise typer.BadParameter("--consumer names a member of a --group")
    with client_for(context) as client:
        found = client.results
        pages = (
            _read(found, start or ("now" if follow else "start"), follow)
            if group is None
            else _take(found, group, consumer or _own_name(), start, follow)
        )
        try:
            for page in pages:
                _show([entry for entry in page if gallery in (None, entry.decision.gallery)], as_json)
        except KeyboardInterrupt:
            # The one way to end a follower is no failure of it.
            if not follow:
                raise


def _own_name() -> str:
    """A consumer name nobody else has: in containers, users, hosts and process ids are often all alike."""
    return f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"


def _read(results: Results, start: str, follow: bool) -> Iterator[list[Entry]]:
    # "now" becomes an id at once: asking for "$" again and again would skip what came between two requests.
    last = {"start": FROM_START, "now": ""}.get(start, start) or results.position()
    while True:
        try:
            page = results.after(last, limit=_PAGE, block_s=_BLOCK_S if follow else 0)
        except StateUnavailable as away:
            _pause(away, follow)
            continue
        if page:
            yield page
            last = page[-1].entry_id
        elif not follow:
            return


def _take(results: Results, group: str, consumer: str, start: str | None, follow: bool) -> Iterator[list[Entry]]:
    joined = False
    while True:
        try:
            if not joined:
                position = {"start": FROM_START, "now": "$", None: FROM_START}.get(start, start)
                results.join(group, position or FROM_START)
                joined = True
            page = results.take(group, consumer, limit=_PAGE, block_s=_BLOCK_S if follow else 0)
        except StateUnavailable as away:
            _pause(away, follow)
            continue
        if page:
            yield page
            # Printed and flushed by now. Should this fail, they are printed again, which loses nothing.
            _acknowledge(results, group, [entry.entry_id for entry in page])
        elif not follow:
            return


def _acknowledge(results: Results, group: str, entry_ids: Sequence[str]) -> None:
    try:
        results.acknowledge(group, entry_ids)
    except StateUnavailable as away:
        say(f"kith: {away}; {len(entry_ids)} decisions are not acknowledged and will come again")


def _pause(away: StateUnavailable, follow: bool) -> None:
    if not follow:
        raise away
    say(f"kith: {away}; trying again")
    time.sleep(_BLOCK_S)


def _show(entries: Sequence[Entry], as_json: bool) -> None:
    for entry in entries:
        if as_json:
            answer_json({"entry": entry.entry_id, **wire.to_dict(entry.decision)})
        else:
            published = time_of(entry.decision.published_ms or entry.decision.decided_ms)
            answer(f"{published}  {entry.decision.gallery}  {line_of(entry.decision)}")
