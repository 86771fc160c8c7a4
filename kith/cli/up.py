"""kith up: the whole system on this machine."""

import os
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from kith.checkpoints import Pack, load_pack
from kith.cli.running import Ended, ending_raises, running
from kith.cli.terminal import Json, answer, answer_json, globals_of, say
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
    as_json: Json = False,
) -> None:
    """Run Valkey, the image store and the workers on this machine until Ctrl-C.

    \b
    kith up
    kith up --embed 2 --pack packs/mobilefacenet
    kith up --home /tmp/try            then, elsewhere: kith --home /tmp/try status

    What is stored stays in the home and is there again the next time. With --json, each event is a line: "up" with
    all that runs, "notice" for what happens to it, "stopped".
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
    stack = Stack(settings, embed=embed, publish=publish, notify=tell)
    try:
        with ending_raises():
            # Before anything starts: a fault of the pack is told at once, not by a worker's log.
            model = pack_of(settings)
            with running(stack):
                _announce(stack, model, as_json)
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


def _announce(stack: Stack, model: Pack, as_json: bool) -> None:
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
            "model": {
                "name": manifest.name,
                "model_id": model.model_id,
                "licence": manifest.licence,
                "pack": str(model.path),
            },
            "workers": [
                {"name": name, "pid": pid, "log": str(stack.log_of(name))} for name, pid in stack.pids().items()
            ],
        }
        answer_json(event)
        return
    answer(f"Kith is up in {settings.home}")
    answer(f"  valkey     pid {server}, {url}")
    answer(f"  images     {settings.store.directory}")
    answer(f"  model      {licence_of(model)}")
    answer(f"  pack       {model.path}")
    for name, pid in stack.pids().items():
        answer(f"  {name:<10} pid {pid}, log {stack.log_of(name)}")
    answer("Try `kith status` in another terminal. Ctrl-C ends it.")
