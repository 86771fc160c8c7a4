"""How a worker begins and ends: its command line, what it shows of itself, and what becomes of an error."""

import argparse
import logging
import os
import platform
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kith.errors import KithError, Misconfigured
from kith.jobs import Lane
from kith.metrics.instruments import Instruments
from kith.settings import Settings, load

_log = logging.getLogger(__name__)

#: Exit status of a worker that cannot start as configured (EX_CONFIG): starting it again changes nothing.
BAD_CONFIGURATION = 78


@dataclass(frozen=True, slots=True)
class Options:
    """role: what the worker does. name: stable over restarts. worker_id: of this process alone."""

    settings: Settings
    role: str
    name: str
    worker_id: str


def options_of(role: str, argv: Sequence[str]) -> Options:
    """What the command line and the settings say. Exits where they are wrong."""
    parser = argparse.ArgumentParser(prog=f"python -m workers.{role}", description=f"Run the {role} worker of Kith.")
    parser.add_argument("--config", type=Path, help="TOML file with settings; config/default.toml explains them")
    parser.add_argument("--name", default=role, help="node name, stable over restarts (default: %(default)s)")
    parser.add_argument("--log-level", default="WARNING", help="DEBUG, INFO, WARNING (default) or ERROR")
    if role == "embed":
        parser.add_argument("--lanes", help="comma-separated lanes to serve (default: all)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        settings = load(arguments.config)
        if getattr(arguments, "lanes", None):
            lanes = tuple(Lane(lane) for lane in arguments.lanes.split(","))
            settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"lanes": lanes})})
    except (KithError, ValueError) as wrong:
        parser.exit(BAD_CONFIGURATION, f"{parser.prog}: {wrong}\n")
    # A container that starts again has the host name and process id it had before; without the token the ledger would
    # take the jobs of the dead process for being worked on.
    worker_id = f"{arguments.name}@{platform.node()}:{os.getpid()}:{secrets.token_hex(3)}"
    return Options(settings, role, arguments.name, worker_id)


def guarded(options: Options, serve: Callable[[Options, Instruments], int]) -> int:
    """Run a worker; what stops it from starting is one clear line, not a traceback.

    What it shows of itself can be asked from the first moment on: a worker that still loads its model is live and not
    ready.
    """
    try:
        with Instruments(options.role, options.name) as shown:
            shown.listen(options.settings.metrics.address)
            return serve(options, shown)
    except KithError as wrong:
        _log.critical("%s worker cannot run: %s", options.name, wrong.reason)
        return BAD_CONFIGURATION if isinstance(wrong, Misconfigured) else 1
