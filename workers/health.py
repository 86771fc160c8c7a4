"""Is the worker of this container alive? For health checks: exit status 0 when its heartbeat is fresh, else 1 and why.

    python -m workers.health NAME        the name the worker was started with

A heartbeat stands in Redis and expires, so that this asks the worker's own promise, not whether some process exists.
With Redis away it fails for every worker, as they cannot work either: restart none of them for it.
"""

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from kith.backends.connect import redis_client
from kith.backends.ledger_redis import RedisLedger
from kith.errors import KithError
from kith.ledger import Ledger
from kith.promptly import Promptly
from kith.settings import load


def trouble(ledger: Ledger, name: str, host: str) -> str | None:
    """Why no worker `name` is known to live on `host`, None when one is."""
    here = [beat.worker_id for beat in ledger.workers() if beat.host == host]
    if any(worker_id.partition("@")[0] == name for worker_id in here):
        return None
    return f"no fresh heartbeat of {name} on {host}" + (f", only of {', '.join(here)}" if here else "")


def main(argv: Sequence[str]) -> int:
    """Entry point; the exit code of the check."""
    parser = argparse.ArgumentParser(prog="python -m workers.health", description="Is a worker on this host alive?")
    parser.add_argument("name", help="the worker's --name")
    parser.add_argument("--config", type=Path, help="TOML file with settings, the worker's own")
    arguments = parser.parse_args(argv)
    try:
        settings = load(arguments.config)
        with redis_client(settings) as state:
            ledger = RedisLedger(state, settings)
            why = Promptly(lambda: trouble(ledger, arguments.name, platform.node()), "Redis")()
    except KithError as wrong:
        why = wrong.reason
    if why:
        sys.stderr.write(f"{why}\n")
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
