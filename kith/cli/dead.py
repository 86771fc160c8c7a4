"""kith dead: jobs that will not be decided, each with its reason."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, answer_table, client_for, plain_table, say
from kith.cli.wording import time_of
from kith.client import Client
from kith.ledger import DeadLetter

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Dead letters, jobs that will not be decided: list, show, retry, drop.")
app.add_typer(_group, name="dead", rich_help_panel="System")

_Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of dead letters.", show_default=False)]
_All = Annotated[bool, typer.Option("--all", help="All dead letters.")]

#: Dead letters per request when all are meant.
_PAGE = 500


@_group.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Dead letters, newest first; with --json one line each."""
    with client_for(context) as client:
        letters = client.ledger.dead_letters(limit)
        count = client.ledger.dead_count()
    if as_json:
        for letter in letters:
            answer_json(_plain(letter))
        return
    table = plain_table("id", "lane", "buried", "reason")
    for letter in letters:
        table.add_row(letter.dead_id, letter.lane, time_of(letter.buried_ms), letter.reason)
    if letters:
        answer_table(table)
    say(f"{len(letters)} of {count} dead letters")


@_group.command()
def show(
    context: typer.Context,
    dead_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    as_json: Json = False,
) -> None:
    """One dead letter with the job as it came."""
    with client_for(context) as client:
        letter = client.ledger.dead_letter(dead_id)
    if letter is None:
        say(f"kith: there is no dead letter {dead_id}")
        raise typer.Exit(Exit.FAILED)
    if as_json:
        answer_json(_plain(letter))
        return
    answer(f"{letter.dead_id}  {letter.reason}")
    answer(f"lane {letter.lane}, buried {time_of(letter.buried_ms)} by {letter.worker or 'nobody on record'}")
    job = _plain(letter)["job"]
    answer(json.dumps(job, indent=2, ensure_ascii=False) if isinstance(job, dict) else str(job))


@_group.command()
def retry(context: typer.Context, ids: _Ids = None, every: _All = False, as_json: Json = False) -> None:
    """Open the jobs again, with fresh counters; mend the cause first."""
    with client_for(context) as client:
        wanted = _wanted(client, ids, every)
        done = {dead_id: client.ledger.revive(dead_id) for dead_id in wanted}
    _report(done, "retried", as_json)


@_group.command()
def drop(context: typer.Context, ids: _Ids = None, every: _All = False, as_json: Json = False) -> None:
    """Delete dead letters for good."""
    with client_for(context) as client:
        wanted = _wanted(client, ids, every)
        done = {dead_id: client.ledger.drop(dead_id) for dead_id in wanted}
    _report(done, "dropped", as_json)


def _wanted(client: Client, ids: list[str] | None, every: bool) -> list[str]:
    if bool(ids) == every:
        raise typer.BadParameter("name dead letters by their ids, or all of them by --all")
    if ids:
        return ids
    # Read to the end before any is touched: pages would shift under our feet.
    found: list[str] = []
    while page := client.ledger.dead_letters(_PAGE, len(found)):
        found += [letter.dead_id for letter in page]
    return found


def _report(done: dict[str, bool], verb: str, as_json: bool) -> None:
    missing = [dead_id for dead_id, found in done.items() if not found]
    if as_json:
        answer_json({verb: len(done) - len(missing), "missing": missing})
    else:
        answer(f"{len(done) - len(missing)} {verb}")
    for dead_id in missing:
        say(f"kith: there is no dead letter {dead_id}")
    if missing:
        raise typer.Exit(Exit.FAILED)


def _plain(letter: DeadLetter) -> dict[str, Any]:
    """The letter with its job as JSON where the payload can be read, as the bare text it came as otherwise."""
    try:
        job = json.loads(letter.payload)
    except ValueError:
        job = letter.payload
    plain = asdict(letter)
    del plain["payload"]
    return {**plain, "job": job}
