"""A hot folder: images that appear in it are submitted, for as long as this process runs.

    python -m producers.folder DIR [--gallery G] [--lane L] [--enrol] [--aligned] [--every 1.0]

A file is taken once two looks in a row find the same size and time of change: a camera or a copy that is still writing
is let finish. What was submitted is on record (kith.submission), so a restart neither repeats nor forgets, and a file
that arrives while nobody looks is found at the next start.
"""

import argparse
import logging
import math
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from kith.bulk import Bulk
from kith.client import Client
from kith.errors import KithError, Misconfigured, Retryable
from kith.folder import Image
from kith.installation import check_running, settings_of
from kith.jobs import Content, Kind, Lane
from kith.settings import Settings

_log = logging.getLogger("kith.folder")

#: Exit status for a configuration that cannot work (EX_CONFIG), as of the workers.
_BAD_CONFIGURATION = 78
_UNAVAILABLE = 69


class HotFolder:
    """Looks, waits, looks again. `tell` gets a line about every hand-over and every file that is refused."""

    def __init__(self, bulk: Bulk, every_s: float, tell: Callable[[str], None] = _log.warning) -> None:
        self._bulk = bulk
        self._every_s = every_s
        self._tell = tell
        self._last_look: set[Image] = set()
        self._refused: set[Image] = set()
        self._told: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; the batch in hand is finished. A part that is away is waited for, however long."""
        while not stop.is_set():
            try:
                self.look()
            except Retryable as away:
                # Stored credentials, a full Redis: what no patience in Bulk covers, and people mend in their own time.
                self._tell(f"{away.reason}; trying again")
            stop.wait(self._every_s)

    def look(self) -> int:
        """Look once and submit what has come to rest; how many images were handed in."""
        now = self._bulk.scan()
        ready = [
            image
            for image in now
            if image in self._last_look and image not in self._refused and not self._bulk.record.has(image)
        ]
        self._last_look = set(now)
        handed_in = 0
        if ready or self._bulk.record.unfinished():
            for step in self._bulk.run(ready):
                handed_in = step.handed_in
        # A refused file stays refused until it changes, and is then another Image. Files that are gone are forgotten.
        self._refused = {image for image in (*self._refused, *ready) if not self._bulk.record.has(image)} & set(now)
        self._report(handed_in)
        return handed_in

    def _report(self, handed_in: int) -> None:
        if handed_in:
            self._tell(f"{handed_in} images handed in")
        for label, reason in self._bulk.failures.items():
            if self._told.get(label) != reason:
                self._tell(f"{label} is refused: {reason}")
        self._told = dict(self._bulk.failures)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit code of the producer."""
    options = _options(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = settings_of(options.config, options.home)
        check_running(settings)
        return _serve(settings, options)
    except KithError as wrong:
        sys.stderr.write(f"producers.folder: {wrong}\n")
        if isinstance(wrong, Retryable):
            return _UNAVAILABLE
        return _BAD_CONFIGURATION if isinstance(wrong, Misconfigured) else 1


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    stop = threading.Event()
    with (
        Client.open(settings) as client,
        Bulk(
            client.intake,
            settings,
            options.directory,
            gallery=options.gallery,
            kind=Kind.ENROL if options.enrol else Kind.IDENTIFY,
            lane=options.lane,
            content=Content.ALIGNED if options.aligned else Content.PHOTO,
            patience_s=math.inf,
        ) as bulk,
    ):

        def end(*_: object) -> None:
            stop.set()
            bulk.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        _log.warning("watching %s every %g s", options.directory, options.every)
        HotFolder(bulk, options.every).run(stop)
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m producers.folder", description="Submit what appears in a folder.")
    parser.add_argument(
        "directory", metavar="DIR", type=_path, help="the folder; with --enrol it holds SUBJECT/IMAGE.jpg"
    )
    parser.add_argument("--gallery", help="gallery (default: the setting gallery.default)")
    parser.add_argument("--lane", type=Lane, default=Lane.INTERACTIVE, help="live, interactive (default) or bulk")
    parser.add_argument("--enrol", action="store_true", help="remember people instead of asking who they are")
    parser.add_argument("--aligned", action="store_true", help="the images are aligned crops")
    parser.add_argument("--every", metavar="S", type=_seconds, default=1.0, help="seconds between looks (default 1)")
    parser.add_argument("--config", type=_path, help="TOML file with settings")
    parser.add_argument("--home", type=_path, help="home of a local stack (default ~/.kith)")
    options = parser.parse_args(argv)
    if not options.directory.is_dir():
        parser.error(f"{options.directory} is not a folder")
    return options


def _path(text: str) -> Path:
    # `--home=~/kith`: no shell expands that.
    return Path(text).expanduser()


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
