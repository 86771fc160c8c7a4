"""kith audit: who did what to which gallery."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from kith.audit import Action, AuditEntry, AuditLog, Head, Where
from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, client_for, say
from kith.cli.wording import time_of
from kith.client import Client
from kith.errors import StateUnavailable

app = typer.Typer()
_group = typer.Typer(invoke_without_command=True)
app.add_typer(_group, name="audit", rich_help_panel="Galleries")

#: How long one request waits for news; between two of them a signal gets through.
_BLOCK_S = 1.0


@_group.callback()
def audit(
    context: typer.Context,
    gallery: Annotated[str | None, typer.Option("--gallery", "-g", help="Of this gallery only.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Of this subject only: the id, or the name of somebody enrolled.")
    ] = None,
    action: Annotated[Action | None, typer.Option("--action", help="Of this kind only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    after: Annotated[
        int | None, typer.Option("--after", min=0, metavar="NUMBER", help="All after this entry; 0 for all there are.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from then on.")] = False,
    as_json: Json = False,
) -> None:
    """Who did what to which gallery, oldest first, one line each.

    \b
    kith audit                             the newest 100 entries
    kith audit --subject "Ada Lovelace"    all that was done to her
    kith audit --action looked --follow    from now on
    kith audit --json --after 4711         what came after that entry
    kith audit verify                      is the log as it was written?

    Entries name people by id: they outlive whoever is forgotten, and say nothing about them.
    """
    if context.invoked_subcommand is not None:
        return
    with client_for(context) as client:
        where = Where(gallery, _subject_id(client, gallery, subject), action)
        try:
            for entries in _pages(client.audit, where, limit, after, follow):
                _show(entries, as_json)
        except KeyboardInterrupt:
            # The one way to end a follower is no failure of it.
            if not follow:
                raise


@_group.command()
def verify(
    context: typer.Context,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NUMBER:DIGEST", help="An end that this command printed before."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the whole log: is every entry as it was written, is none missing? Status 1 when not.

    Keep the end it prints where whoever administers Redis cannot reach it. Against it, --against, a log shows that was
    written anew from beginning to end. An end that was cut off by age since proves nothing, which is status 1 too: keep
    a new one more often than security.audit_keep_s.
    """
    kept = None
    if against is not None:
        number, _, digest = against.partition(":")
        if not re.fullmatch(r"\d{1,18}", number) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise typer.BadParameter("--against takes NUMBER:DIGEST as this command prints it")
        kept = Head(int(number), digest)
    with client_for(context) as client:
        verdict = client.audit.verify(kept)
    if as_json:
        answer_json({"intact": verdict.broken is None and verdict.compared is not False, **asdict(verdict)})
    elif verdict.broken is None:
        trimmed = f"; {verdict.anchor.number} before them were cut off by age" if verdict.anchor.number else ""
        answer(f"all {verdict.checked} entries are as they were written{trimmed}")
        if kept is not None and not verdict.compared:
            say(
                f"kith: entry {kept.number}, to be compared with, was cut off, so nothing says that this is the log it "
                "was in; keep the new end"
            )
        answer(f"the end: {verdict.head}")
    else:
        answer(f"entry {verdict.broken} is wrong: {verdict.why}; {verdict.checked} before it are as they were written")
    if verdict.broken is not None or verdict.compared is False:
        raise typer.Exit(Exit.FAILED)


def _subject_id(client: Client, gallery: str | None, subject: str | None) -> str | None:
    if subject is None or re.fullmatch(r"[0-9a-f]{16}", subject):
        return subject
    return client.galleries.show(gallery or client.settings.gallery.default, subject).subject_id


def _pages(log: AuditLog, where: Where, limit: int, after: int | None, follow: bool) -> Iterator[Sequence[AuditEntry]]:
    if after is None and not follow:
        yield log.latest(limit, where)
        return
    cursor = log.head().number if after is None else after
    while True:
        try:
            page = log.page(cursor, where=where, block_s=_BLOCK_S if follow else 0.0)
        except StateUnavailable as away:
            if not follow:
                raise
            say(f"kith: {away}; trying again")
            time.sleep(_BLOCK_S)
            continue
        cursor = page.cursor
        yield page.entries
        if not page.more and not follow:
            return


def _show(entries: Sequence[AuditEntry], as_json: bool) -> None:
    for entry in entries:
        deed = entry.deed
        if as_json:
            plain = {**asdict(deed), "detail": dict(deed.detail)}
            answer_json({"number": entry.number, "at_ms": entry.at_ms, **plain, "digest": entry.digest})
            continue
        parts = [time_of(entry.at_ms), str(entry.number), deed.actor, deed.action.replace("_", " ")]
        parts += [part for part in (deed.gallery, deed.subject_id) if part]
        parts += [f"change {deed.sequence}"] if deed.sequence is not None else []
        parts += [f"{name}={value}" for name, value in deed.detail.items()]
        answer("  ".join(parts))
