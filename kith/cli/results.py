"""kith results: decisions as they are published."""

from collections.abc import Sequence
from typing import Annotated

import typer

from kith import wire
from kith.cli.following import check, pages
from kith.cli.terminal import Json, answer, answer_json, client_for
from kith.cli.wording import line_of, time_of
from kith.results import Entry

app = typer.Typer()


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
    check(start, group, consumer)
    with client_for(context) as client:
        try:
            for page in pages(client.results, follow, group, consumer, start):
                _show([entry for entry in page if gallery in (None, entry.decision.gallery)], as_json)
        except KeyboardInterrupt:
            # The one way to end a follower is no failure of it.
            if not follow:
                raise


def _show(entries: Sequence[Entry], as_json: bool) -> None:
    for entry in entries:
        if as_json:
            answer_json({"entry": entry.entry_id, **wire.to_dict(entry.decision)})
        else:
            published = time_of(entry.decision.published_ms or entry.decision.decided_ms)
            answer(f"{published}  {entry.decision.gallery}  {line_of(entry.decision)}")
