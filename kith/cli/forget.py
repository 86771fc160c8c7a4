"""kith forget: erase a person everywhere, with a signed receipt; and look whether anything is left."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kith.cli.exits import Exit
from kith.cli.terminal import Gallery, Json, answer, answer_json, client_for, say
from kith.cli.wording import receipt_lines
from kith.client import Client

if TYPE_CHECKING:
    from kith.receipts import SignedReceipt

app = typer.Typer()


@app.command(rich_help_panel="Galleries")
def forget(
    context: typer.Context,
    subject: Annotated[str | None, typer.Argument(metavar="SUBJECT", help="The person's name.")] = None,
    gallery: Gallery = None,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Where the receipt goes (default: home/receipts).")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="RECEIPT", help="Look whether anything is left; status 1 if so.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="With --check: a name to look for within longer texts too.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a person: vectors, journal, pictures, decisions, jobs, dead letters, samples, workers' copies. No way back.

    \b
    kith forget "Ada Lovelace" -g staff              asks, erases, and writes a signed receipt
    kith forget "Ada Lovelace" -g staff              interrupted, the same again goes on
    kith forget --check home/receipts/….json         is anything left?

    The receipt names nobody. It lists what was erased, which workers confirmed, and what Kith cannot reach.
    """
    if (subject is None) == (check is None):
        raise typer.BadParameter("name a SUBJECT to forget, or a receipt to --check")
    with client_for(context) as client:
        if check is not None:
            _check(client, check, tuple(name or ()), as_json)
            return
        assert subject is not None
        where = gallery or client.settings.gallery.default
        if not yes:
            _ask(where, subject)
        saved: list[Path] = []

        def keep(signed: "SignedReceipt") -> None:
            saved.append(_save(client, signed, receipt))

        signed = client.forget(subject, gallery=where, save=keep)
    if as_json:
        answer_json({"file": str(saved[0]), "key_id": signed.key_id, **asdict(signed.receipt)})
        return
    for line in receipt_lines(signed.receipt):
        answer(line)
    answer(f"receipt: {saved[0]}")


def _ask(gallery: str, subject: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; add --yes")
    if not typer.confirm(f"Forget {subject} of gallery {gallery}, with everything that tells of it?", err=True):
        say("nothing was changed")
        raise typer.Exit(Exit.FAILED)


def _save(client: Client, signed: "SignedReceipt", file: Path | None) -> Path:
    from kith.receipts import save  # noqa: PLC0415 (as in kith.cli.receipts)

    if file is None:
        folder = client.settings.home.expanduser() / "receipts"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / f"{signed.receipt.gallery}-{signed.receipt.sequence}-{signed.receipt.subject_id}.json"
    save(signed, file)
    return file


def _check(client: Client, file: Path, names: tuple[str, ...], as_json: bool) -> None:
    from kith.receipts import from_text  # noqa: PLC0415 (as in kith.cli.receipts)

    try:
        signed = from_text(file.expanduser().read_bytes())
    except OSError as fault:
        raise typer.BadParameter(f"{file} cannot be read: {fault.strerror}") from None
    left = 0
    for each in client.check_forgotten(signed, names):
        left += 1
        if as_json:
            answer_json(asdict(each))
        else:
            answer(f"left: {each.what} in {each.where}")
    if left:
        raise typer.Exit(Exit.FAILED)
    if not as_json:
        answer("nothing is left in Redis, the image store and the workers' copies")
        for beyond in signed.receipt.beyond:
            answer(f"  not looked at: {beyond}")
