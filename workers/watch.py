"""The watcher: turns what the cameras of all galleries see into visits and events.

    python -m workers.watch [--config FILE] [--name NAME]

One is enough; of several one works and the others wait to take over when it is silent for `watch.lease_s`. It waits on
the news themselves, so that nothing is told later than it could be.
"""

import logging
import sys
import threading

from kith.errors import Retryable
from kith.metrics.watches import Watches
from kith.watching.watcher import Watcher
from workers.memory import restart_with_one_heap

_log = logging.getLogger(__name__)

#: While another leads, or Redis is away: below the lease, so that what is on its way is not too old when it is heard.
_PAUSE_S = 0.5


def watch(watcher: Watcher, stop: threading.Event, watches: Watches) -> None:
    """Watch until `stop` is set. A part that is away delays it, it never ends the loop. watches: told how that goes."""
    leading = None
    while not stop.is_set():
        try:
            busy = watcher.round()
            watches.round(leading=busy is not None)
        except Retryable as away:
            _log.warning("the watcher waits: %s", away)
            watches.waits()
            busy = None
        if leading != (busy is not None):
            leading = busy is not None
            _log.info("this watcher %s", "leads" if leading else "waits for its turn")
        if busy is None:
            stop.wait(_PAUSE_S)
    try:
        watcher.leave()
    except Retryable as away:
        _log.warning("the next watcher has to wait for the lease to run out: %s", away)


def main() -> int:
    """Entry point; the exit code of the worker."""
    restart_with_one_heap()
    from workers.boot import run_watch  # noqa: PLC0415 (the composition root loads every backend)

    return run_watch(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
