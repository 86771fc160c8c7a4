"""kith receipts: what was erased about somebody, and the proof that it says so rightly."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kith.cli.exits import Exit
from kith.cli.terminal import Json, answer, answer_json, say, settings_for
from kith.cli.wording import receipt_lines
from kith.client import Client
from kith.errors import Misconfigured, UnknownKey
from kith.keys import SIGNING
from kith.receipts import AlteredReceipt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Receipts of forgetting: verify.")
app.add_typer(_group, name="receipts", rich_help_panel="Galleries")


@_group.command()
def verify(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Receipts, JSON.", show_default=False)],
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="PEM", help="Public key of whoever issued them (default: this installation's)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether receipts are as they were signed, and what they say. Status 1 when one is not.

    \b
    kith receipts verify receipt.json                  signed by this installation?
    kith receipts verify *.json --key theirs.pem       by another, whose key they gave you (kith keys public)
    """
    # Here, because the library of signatures takes its time to load and hardly any command signs.
    from kith.receipts import from_text  # noqa: PLC0415
    from kith.receipts import verify as check  # noqa: PLC0415

    keys = _read_keys(key) if key else _own_keys(context)
    failed = 0
    for file in files:
        try:
            signed = from_text(_bytes(file))
            receipt = check(signed, *keys)
        except AlteredReceipt as fault:
            failed += 1
            if as_json:
                answer_json({"file": str(file), "valid": False, "reason": str(fault)})
            else:
                say(f"kith: {file}: {fault}")
            continue
        if as_json:
            answer_json({"file": str(file), "valid": True, "key_id": signed.key_id, **asdict(receipt)})
        else:
            answer(f"{file}: genuine, signed by key {signed.key_id}")
            for line in receipt_lines(receipt):
                answer(f"  {line}")
    if failed:
        raise typer.Exit(Exit.FAILED)


def _own_keys(context: typer.Context) -> list["Ed25519PublicKey"]:
    from kith.receipts import signing_key  # noqa: PLC0415

    with Client.open(settings_for(context)) as client:
        try:
            ring = client.keys.ring(SIGNING)
        except UnknownKey:
            raise Misconfigured(
                "this installation has signed no receipt; name the public key of the one that did with --key"
            ) from None
    return [signing_key(key).public_key() for key in ring.keys]


def _read_keys(files: list[Path]) -> list["Ed25519PublicKey"]:
    from kith.receipts import read_public_pem  # noqa: PLC0415

    return [read_public_pem(_bytes(file)) for file in files]


def _bytes(file: Path) -> bytes:
    try:
        return file.expanduser().read_bytes()
    except OSError as fault:
        raise typer.BadParameter(f"{file} cannot be read: {fault.strerror}") from None
