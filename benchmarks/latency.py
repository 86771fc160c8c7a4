"""How long one picture takes while the system is half busy: submit → decision in the results stream.

Single-image jobs in the interactive lane arrive at random (Poisson) at half the rate the system can do at most. Each is
timed from the moment it should have arrived, so that a client held up by the system does not hide it.
"""

import random
import statistics
import time
from collections.abc import Sequence

from benchmarks import inputs
from benchmarks.peer import PlainPeer
from benchmarks.report import Figure, at_most
from benchmarks.rig import Rig, open_rig, stamp_s
from benchmarks.rounds import percentile
from benchmarks.session import Session, Unavailable, scratch
from kith.jobs import Content, EmbedJob, ImageRef, Lane

#: What queue, ledger, threads and publication may add.
_OVERHEAD_MS = 50.0
_INFERENCES = 3
_ENROLLED = 320
_SEED = 3


def run(session: Session) -> list[Figure]:
    """The highest rate first, then the latency at half of it."""
    pack = inputs.weights(session.data)
    if pack is None:
        raise Unavailable(f"latency measures a real network, and {session.data / 'weights'} holds none; name --data")
    with (
        session.progress("latency") as tell,
        scratch() as home,
        open_rig(home, pack) as rig,
        PlainPeer(home / "images", pack) as peer,
    ):
        files = inputs.aligned_crops(session.data, session.scaled(512, 32))
        references = rig.put([file.read_bytes() for file in files])
        rig.enrol([(file.parent.name, file.read_bytes()) for file in files[:_ENROLLED]])
        rig.run(references, 1, Content.ALIGNED)
        tell("one bare inference")
        bare_ms = 1000 * peer.ask("bare_inference_s", references[0].key, session.scaled(200, 5))
        # Each round: how fast it can go, then how long it takes at half that, so that both see the same machine.
        rates, p50s, p99s = [], [], []
        for number in range(session.rounds):
            tell(f"round {number + 1}: the highest rate")
            rates.append(_highest_rate(rig, _singles(rig, references, session.scaled(1000, 32))))
            tell(f"round {number + 1}: half of it")
            took_ms = _latencies_ms(rig, _singles(rig, references, session.scaled(2000, 32)), rates[-1] / 2, number)
            p50s.append(percentile(took_ms, 50))
            p99s.append(percentile(took_ms, 99))
    # The batch window would be added, had interactive faces one.
    bound_ms = _INFERENCES * bare_ms + _OVERHEAD_MS
    return [
        Figure("highest rate of single-image jobs", statistics.median(rates), "jobs/s"),
        Figure("one bare single-image inference", bare_ms, "ms"),
        Figure("p50 at half load", statistics.median(p50s), "ms"),
        at_most("p99 at half load, against 3 inferences + 50 ms", statistics.median(p99s), bound_ms, "ms"),
        Figure("p99 at half load, worst round", max(p99s), "ms"),
    ]


def _singles(rig: Rig, references: Sequence[ImageRef], count: int) -> list[EmbedJob]:
    many = (list(references) * -(-count // len(references)))[:count]
    return rig.jobs(many, 1, Content.ALIGNED, Lane.INTERACTIVE)


def _highest_rate(rig: Rig, jobs: Sequence[EmbedJob]) -> float:
    """Jobs per second when they are handed in one by one as fast as that goes."""
    before = rig.client.results.count()
    started_s = time.time()
    for job in jobs:
        rig.client.submit(job)
    return len(jobs) / (rig.await_decisions(before + len(jobs)) - started_s)


def _latencies_ms(rig: Rig, jobs: Sequence[EmbedJob], rate: float, seed: int) -> list[float]:
    chance = random.Random(_SEED + seed)
    before, position = rig.client.results.count(), rig.client.results.position()
    due_s: dict[str, float] = {}
    next_s = time.time()
    for job in jobs:
        next_s += chance.expovariate(rate)
        time.sleep(max(0.0, next_s - time.time()))
        due_s[job.job_id] = next_s
        rig.client.submit(job)
    rig.await_decisions(before + len(jobs))
    entries = rig.entries(position)
    return [1000 * (stamp_s(each.entry_id) - due_s[each.decision.job_id]) for each in entries]
