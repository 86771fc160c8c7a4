"""Where the applications are (`workers/`, `producers/`), which are no part of the package, and how one is started."""

import os
from pathlib import Path

from kith.errors import Misconfigured
from kith.settings import Settings, as_environment


def process_environment(settings: Settings) -> dict[str, str]:
    """The caller's environment, with `settings` as those of a process that is started with it."""
    # Ours only: a variable of the caller's would win over what `settings` leaves unset, or has changed.
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("KITH_")}
    return inherited | as_environment(settings)


def application_root() -> Path:
    """The folder that holds `workers/` and `producers/`: the current one, or the checkout this package came from.

    Raises Misconfigured where neither has it: the wheel carries the core and this command line only.
    """
    for root in (Path.cwd(), Path(__file__).resolve().parent.parent):
        if (root / "workers" / "embed.py").is_file():
            return root
    raise Misconfigured(
        "the worker processes are not here: the wheel holds the client and the core only. Run `kith up` in a checkout "
        "of the repository, or use docker-compose.yml"
    )
