"""kith forget: erase a person everywhere, with a signed receipt; and look whether anything is left."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kith.cli.exits import Exit
from kith.cli.previewing import show_effect
from kith.cli.recent import HOURS, Hours, Preview
from kith.cli.terminal import Gallery, Json, answer, answer_json, client_for, say
from kith.cli.wording import receipt_lines
from kith.client import Client
from kith.proposed_changes import forgotten

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
    preview: Preview = False,
    hours: Hours = HOURS,
    as_json: Json = False,
) -> None:
    """Erase a person: vectors, journal, pictures, decisions, events, jobs, dead letters, samples, copies. No way back.

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
        if preview:
            ids = client.galleries.forgettable(where, subject)
            show_effect(client, where, lambda now: forgotten(now, subject, ids), hours, as_json=as_json)
            return
        folder = receipt_folder(client, receipt)
        if not yes:
            _ask(where, subject)
        saved: list[Path] = []

        def keep(signed: "SignedReceipt") -> None:
            saved.append(save_receipt(signed, receipt or folder / receipt_name(signed)))

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


def receipt_folder(client: Client, receipt: Path | None) -> Path:
    """Where the receipt goes; found out before anything is erased, for there is no other proof."""
    folder = client.settings.home.expanduser() / "receipts" if receipt is None else receipt.parent
    if receipt is None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif receipt.is_dir() or not folder.is_dir():
        raise typer.BadParameter(f"--receipt {receipt} is a folder, or is in none that is there; name a file in one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"the receipt cannot be written to {folder}; name another place by --receipt")
    return folder


def receipt_name(signed: "SignedReceipt") -> str:
    """What its file is called: by nobody's name."""
    about = signed.receipt
    return f"{about.gallery}-{about.sequence}-{about.subject_id or about.epoch}.json"


def save_receipt(signed: "SignedReceipt", file: Path) -> Path:
    """Write it; where it is."""
    from kith.receipts import save  # noqa: PLC0415 (as in kith.cli.receipts)

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
