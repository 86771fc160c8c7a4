"""The outward worker: tells those who are not Kith what happened, by webhooks and MQTT, and hears what Frigate tells.

    python -m workers.outward [--config FILE] [--name NAME]

One tells; of several the others wait to take over when it is silent for `webhooks.lease_s`. Every reader of the streams
keeps its own place, so that whoever takes over goes on exactly there.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence

from kith.errors import Retryable
from kith.outward.lease import Lease
from kith.outward.loops import Loops

_log = logging.getLogger(__name__)

#: A name, and what is done.
Step = tuple[str, Callable[[], object]]


def tell(lease: Lease, steps: Sequence[Step], stop: threading.Event, close: Sequence[Callable[[], None]]) -> None:
    """Tell until `stop` is set, while the lease is held. steps: what is done again and again, each in a thread of its
    own; close: what is done after the last."""
    telling = None
    with Loops(steps):
        while not stop.is_set():
            try:
                held = lease.renew()
            except Retryable as away:
                _log.warning("the lease cannot be renewed: %s", away)
                held = lease.held
            if telling != held:
                telling = held
                _log.warning("this worker %s", "tells" if held else "waits for its turn")
            stop.wait(lease.every_s)
        # From here on nobody begins to tell anything.
        lease.drop()
    for each in close:
        each()
    # Last: what was under way is told and written by now, and the next one goes on behind it.
    with contextlib.suppress(Retryable):
        lease.leave()


def main() -> int:
    """Entry point; the exit code of the worker."""
    from workers.boot import run_outward  # noqa: PLC0415 (the composition root loads every backend)

    return run_outward(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
