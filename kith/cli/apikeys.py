"""kith apikeys: who may call over HTTP, what for, and in which galleries."""

import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kith.api_keys import ApiKey, Scope, issue, revoke, rotate
from kith.audit import Action, Deed, command_line_actor
from kith.cli.terminal import Json, answer, answer_json, answer_table, client_for, plain_table, say
from kith.cli.wording import time_of
from kith.jobs import now_ms

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API: create, list, rotate, revoke.")
app.add_typer(_group, name="apikeys", rich_help_panel="System")

_Key = Annotated[str, typer.Argument(metavar="ID", help="The key's id (kith apikeys list).", show_default=False)]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text} is not a time such as 90d, 12h, 30m or 0s")
    return float(int(found[1]) * _UNITS_S[found[2]])


@_group.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for the list.", show_default=False)],
    scope: Annotated[
        list[Scope],
        typer.Option("--scope", "-s", help="What it may do; several times for several.", show_default=False),
    ],
    gallery: Annotated[
        list[str] | None, typer.Option("--gallery", "-g", help="Only this gallery; several times for several.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Calls a second (default: the setting api.rate_per_s).")
    ] = None,
    expires: Annotated[
        Any, typer.Option(metavar="TIME", parser=_duration, help="It ends after this, such as 90d.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown once and kept nowhere; who has it may do what its scopes say.

    \b
    submit   hand in images to identify or verify, read what became of them
    read     decisions, events, people, strangers, cameras
    enrol    change who is in a gallery
    admin    all of that, and all else

    \b
    kith apikeys create door-3 --scope submit --gallery staff
    kith apikeys create desk --scope read --scope enrol --expires 90d
    """
    ends_ms = None if expires is None else now_ms() + round(expires * 1000)
    key, token = issue(
        name, tuple(dict.fromkeys(scope)), galleries=tuple(dict.fromkeys(gallery or ())), rate_per_s=rate,
        expires_ms=ends_ms,
    )  # fmt: skip
    with client_for(context) as client:
        client.api_keys.add(key)
        detail = {"key": key.key_id, "scopes": ",".join(key.scopes)}
        client.audit.record(Deed(command_line_actor(), Action.API_KEY_CREATED, detail=detail))
    _show_once(key, token, as_json)


@_group.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All keys, oldest first, never what is in them; with --json one line each."""
    with client_for(context) as client:
        keys = client.api_keys.all()
    if as_json:
        for key in keys:
            answer_json(plain_key(key))
        return
    table = plain_table("id", "name", "scopes", "galleries", "rate", "since", "state", right=("rate",))
    for key in keys:
        rate = "" if key.rate_per_s is None else f"{key.rate_per_s:g}/s"
        scopes, galleries = ", ".join(key.scopes), ", ".join(key.galleries) or "all"
        table.add_row(key.key_id, key.name, scopes, galleries, rate, time_of(key.created_ms), _state(key))
    answer_table(table)


@_group.command("rotate")
def rotate_(
    context: typer.Context,
    key_id: _Key,
    grace: Annotated[
        Any, typer.Option(metavar="TIME", parser=_duration, help="How long the former secret goes on (0s: not at all).")
    ] = "24h",
    as_json: Json = False,
) -> None:
    """Give a key another secret; scopes, galleries and its name in the audit log stay."""
    with client_for(context) as client:
        key, token = rotate(client.api_keys, key_id, grace)
        client.audit.record(Deed(command_line_actor(), Action.API_KEY_ROTATED, detail={"key": key_id}))
    _show_once(key, token, as_json)


@_group.command("revoke")
def revoke_(context: typer.Context, key_id: _Key, as_json: Json = False) -> None:
    """End a key for good; running servers stop to know it within api.key_cache_s."""
    with client_for(context) as client:
        key = revoke(client.api_keys, key_id)
        client.audit.record(Deed(command_line_actor(), Action.API_KEY_REVOKED, detail={"key": key_id}))
    if as_json:
        answer_json(plain_key(key))
    else:
        answer(f"key {key.key_id} ({key.name}) is revoked")


def plain_key(key: ApiKey) -> dict[str, Any]:
    """A key as plain JSON, without the hashes of its secrets."""
    return {
        **asdict(key),
        "secrets": [{"created_ms": each.created_ms, "until_ms": each.until_ms} for each in key.secrets],
    }


def _show_once(key: ApiKey, token: str, as_json: bool) -> None:
    if as_json:
        answer_json({**plain_key(key), "token": token})
        return
    say(f"key {key.key_id} ({key.name}): {', '.join(key.scopes)}; shown this once, kept nowhere:")
    answer(token)


def _state(key: ApiKey) -> str:
    if key.revoked_ms is not None:
        return f"revoked {time_of(key.revoked_ms)}"
    if not key.lives(now_ms()):
        return "expired"
    return "good" if key.expires_ms is None else f"until {time_of(key.expires_ms)}"
