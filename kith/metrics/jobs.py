"""Jobs: how long they waited and took, what was decided, what failed. Of embed and publish workers, and upkeep."""

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from kith.jobs import LANES, Decision, EmbedJob, Kind, Lane, Outcome, now_ms

#: Seconds: a live job is answered within some tens of milliseconds, a bulk job may wait for hours.
_WAIT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

#: Of `Decision.timings_ms`. The first are of each image, the others of the whole job and repeated in each decision.
_OF_IMAGES = ("fetch", "decode", "detect", "align")
_OF_JOBS = ("embed", "search")


class AnsweredJobs:
    """Of every process that publishes decisions. `answered` is for kith.backends.ledger_redis, `late` for
    workers.publisher."""

    def __init__(self, registry: CollectorRegistry) -> None:
        latency = Histogram(
            "kith_job_latency_seconds",
            "From when a job was made until its decisions stood in the results stream, by the clock of Redis.",
            ["lane"],
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        # Every series is there from the start: what appears with its first event looks to rate() as if it were none.
        self._latency = {lane: latency.labels(lane) for lane in LANES}
        self._late = Counter(
            "kith_decisions_late",
            "Decisions published as expired, for their deadline passed between deciding and publishing; "
            "kith_decisions_total has them under what was decided.",
            registry=registry,
        )

    def answered(self, lane: Lane, took_s: float) -> None:
        """A job's decisions were published."""
        self._latency[lane].observe(took_s)

    def late(self, number: int) -> None:
        """So many decisions of a job were published as expired."""
        self._late.inc(number)


class EmbeddedJobs:
    """Of an embed worker. Some microseconds a job, whatever is asked of it: children are looked up once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        wait = Histogram(
            "kith_job_wait_seconds",
            "From when a job was made until a worker began with it, each time one did.",
            ["lane"],
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        self._wait = {lane: wait.labels(lane) for lane in LANES}
        self._decisions = Counter(
            "kith_decisions",
            "Decisions about images, as the worker made them.",
            ["lane", "kind", "outcome"],
            registry=registry,
        )
        stages = Counter(
            "kith_stage_seconds",
            "Time that jobs spent in a stage: of each image in fetch, decode, detect and align, which threads share; "
            "of each job in embed, its wait for company included, and search.",
            ["stage"],
            registry=registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in (*_OF_IMAGES, *_OF_JOBS)}
        self._retries = Counter(
            "kith_job_retries", "Jobs put off, to be tried again, and why.", ["reason"], registry=registry
        )
        self._buried = Counter(
            "kith_jobs_buried", "Jobs that became dead letters, and why.", ["reason"], registry=registry
        )
        self._decided = {
            (lane, kind, outcome): self._decisions.labels(lane, kind, outcome)
            for lane in LANES
            for kind in (Kind.IDENTIFY, Kind.ENROL, Kind.VERIFY)
            for outcome in Outcome
        }

    def begun(self, job: EmbedJob) -> None:
        """A worker begins with `job`."""
        # Clocks of two machines may disagree; nobody waits less than no time.
        self._wait[job.lane].observe(max(0, now_ms() - job.created_ms) / 1000)

    def decided(self, decisions: Sequence[Decision]) -> None:
        """One job's decisions are in good hands."""
        if not decisions:
            return
        for (lane, kind, outcome), number in Tally((each.lane, each.kind, each.outcome) for each in decisions).items():
            self._decided[lane, kind, outcome].inc(number)
        for stage in _OF_IMAGES:
            self._spent(stage, sum(each.timings_ms.get(stage, 0.0) for each in decisions))
        for stage in _OF_JOBS:
            self._spent(stage, max(each.timings_ms.get(stage, 0.0) for each in decisions))

    def put_off(self, reason: str) -> None:
        """A job is to be tried again. reason: the code of an error (kith.errors), so that there are few."""
        self._retries.labels(reason).inc()

    def buried(self, reason: str) -> None:
        """A job became a dead letter. reason: as of `put_off`."""
        self._buried.labels(reason).inc()

    def _spent(self, stage: str, spent_ms: float) -> None:
        if spent_ms:
            self._stages[stage].inc(spent_ms / 1000)
