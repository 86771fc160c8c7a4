"""The job ledger in Redis. What each step does stands in ledger.lua, with the key schema at its head."""

import functools
import uuid
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import Overloaded
from kith.jobs import Decision, EmbedJob, Kind, Lane
from kith.ledger import Accepted, DeadLetter, JobState, OpenJob, Published, Stage, Start, WorkerBeat
from kith.settings import Settings


class RedisLedger:
    """Implements kith.ledger.Ledger. Safe to call from many threads."""

    def __init__(self, client: "redis.Redis", settings: Settings) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies; ours are bytes (RESP2, not decoded).
        self._redis: Any = client
        self._prefix = settings.redis.prefix
        self._jobs = settings.jobs
        self._beat_lifetime_s = settings.worker.beat_lifetime_s
        self._keep_results_ms = settings.results.keep_s * 1000
        self._script = client.register_script(_source())

    def _run(self, operation: str, job_id: str = "", *args: str | int | float) -> object:
        with mapped_redis_errors(f"ledger {operation}"):
            answer = self._script(args=[self._prefix, operation, job_id, *args])
        return answer.decode() if isinstance(answer, bytes) else answer

    def accept_many(self, jobs: Sequence[EmbedJob]) -> list[Accepted]:
        resend_ms, most = round(self._jobs.resend_after_s * 1000), self._jobs.max_open
        with mapped_redis_errors("ledger accept"):
            calls = self._redis.pipeline(transaction=False)
            for job in jobs:
                arguments = (self._prefix, "accept", job.job_id, wire.to_json(job), job.lane, resend_ms, most)
                self._script(args=arguments, client=calls)
            answers = [answer.decode() for answer in calls.execute()]
        if "full" in answers:
            taken = answers.index("full")
            raise Overloaded(
                f"{most} jobs are open (jobs.max_open); {taken} of these {len(jobs)} were accepted, "
                "send the others again when some are decided"
            )
        return [Accepted(answer) for answer in answers]

    def start(self, job_id: str, worker_id: str) -> Start:
        # Looked at again when the worker's silence would show, not at the job's timeout.
        look_again = round(min(self._beat_lifetime_s, self._jobs.resend_after_s) * 1000)
        token = uuid.uuid4().hex
        return Start(str(self._run("start", job_id, worker_id, look_again, self._jobs.max_deliveries, token)))

    def save(self, job_id: str, decisions: Sequence[Decision]) -> bool:
        resend_ms = round(self._jobs.resend_after_s * 1000)
        # An enrolment has happened whenever its record appears; only an answer about who stands there can go stale.
        deadlines = {each.expires_ms for each in decisions if each.kind is not Kind.ENROL} - {None}
        deadline = min(map(str, deadlines), default="")
        return self._run("save", job_id, resend_ms, deadline, *map(wire.to_json, decisions)) == 1

    def saved(self, job_id: str) -> list[Decision]:
        with mapped_redis_errors("ledger saved"):
            fields = self._redis.hgetall(self._key("job", job_id))
        found = {int(name[2:]): text for name, text in fields.items() if name.startswith(b"d:")}
        return [wire.from_json(Decision, found[index]) for index in sorted(found)]

    def publish(self, job_id: str, instead: Sequence[Decision] = ()) -> Published:
        records = map(wire.to_json, instead)
        answer = self._run("publish", job_id, self._jobs.remember_done_s, self._keep_results_ms, *records)
        return {1: Published.NOW, 0: Published.BEFORE, -1: Published.LATE}[int(str(answer))]

    def defer(self, job_id: str, reason: str) -> float | None:
        first, longest = (round(s * 1000) for s in (self._jobs.retry_backoff_s, self._jobs.retry_backoff_max_s))
        wait_ms = self._run("defer", job_id, reason, first, longest, self._jobs.max_retries)
        assert isinstance(wait_ms, int)
        return None if wait_ms < 0 else wait_ms / 1000

    def bury(self, letter: DeadLetter) -> bool:
        return self._run("bury", letter.dead_id, wire.to_json(letter)) == 1

    def overdue(self, limit: int) -> list[OpenJob]:
        rows = self._run("overdue", "", limit)
        assert isinstance(rows, list)
        return [_open_job([cell.decode() if isinstance(cell, bytes) else str(cell) for cell in row]) for row in rows]

    def resend(self, job: OpenJob) -> bool:
        return self._run("resend", job.job_id, job.due_ms, round(self._jobs.resend_after_s * 1000)) == 1

    def postpone(self, job: OpenJob) -> None:
        self._run("postpone", job.job_id, job.due_ms, round(self._jobs.resend_after_s * 1000))

    def newest_started_ms(self, lane: Lane) -> int:
        with mapped_redis_errors("ledger"):
            return int(self._redis.get(self._key("started", lane)) or 0)

    def state(self, job_id: str) -> JobState:
        with mapped_redis_errors("ledger state"):
            reads = self._redis.pipeline(transaction=True)
            reads.hmget(self._key("job", job_id), ["stage", "reason"])
            reads.get(self._key("done", job_id))
            reads.hget(self._key("dead"), job_id)
            (stage, reason), entries, letter = reads.execute()
        if stage is not None:
            return JobState(stage.decode(), reason=reason.decode() if reason else None)
        if entries is not None:
            return JobState("done", entries=tuple(entries.decode().split()))
        if letter is not None:
            return JobState("dead", reason=wire.from_json(DeadLetter, letter).reason)
        return JobState("unknown")

    def open_count(self) -> int:
        with mapped_redis_errors("ledger"):
            return int(self._redis.zcard(self._key("due")))

    def beat(self, beat: WorkerBeat) -> None:
        with mapped_redis_errors("heartbeat"):
            writes = self._redis.pipeline(transaction=True)
            writes.set(self._key("worker", beat.worker_id), wire.to_json(beat), px=round(self._beat_lifetime_s * 1000))
            writes.sadd(self._key("workers"), beat.worker_id)
            writes.execute()

    def sign_off(self, worker_id: str) -> None:
        with mapped_redis_errors("heartbeat"):
            writes = self._redis.pipeline(transaction=True)
            writes.delete(self._key("worker", worker_id))
            writes.srem(self._key("workers"), worker_id)
            writes.execute()

    def workers(self) -> list[WorkerBeat]:
        with mapped_redis_errors("workers"):
            ids = sorted(self._redis.smembers(self._key("workers")))
            if not ids:
                return []
            beats = self._redis.mget([self._key("worker", each.decode()) for each in ids])
            gone = [each for each, beat in zip(ids, beats, strict=True) if beat is None]
            if gone:
                # No race: a worker that beats between our two calls adds itself again two seconds later.
                self._redis.srem(self._key("workers"), *gone)
        return [wire.from_json(WorkerBeat, beat) for beat in beats if beat is not None]

    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        with mapped_redis_errors("dead letters"):
            ids = self._redis.zrevrange(self._key("dead", "order"), offset, offset + limit - 1)
            letters = self._redis.hmget(self._key("dead"), ids) if ids else []
        return [wire.from_json(DeadLetter, letter) for letter in letters if letter is not None]

    def dead_letter(self, dead_id: str) -> DeadLetter | None:
        with mapped_redis_errors("dead letters"):
            letter = self._redis.hget(self._key("dead"), dead_id)
        return None if letter is None else wire.from_json(DeadLetter, letter)

    def dead_count(self) -> int:
        with mapped_redis_errors("dead letters"):
            return int(self._redis.hlen(self._key("dead")))

    def revive(self, dead_id: str) -> bool:
        letter = self.dead_letter(dead_id)
        return letter is not None and self._run("revive", dead_id, letter.payload, letter.lane) == 1

    def drop(self, dead_id: str) -> bool:
        with mapped_redis_errors("dead letters"):
            writes = self._redis.pipeline(transaction=True)
            writes.hdel(self._key("dead"), dead_id)
            writes.zrem(self._key("dead", "order"), dead_id)
            return bool(writes.execute()[0])

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))


def _open_job(row: list[str]) -> OpenJob:
    job_id, due, stage, lane, payload, sent, started, sends, alive, now = row
    return OpenJob(
        job_id=job_id,
        stage=Stage(stage),
        lane=Lane(lane),
        payload=payload,
        due_ms=int(float(due)),
        sent_ms=int(float(sent)),
        started_ms=int(float(started)),
        sends=int(sends),
        worker_alive=alive == "1",
        now_ms=int(float(now)),
    )


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("ledger.lua").read_text()
