"""A steady load on a running stack, and the question that counts: was each image decided once, and rightly?"""

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.errors import Retryable
from kith.jobs import Content, Decision, EmbedJob, Kind, Lane
from kith.settings import Settings, load
from kith.stack import local_settings
from tests.faults.cast import GALLERY, Cast

#: Nothing here takes this long unless it is stuck; how fast it is, a busy machine must not decide.
PATIENCE_S = 120.0


def impatient(home: Path, *, seconds_per_batch: float = 0.02, **sections: dict[str, object]) -> Settings:
    """Settings under which what takes minutes in production takes seconds, on a simulated model."""
    pack = simulated_pack(home / "pack", seconds_per_batch=seconds_per_batch)
    fast = {
        # Jobs that meet many faults on purpose must not be taken for poison, which is tested elsewhere.
        "jobs": {
            **{"resend_after_s": 2.0, "sweep_every_s": 0.2, "retry_backoff_s": 0.2, "retry_backoff_max_s": 1.0},
            **{"max_deliveries": 100, "max_retries": 1000},
        },
        "worker": {"heartbeat_s": 0.5, "concurrency": 4},
        "broker": {"redelivery_s": 8.0},
    }
    for section, knobs in sections.items():
        fast[section] = fast.get(section, {}) | knobs
    return local_settings(load(model={"pack": pack.path}, **fast), home / "kith")


class Load:
    """Submits identify jobs, each of other pictures in another order, until stopped; then settles accounts."""

    def __init__(self, client: Client, cast: Cast, *, per_second: float) -> None:
        self._client = client
        self._cast = cast
        self._pause_s = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._submit)
        self.accepted: dict[str, EmbedJob] = {}
        self._start = client.results.position()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, jobs: int) -> None:
        """Wait until this many more jobs are accepted: a pause that is as long as the machine is slow."""
        wanted, deadline_s = len(self.accepted) + jobs, time.monotonic() + PATIENCE_S
        while len(self.accepted) < wanted:
            assert self._thread.is_alive(), "nobody submits any more"
            assert time.monotonic() < deadline_s, self._what_is_open()
            time.sleep(0.02)

    def _submit(self) -> None:
        # Its own seed: which pictures a job holds does not hang on what the threads of the test do.
        rng = random.Random(16)
        number = 0
        while not self._stop.wait(self._pause_s):
            pictures = rng.sample(self._cast.pictures, rng.randint(4, 16))
            job = self._client.intake.job(
                Kind.IDENTIFY, pictures, gallery=GALLERY, lane=rng.choice((Lane.BULK, Lane.INTERACTIVE)),
                content=Content.ALIGNED, min_sequence=self._cast.sequence, idempotency_key=f"load {number}",
            )  # fmt: skip
            while True:
                try:
                    self._client.submit(job)
                except Retryable:
                    # A producer that got no answer asks again under the same key: accepted or not, it is one job.
                    time.sleep(0.1)
                    continue
                break
            self.accepted[job.job_id] = job
            number += 1

    def settle(self) -> list[Decision]:
        """Wait until every accepted job is decided; all records since the start, as they stand in the stream."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._client.ledger.open_count():
            assert time.monotonic() < deadline_s, self._what_is_open()
            time.sleep(0.1)
        decisions: list[Decision] = []
        position = self._start
        while entries := self._client.results.after(position):
            decisions += [entry.decision for entry in entries]
            position = entries[-1].entry_id
        return decisions

    def assert_each_image_was_decided_once_and_rightly(self) -> None:
        """Nothing lost, nothing twice, nothing in the dead letters, nobody taken for another."""
        decisions = self.settle()
        assert self._client.ledger.dead_letters() == []
        counts = Counter(decision.decision_id for decision in decisions)
        wanted = {f"{job.job_id}:{n}" for job in self.accepted.values() for n in range(len(job.images))}
        assert set(counts) == wanted
        twice = [decision_id for decision_id, count in counts.items() if count != 1]
        assert twice == []
        assert self._cast.wrong_answers(list(self.accepted.values()), decisions) == []

    def _what_is_open(self) -> str:
        states = Counter(self._client.ledger.state(job_id).state for job_id in list(self.accepted))
        return f"jobs are left open: {dict(states)}, {self._client.status()}"
