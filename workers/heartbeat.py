"""A worker's sign of life, every few seconds: the sweeper re-sends the jobs of a worker that falls silent.

The same thread looks after the worker's own supervisor: when `kith up` is killed outright, its workers end too.
"""

import logging
import os
import platform
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import psutil

from kith.errors import Retryable
from kith.jobs import now_ms
from kith.ledger import Ledger, WorkerBeat
from kith.metrics.readiness import LastDone
from kith.settings import Worker

_log = logging.getLogger(__name__)

#: Longer than Redis may let a beat wait before it is given up; a thread that has not turned for so long never will.
_STUCK_S = 90.0

#: Set by a supervisor that wants its workers to end with it; holds its process id.
SUPERVISOR_VARIABLE = "KITH_SUPERVISOR_PID"


class Heartbeat:
    """Beats in a daemon thread from `start` to `stop`. `describe` fills in what only the worker knows."""

    def __init__(
        self, ledger: Ledger, worker_id: str, role: str, knobs: Worker, describe: Callable[[WorkerBeat], WorkerBeat]
    ) -> None:
        self._ledger = ledger
        self._every_s = knobs.heartbeat_s
        self._describe = describe
        self._process = psutil.Process()
        self._supervisor = os.environ.get(SUPERVISOR_VARIABLE)
        self._stopping = threading.Event()
        #: Checks of kith.metrics.readiness: that the thread goes on, and that the ledger has heard of it as late as it
        #: must, or the worker's jobs are another's.
        self.turning = LastDone("no heartbeat was tried", _STUCK_S)
        self.heard = LastDone("the ledger has heard nothing of this worker", knobs.beat_lifetime_s)
        self._bare = WorkerBeat(
            worker_id=worker_id,
            role=role,
            host=platform.node(),
            pid=os.getpid(),
            started_ms=now_ms(),
            seen_ms=now_ms(),
        )
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    def start(self) -> Self:
        """Beat once, so that the worker is known before its first job, then go on in the background."""
        self._beat()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Sign off: the sweeper need not wait for silence."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._ledger.sign_off(self._bare.worker_id)
        except Retryable as away:
            _log.info("not signed off: %s", away)

    def _beat_until_stopped(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.turning.done()
            if self._supervisor is not None and os.getppid() != int(self._supervisor):
                _log.warning("the supervisor is gone, ending too")
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                self._beat()
            except Retryable as away:
                _log.warning("no heartbeat: %s", away)
            except Exception:  # noqa: BLE001
                # A worker that goes on without its heartbeat would lose every job it does to another.
                _log.exception("a heartbeat failed in a way nobody foresaw")

    def _beat(self) -> None:
        rss_mb = round(self._process.memory_info().rss / 1e6, 1)
        self._ledger.beat(self._describe(replace(self._bare, seen_ms=now_ms(), rss_mb=rss_mb)))
        self.heard.done()
