"""A steady load on a running stack, and the one question that counts: was each image decided exactly once?"""

import io
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.errors import Retryable
from kith.jobs import Content, Decision, EmbedJob, ImageRef, Kind, Lane
from kith.settings import Settings, load
from kith.stack import local_settings


def aligned_jpegs(count: int) -> list[bytes]:
    """`count` different 112×112 JPEG crops of noise-free gradients; the simulated model tells them apart."""
    made = []
    rng = np.random.default_rng(7)
    for _ in range(count):
        pixels = np.kron(rng.integers(0, 256, (7, 7, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def impatient(home: Path, *, seconds_per_batch: float = 0.02, **sections: dict[str, object]) -> Settings:
    """Settings under which what takes minutes in production takes seconds, on a simulated model."""
    pack = simulated_pack(home / "pack", seconds_per_batch=seconds_per_batch)
    fast = {
        "jobs": {"resend_after_s": 2.0, "sweep_every_s": 0.2, "retry_backoff_s": 0.2, "retry_backoff_max_s": 1.0},
        "worker": {"heartbeat_s": 0.5, "concurrency": 4},
        "broker": {"redelivery_s": 8.0},
    }
    for section, knobs in sections.items():
        fast[section] = fast.get(section, {}) | knobs
    return local_settings(load(model={"pack": pack.path}, **fast), home / "kith")


class Load:
    """Submits identify jobs of `images_per_job` until stopped, and then settles accounts."""

    def __init__(self, client: Client, gallery: str, pictures: Sequence[ImageRef], *, per_second: float) -> None:
        self._client = client
        self._gallery = gallery
        self._pictures = pictures
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

    def _submit(self) -> None:
        number = 0
        while not self._stop.wait(self._pause_s):
            job = self._client.intake.job(
                Kind.IDENTIFY, self._pictures, gallery=self._gallery, lane=Lane.BULK, content=Content.ALIGNED,
                idempotency_key=f"load {number}",
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

    def settle(self, timeout_s: float) -> list[Decision]:
        """Wait until every accepted job is decided; all records since the start, as they stand in the stream."""
        deadline_s = time.monotonic() + timeout_s
        while self._client.ledger.open_count():
            assert time.monotonic() < deadline_s, self._what_is_open()
            time.sleep(0.1)
        decisions: list[Decision] = []
        position = self._start
        while entries := self._client.results.after(position):
            decisions += [entry.decision for entry in entries]
            position = entries[-1].entry_id
        return decisions

    def assert_each_image_was_decided_once(self, decisions: Sequence[Decision]) -> None:
        """Nothing lost, nothing twice, nothing in the dead letters."""
        assert self._client.ledger.dead_letters() == []
        counts = Counter(decision.decision_id for decision in decisions)
        wanted = {f"{job.job_id}:{n}" for job in self.accepted.values() for n in range(len(job.images))}
        assert set(counts) == wanted
        twice = [decision_id for decision_id, count in counts.items() if count != 1]
        assert twice == []

    def _what_is_open(self) -> str:
        states = Counter(self._client.ledger.state(job_id).state for job_id in self.accepted)
        return f"jobs are left open: {dict(states)}, {self._client.status()}"
