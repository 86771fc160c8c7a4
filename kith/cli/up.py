"""kith up: the whole system on this machine."""

import os
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from kith.api_keys import Scope, issue
from kith.audit import Action, Deed, command_line_actor
from kith.checkpoints import Pack, load_pack
from kith.cli.running import Ended, ending_raises, running
from kith.cli.terminal import Json, answer, answer_json, globals_of, say
from kith.client import Client
from kith.errors import Misconfigured
from kith.installation import names_redis
from kith.packs.shipped import default_pack, resolve_pack
from kith.settings import Settings, load
from kith.stack import Stack, local_settings

app = typer.Typer()


@app.command(rich_help_panel="System")
def up(
    context: typer.Context,
    embed: Annotated[int, typer.Option(min=1, help="Embed workers: they find, embed and compare faces.")] = 1,
    publish: Annotated[int, typer.Option(min=1, help="Publish workers.")] = 1,
    home: Annotated[Path | None, typer.Option("--home", help="Where everything is kept (default ~/.kith).")] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            "--pack", help="Model pack, a folder or a name (default: the setting model.pack, else kith-small)."
        ),
    ] = None,
    api: Annotated[
        bool, typer.Option("--api/--no-api", help="Open the HTTP door (settings api.host, api.port) as well.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Run Valkey, the image store, the workers and the HTTP door on this machine until Ctrl-C.

    \b
    kith up
    kith up --embed 2 --pack packs/mobilefacenet
    kith up --home /tmp/try            then, elsewhere: kith --home /tmp/try status

    The first time, a key for the HTTP door is made and shown; `kith apikeys` makes others. What is stored stays in the
    home and is there again the next time. With --json, each event is a line: "up" with all that runs, "notice" for
    what happens to it, "stopped".
    """

    def tell(line: str) -> None:
        if as_json:
            answer_json({"event": "notice", "text": line})
        else:
            say(f"kith: {line}")

    given = globals_of(context)
    settings = load(given.config)
    if home is None and given.home is None and names_redis(given.config):
        tell("`kith up` runs a Redis of its own; the other commands talk to the one you named (redis.url)")
    settings = with_pack(local_settings(settings, home or given.home), pack)
    if api and find_spec("fastapi") is None:
        tell("the HTTP door stays shut: it needs the extra api (pip install 'kith[api]')")
        api = False
    stack = Stack(settings, embed=embed, publish=publish, api=api, notify=tell)
    try:
        with ending_raises():
            # Before anything starts: a fault of the pack is told at once, not by a worker's log.
            model = pack_of(settings)
            with running(stack):
                _announce(stack, model, first_key(settings) if api else None, as_json)
                # Woken by the signal: Ended is raised here.
                threading.Event().wait()
    except Ended:
        if as_json:
            answer_json({"event": "stopped"})
        else:
            answer("stopped; what was accepted is kept")


def with_pack(settings: Settings, pack: Path | None) -> Settings:
    """`settings` with the folder of the model pack to use: `pack`, else the configured one, each by its path or its
    name; else the pack that ships with Kith, else the development weights beside the checkout. Raises Misconfigured
    when there is none."""
    named = pack or settings.model.pack
    found = default_pack() or development_weights() if named is None else resolve_pack(named, settings.home)
    if found is None:
        raise Misconfigured(
            "no model pack is named; give one with --pack DIR, KITH_MODEL__PACK or model.pack in the configuration"
        )
    chosen = settings.model.model_copy(update={"pack": found.expanduser().resolve()})
    return settings.model_copy(update={"model": chosen})


def pack_of(settings: Settings) -> Pack:
    """The pack of settings made by `with_pack`, every file checked. Raises InvalidPack."""
    assert settings.model.pack is not None
    return load_pack(settings.model.pack)


def licence_of(pack: Pack) -> str:
    """Whose model it is and on what terms, in a line: weights have terms of their own."""
    return " ".join(f"{pack.manifest.name}, licence: {pack.manifest.licence}".split())


def development_data() -> Path | None:
    """KITH_SHARED_DATA, else `shared/data` beside the checkout this package was imported from, where there is one."""
    named = os.environ.get("KITH_SHARED_DATA")
    data = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    return data if data.is_dir() else None


def development_weights() -> Path | None:
    """The weights in it."""
    data = development_data()
    return data / "weights" if data is not None and (data / "weights").is_dir() else None


def first_key(settings: Settings) -> str | None:
    """The token of a key that may do everything, made where there is none at all; else None."""
    with Client.open(settings) as client:
        if client.api_keys.all():
            return None
        key, token = issue("first", (Scope.ADMIN,))
        client.api_keys.add(key)
        detail = {"key": key.key_id, "scopes": ",".join(key.scopes)}
        client.audit.record(Deed(command_line_actor(), Action.API_KEY_CREATED, detail=detail))
    return token


def _announce(stack: Stack, model: Pack, token: str | None, as_json: bool) -> None:
    settings = stack.settings
    url = settings.redis.url.get_secret_value()
    server = stack.valkey.pid if stack.valkey else None
    if as_json:
        manifest = model.manifest
        event: dict[str, Any] = {
            "event": "up",
            "home": str(settings.home),
            "valkey": {"pid": server, "url": url},
            "images": str(settings.store.directory),
            "api": {"url": stack.url, "first_key": token},
            "model": {
                "name": manifest.name,
                "model_id": model.model_id,
                "licence": manifest.licence,
                "pack": str(model.path),
            },
            "workers": [
                {"name": name, "pid": pid, "log": str(stack.log_of(name))} for name, pid in stack.pids().items()
            ],
            "metrics": {name: f"http://{at}/metrics" for name in stack.pids() if (at := stack.metrics_of(name))},
        }
        answer_json(event)
        return
    answer(f"Kith is up in {settings.home}")
    answer(f"  valkey     pid {server}, {url}")
    answer(f"  images     {settings.store.directory}")
    answer(f"  model      {licence_of(model)}")
    answer(f"  pack       {model.path}")
    if stack.url is not None:
        answer(f"  pages      {stack.url}/ (sign in with a key)")
        answer(f"  api        {stack.url}/v1, described at {stack.url}/openapi.json")
        if token is not None:
            answer(f"  key        {token} (shown this once; kith apikeys makes others)")
    for name, pid in stack.pids().items():
        at = stack.metrics_of(name)
        answer(f"  {name:<10} pid {pid}, log {stack.log_of(name)}" + (f", http://{at}/metrics" if at else ""))
    answer("Try `kith status` in another terminal. Ctrl-C ends it.")
