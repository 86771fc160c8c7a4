"""python -m producers.rehearsal (make demo-camera): cameras shown on people who walk past them, in about a minute.

A real RTSP server plays clips that are drawn here; everything else is as in service: the camera process, the workers,
the watcher. In a home that is thrown away.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from kith.checkpoints import Pack
from kith.cli.exits import Exit, exit_of
from kith.cli.running import Ended, ending_raises, running
from kith.cli.up import development_data, licence_of, pack_of, with_pack
from kith.client import Client
from kith.demo.screen import Screen
from kith.detector import open_detector
from kith.errors import KithError, Misconfigured
from kith.settings import Broker, Settings, load
from kith.stack import Stack, local_settings
from producers.rehearsal.casting import Cast, own, shared, synthetic
from producers.rehearsal.performance import GAP_S, Performance, first_act, second_act, write_clips
from producers.rehearsal.rtsp_server import RtspServer, require_rtsp_server
from producers.rehearsal.scene import Scene


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    options = _options(argv)
    try:
        require_rtsp_server()
        with ending_raises(), tempfile.TemporaryDirectory(prefix="kith-demo-", ignore_cleanup_errors=True) as home:
            _show(options, Path(home), Screen())
    except Ended as ended:
        _complain("the demo was stopped; its workers, its servers and its files are gone")
        return ended.status
    except KithError as wrong:
        _complain(str(wrong))
        return exit_of(wrong)
    return Exit.OK


def _show(options: argparse.Namespace, home: Path, screen: Screen) -> None:
    settings = _settings(with_pack(load(), options.pack), home)
    pack = pack_of(settings)
    cast = _cast(options.faces, pack, home / "people", screen)
    screen.say(f"Kith at cameras, on {cast.origin}", "bold")
    screen.say(f"with the model {licence_of(pack)}")
    began_s = time.monotonic()
    clips = home / "clips"
    clips.mkdir()
    acts = first_act(cast), second_act(cast)
    with screen.busy("drawing the clips that the RTSP server plays …"):
        for act in acts:
            write_clips(clips, act)
    with ExitStack() as held:
        server = held.enter_context(RtspServer(clips))
        with screen.busy("starting Valkey, workers for embedding, publishing, upkeep and watching …"):
            held.enter_context(running(Stack(settings, notify=_complain)))
            client = held.enter_context(Client.open(settings))
        _perform(Performance(client, cast, server, screen), acts, screen)
        with screen.busy("stopping …"):
            held.close()
    screen.say(f"Done in {time.monotonic() - began_s:.0f} s; no process and no file is left.", "bold")


def _perform(performance: Performance, acts: Sequence[Mapping[str, Scene]], screen: Screen) -> None:
    performance.enrol()
    screen.say(f"a visit ends {GAP_S:g} s after the last sight here, a minute after it as installed (watch.gap_s)")
    performance.play(acts[0])
    number = performance.stranger()
    if number is None:
        screen.say("No crop of the stranger was good enough for a number: two of quality have to agree.")
    else:
        performance.name(number)
    performance.play(acts[1])
    performance.until_gone()
    performance.summary()


def _cast(faces: Path | None, pack: Pack, people: Path, screen: Screen) -> Cast:
    """The people named, else those of the development data, else synthetic ones."""
    data = development_data()
    if faces is None and data is not None and (data / "faces" / "manifest.csv").is_file():
        return shared(data / "faces")
    detector = open_detector(pack)
    if detector is None:
        raise Misconfigured(f"the model pack {pack.path} has no detector; cameras need one")
    with screen.busy("looking for people to show …"):
        return own(faces, detector) if faces is not None else synthetic(people, detector)


def _settings(settings: Settings, home: Path) -> Settings:
    """A stack of its own in every part: a broker somebody named is not the demo's to fill."""
    watch = settings.watch.model_copy(update={"gap_s": GAP_S})
    return local_settings(settings.model_copy(update={"broker": Broker(), "watch": watch}), home)


def _complain(text: str) -> None:
    sys.stderr.write(f"kith: {text}\n")
    sys.stderr.flush()


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m producers.rehearsal", description="Show Kith at cameras.")
    parser.add_argument("--faces", type=_folder, metavar="DIR", help="your own people: a folder SUBJECT/IMAGE.jpg")
    parser.add_argument("--pack", type=Path, metavar="PACK", help="model pack (default: as for kith up)")
    return parser.parse_args(argv)


def _folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return folder


if __name__ == "__main__":
    sys.exit(main())
