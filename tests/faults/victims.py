"""Who is in the middle of a job, so that a kill meets it there, and whether it did."""

import os
import signal
import time
from collections import defaultdict

from kith.backends.connect import redis_client
from kith.client import Client
from kith.settings import Settings
from kith.stack import Stack
from tests.faults.load import PATIENCE_S


class Killer:
    """Kills workers of `stack` with SIGKILL. in_the_middle: how many embed workers died with a job in their hands."""

    def __init__(self, stack: Stack, client: Client, settings: Settings) -> None:
        self._stack = stack
        self._client = client
        self._state = redis_client(settings)
        self._prefix = settings.redis.prefix
        self._killed: set[int] = set()
        self.in_the_middle = 0

    def kill_one_in_the_middle_of_a_job(self) -> None:
        """Wait for an embed worker that has started a job, kill it, and count it if the job was still unfinished."""
        before, deadline_s = self.in_the_middle, time.monotonic() + PATIENCE_S
        while self.in_the_middle == before:
            assert time.monotonic() < deadline_s, f"no worker works: {self._client.status()}"
            held, pids = self._held(), self._living("embed")
            busy = sorted((len(jobs), worker_id) for worker_id, jobs in held.items() if worker_id in pids)
            if not busy:
                time.sleep(0.01)
                continue
            _, victim = busy[-1]
            self._kill(pids[victim])
            # Nothing can take a dead worker's job away before its heartbeat has expired: what it has now in the ledger,
            # it had when it died.
            self.in_the_middle += bool(self._held()[victim])

    def kill_one_that_publishes(self) -> None:
        """Kill a publish worker, whatever it is doing: jobs are saved, their records must still appear, once."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (pids := self._living("publish")):
            assert time.monotonic() < deadline_s, f"no publish worker comes back: {self._client.status()}"
            time.sleep(0.01)
        self._kill(next(iter(pids.values())))

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        # Never again: until its supervisor sees to it, a dead process still takes signals.
        self._killed.add(pid)
        # What it had sent before it died is on its way to the ledger.
        time.sleep(0.05)

    def _living(self, role: str) -> dict[str, int]:
        """Worker id to process id. A heartbeat outlives its worker, so those killed here are left out."""
        ours = set(self._stack.pids(role).values()) - self._killed
        return {beat.worker_id: beat.pid for beat in self._client.ledger.workers() if beat.pid in ours}

    def _held(self) -> defaultdict[str, list[str]]:
        """Worker id to the jobs it has started and not finished, as the ledger has it."""
        jobs = self._state.zrange(f"{self._prefix}:due", 0, -1)
        reads = self._state.pipeline(transaction=False)
        for job in jobs:
            reads.hmget(f"{self._prefix}:job:{job.decode()}", ["stage", "worker"])
        held: defaultdict[str, list[str]] = defaultdict(list)
        for job, (stage, worker) in zip(jobs, reads.execute(), strict=True):
            if stage == b"started":
                held[worker.decode()].append(job.decode())
        return held
