"""The upkeep worker: sweeps the ledger every second; once a minute trims the results and the logs of the galleries,
erases what they keep no longer, and keeps their cutoffs at the rate they aim at.

    python -m workers.upkeep [--config FILE] [--name NAME]

One is enough, several do no harm: each job is won by one sweeper.
"""

import logging
import sys
import threading
import time
from dataclasses import asdict

from kith.errors import Retryable
from kith.gallery import GalleryStore
from kith.ledger import Ledger
from kith.metrics.sweeps import Sweeps
from kith.settings import Settings
from workers.cutoffs import Cutoffs
from workers.memory import restart_with_one_heap
from workers.retention import Retention
from workers.sweeper import Sweeper

_log = logging.getLogger(__name__)

#: Trimming a journal is cheap and never urgent.
_TRIM_EVERY_S = 60.0


class Upkeep:
    """Runs until `stop` is set. A part that is away delays its chore, it never ends the loop."""

    def __init__(
        self,
        sweeper: Sweeper,
        ledger: Ledger,
        galleries: GalleryStore,
        settings: Settings,
        cutoffs: Cutoffs | None = None,
        retention: Retention | None = None,
        sweeps: Sweeps | None = None,
    ) -> None:
        self._sweeper = sweeper
        self._ledger = ledger
        self._galleries = galleries
        self._cutoffs = cutoffs
        self._retention = retention
        self._sweeps = sweeps
        self._sweep_every_s = settings.jobs.sweep_every_s
        self._journal_keep_s = settings.gallery.journal_keep_s

    def run(self, stop: threading.Event) -> None:
        """The loop."""
        trim_at_s = time.monotonic()
        while not stop.wait(self._sweep_every_s):
            try:
                swept = self._sweeper.sweep()
                if self._sweeps is not None:
                    self._sweeps.swept(**asdict(swept))
                if time.monotonic() >= trim_at_s:
                    trim_at_s = time.monotonic() + _TRIM_EVERY_S
                    self._trim()
                    if self._cutoffs is not None:
                        self._cutoffs.tend_aside()
            except Retryable as away:
                _log.warning("upkeep waits: %s", away)

    def _trim(self) -> None:
        if self._retention is not None:
            # First: what is dropped by age tells of pictures that are to go with it.
            self._retention.run()
        self._ledger.trim_results()
        for gallery in self._galleries.galleries():
            self._galleries.trim(gallery.name, self._journal_keep_s)


def main() -> int:
    """Entry point; the exit code of the worker."""
    restart_with_one_heap()
    from workers.boot import run_upkeep  # noqa: PLC0415 (the composition root loads every backend)

    return run_upkeep(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
