"""kith keys: what the templates of galleries are sealed by, and what receipts are signed by."""

from typing import Annotated

import typer

from kith.audit import command_line_actor
from kith.cli.asking import ask_for_name
from kith.cli.terminal import Json, answer, answer_json, answer_table, client_for, plain_table, say, settings_for
from kith.cli.wording import time_of
from kith.client import Client
from kith.custody import destroy as destroy_keys
from kith.custody import rotate as rotate_key
from kith.errors import KithError, StateUnavailable
from kith.jobs import now_ms
from kith.keys import SIGNING, KeyRing
from kith.names import gallery_name
from kith.watching.news import Resealed

app = typer.Typer()
_group = typer.Typer(
    no_args_is_help=True, help="Keys that seal galleries and sign receipts: list, rotate, destroy, public."
)
app.add_typer(_group, name="keys", rich_help_panel="Galleries")

_Gallery = Annotated[str, typer.Argument(metavar="GALLERY", help="The gallery's name.", show_default=False)]


@_group.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """The keys of all galleries, never what is in them; with --json one line each.

    Keys that cannot be read have a line that says why.
    """
    # Not client_for: keys are there whether or not anything runs.
    with Client.open(settings_for(context)) as client:
        rings = {name: _ring(client, name) for name in client.keys.galleries()}
    if as_json:
        for name, ring in rings.items():
            if isinstance(ring, KithError):
                answer_json({"gallery": name, "keys": [], "error": ring.reason})
            else:
                keys = [{"id": key.key_id.hex(), "created_ms": key.created_ms or None} for key in ring.keys]
                answer_json({"gallery": name, "keys": keys})
        return
    table = plain_table("gallery", "key", "since", "use")
    for name, ring in rings.items():
        if isinstance(ring, KithError):
            table.add_row(name, "unreadable", "", str(ring))
            continue
        for key in ring.keys:
            use = "seals and opens" if key is ring.newest else "opens"
            since = time_of(key.created_ms) if key.created_ms else "unknown"
            table.add_row(name, key.key_id.hex(), since, use)
    answer_table(table)


@_group.command()
def rotate(
    context: typer.Context,
    gallery: _Gallery,
    reseal: Annotated[
        bool, typer.Option("--reseal", help="Seal everything anew by it and destroy the older ones.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a new key, which seals from now on. The old ones stay and open what they sealed, unless --reseal."""
    gallery = gallery_name(gallery)
    with client_for(context) as client:

        def anew(ring: KeyRing) -> None:
            count = client.galleries.reseal(gallery, ring, client.keys)
            say(f"{count:,} templates sealed anew")
            if not client.strangers.desk.ask(gallery, Resealed(now_ms())):
                # The older keys stay meanwhile: what the watcher keeps is still sealed by them.
                raise StateUnavailable("the watcher has not sealed anew yet what it keeps; run the same command again")

        by = command_line_actor()
        ring = rotate_key(client.keys, client.audit, gallery, by, anew if reseal else None)
    key_id = ring.newest.key_id.hex()
    if as_json:
        answer_json({"gallery": gallery, "key": key_id, "older": ring.key_ids[:-1]})
    else:
        answer(f"gallery {gallery} is sealed by key {key_id} from now on; older keys kept: {len(ring.keys) - 1}")


@_group.command()
def destroy(
    context: typer.Context,
    gallery: _Gallery,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Destroy all keys of a gallery: nobody can read its templates any more, here or in any backup. No way back.

    A copy you made of the keys opens them still. Workers that have the gallery in memory know it until they end; kith
    gallery forget has them let it go, and erases all that tells of it too.
    """
    gallery = gallery_name(gallery)
    with client_for(context) as client:
        client.keys.check_changeable(gallery)
        if not yes:
            what = f"All templates of gallery {gallery} become unreadable for ever, in every backup too."
            ask_for_name(gallery, what)
        key_ids = destroy_keys(client.keys, client.audit, gallery, command_line_actor())
        for camera in client.cameras.all():
            # Whoever it sees could be compared with nobody.
            if camera.gallery == gallery and not camera.paused:
                client.cameras.pause(camera.name, f"the keys of gallery {gallery} were destroyed")
    if as_json:
        answer_json({"gallery": gallery, "destroyed": key_ids})
    else:
        answer(f"the keys of gallery {gallery} are destroyed ({', '.join(key_ids) or 'they could not be read'})")


@_group.command()
def public(context: typer.Context, as_json: Json = False) -> None:
    """The public keys by which receipts of forgetting are checked, in PEM, newest last. Hand them out.

    \b
    kith keys public > kith.pem
    kith receipts verify receipt.json --key kith.pem     anywhere else
    """
    from kith.receipts import key_id_of, public_pem, signing_key  # noqa: PLC0415 (as in kith.cli.receipts)

    with Client.open(settings_for(context)) as client:
        keys = [signing_key(key).public_key() for key in client.keys.create(SIGNING).keys]
    for key in keys:
        if as_json:
            answer_json({"key_id": key_id_of(key), "pem": public_pem(key)})
        else:
            answer(public_pem(key).rstrip())


def _ring(client: Client, name: str) -> KeyRing | KithError:
    try:
        return client.keys.ring(name)
    except KithError as why:
        # One that is damaged, or whose service is away, must not hide the others.
        return why
