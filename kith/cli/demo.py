"""kith demo: the whole system on real faces, in a minute, in a home that is thrown away."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kith.cli.running import Ended, ending_raises, running
from kith.cli.terminal import content_of, folder, say, settings_for
from kith.cli.up import development_data, licence_of, pack_of, with_pack
from kith.client import Client
from kith.demo.cast import Cast, from_folder, from_shared
from kith.demo.play import Play
from kith.demo.screen import Screen
from kith.settings import Broker, Settings
from kith.stack import Stack, local_settings

app = typer.Typer()

#: Synthetic people where there are no others, and pictures of each: half are enrolled, as with a folder of one's own.
_SUBJECTS, _IMAGES = 50, 6


@app.command(rich_help_panel="System")
def demo(
    context: typer.Context,
    faces: Annotated[
        Path | None,
        typer.Option("--faces", metavar="DIR", parser=folder, help="Your own people: a folder SUBJECT/IMAGE.jpg."),
    ] = None,
    pack: Annotated[Path | None, typer.Option("--pack", help="Model pack (default: as for kith up).")] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="FACES holds 112×112 aligned crops.")] = False,
) -> None:
    """Enrol people, recognise them, meet strangers, and enrol one more while everything runs.

    \b
    kith demo                    on the development faces beside the checkout, else on synthetic people
    kith demo --faces my-people  on your own: half of each person's pictures are enrolled, the rest asked about

    Starts a real Valkey server and real workers in a temporary home, and leaves nothing behind.
    """
    cast = _cast(faces)
    settings = settings_for(context)
    screen = Screen()
    try:
        with (
            ending_raises(),
            tempfile.TemporaryDirectory(prefix="kith-demo-", ignore_cleanup_errors=True) as home,
        ):
            # First the pack: one that is named lies in the person's home, not in the one that is thrown away.
            settings = _settings(with_pack(settings, pack), Path(home))
            if cast is None:
                cast = _synthetic(Path(home) / "people", aligned, screen)
            screen.say(f"Kith on the faces of {cast.origin}", "bold")
            screen.say(f"with the model {licence_of(pack_of(settings))}")
            _play(Stack(settings, notify=lambda line: say(f"kith: {line}")), cast, screen, aligned)
    except Ended as ended:
        say("kith: the demo was stopped; its workers, its server and its files are gone")
        raise typer.Exit(ended.status) from None


def _play(stack: Stack, cast: Cast, screen: Screen, aligned: bool) -> None:
    began_s = time.monotonic()
    with ExitStack() as held:
        with screen.busy("starting Valkey, workers for embedding, publishing, upkeep and watching …"):
            held.enter_context(running(stack))
            client = held.enter_context(Client.open(stack.settings))
        _introduce(stack, client, screen, time.monotonic() - began_s)
        play = Play(client, cast, screen, content_of(aligned))
        enrolled = play.enrol()
        tally = play.ask()
        play.summary(enrolled, tally)
        if cast.newcomer is None:
            screen.say("Nobody is left to come in as a newcomer: that takes a second subject with two pictures.")
        else:
            before = stack.pids("embed")
            play.newcomer(cast.newcomer)
            if stack.pids("embed") == before:
                screen.say(f"No retraining, no restart: the worker is process {before['embed-1']}, as at the start.")
        with screen.busy("stopping …"):
            held.close()
    screen.say(f"Done in {time.monotonic() - began_s:.0f} s; no process and no file is left.", "bold")


def _introduce(stack: Stack, client: Client, screen: Screen, took_s: float) -> None:
    embed = next(beat for beat in client.ledger.workers() if beat.role == "embed")
    screen.say(
        f"up in {took_s:.1f} s: {embed.model_name} ({embed.model_id}) on {embed.runtime}, batches of "
        f"{embed.batch_size}; Valkey is process {stack.valkey.pid if stack.valkey else None}, the worker {embed.pid}"
    )


def _cast(faces: Path | None) -> Cast | None:
    """The people named, else those of the development data; None where there is neither."""
    if faces is not None:
        return from_folder(faces)
    data = development_data()
    if data is None or not (data / "faces" / "gallery.csv").is_file():
        return None
    return from_shared(data / "faces")


def _synthetic(directory: Path, aligned: bool, screen: Screen) -> Cast:
    """People nobody has to be asked about, made for this performance."""
    from kith.synthetic.album import write  # noqa: PLC0415
    from kith.synthetic.model import load as load_model  # noqa: PLC0415
    from kith.synthetic.people import People  # noqa: PLC0415

    with screen.busy(f"making {_SUBJECTS} synthetic people …"):
        write(People(load_model()), directory, _SUBJECTS, _IMAGES, aligned)
    cast = from_folder(directory)
    origin = f"{_SUBJECTS} synthetic people: nobody is shown (your own: make demo FACES=DIR, kith demo --faces DIR)"
    return replace(cast, origin=origin)


def _settings(settings: Settings, home: Path) -> Settings:
    """A stack of its own in every part: a broker somebody named is not the demo's to fill."""
    return local_settings(settings.model_copy(update={"broker": Broker()}), home)
