"""The job ledger in Redis. What each step does stands in ledger.lua, with the key schema at its head."""

import functools
import uuid
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors, refuses_writes
from kith.backends.watching_script import telling
from kith.errors import TooLate
from kith.jobs import LANES, Decision, EmbedJob, Kind, Lane, Outcome
from kith.ledger import Accepted, DeadLetter, JobState, OpenJob, Published, Stage, Start, WorkerBeat
from kith.settings import Settings
from kith.watching.news import Sighted, to_json

#: Results dropped in one step; a server that is busy with us answers nobody else.
_TRIM_AT_ONCE = 1000


class RedisLedger:
    """Implements kith.ledger.Ledger. Safe to call from many threads. answered: told of each job that is published here,
    its lane and how many seconds it took since it was made."""

    def __init__(
        self,
        client: "redis.Redis",
        settings: Settings,
        answered: Callable[[Lane, float], None] = lambda _, __: None,
    ) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies; ours are bytes (RESP2, not decoded).
        self._redis: Any = client
        self._prefix = settings.redis.prefix
        self._jobs = settings.jobs
        self._resend_ms = round(settings.jobs.resend_after_s * 1000)
        self._beat_ms = round(settings.worker.beat_lifetime_s * 1000)
        self._keep = (settings.results.keep_s * 1000, settings.results.keep_entries)
        self._most_waiting = settings.watch.max_waiting
        self._answered = answered
        self._script = client.register_script(telling() + _source())

    def _run(self, operation: str, job_id: str = "", *args: str | int | float) -> Any:
        with mapped_redis_errors(f"ledger {operation}"):
            answer = self._script(args=[self._prefix, operation, job_id, *args])
        return answer.decode() if isinstance(answer, bytes) else answer

    def accept_many(self, jobs: Sequence[EmbedJob]) -> list[Accepted]:
        asked = [
            (job.job_id, wire.to_json(job), job.lane, self._jobs.max_open, uuid.uuid4().hex, job.asked or "", *LANES)
            for job in jobs
        ]
        if len(asked) == 1:
            return [Accepted(self._run("accept", *asked[0]))]
        with mapped_redis_errors("ledger accept"):
            try:
                answers = self._pipelined(asked)
            except redis.exceptions.NoScriptError:
                # A server that was emptied. Whatever was done all the same, because somebody loaded the script between
                # two of the calls, is answered again by its token.
                self._redis.script_load(self._script.script)
                answers = self._pipelined(asked)
        return [Accepted.NO_ROOM if isinstance(each, Exception) else Accepted(each.decode()) for each in answers]

    def _pipelined(self, asked: Sequence[tuple[Any, ...]]) -> list[bytes | Exception]:
        """The answers; where Redis refused to write some of them, and took others, its refusals."""
        # Not by the script's own call, which asks the server each time whether it knows the script: a round trip more.
        calls = self._redis.pipeline(transaction=False)
        for each in asked:
            calls.evalsha(self._script.sha, 0, self._prefix, "accept", *each)
        answers: list[bytes | Exception] = calls.execute(raise_on_error=False)
        faults = [each for each in answers if isinstance(each, Exception)]
        # Memory is full from one command to the next: those before are accepted, and whoever asked has to hear it.
        if len(faults) == len(answers) or not all(refuses_writes(each) for each in faults):
            raise next(each for each in faults if len(faults) == len(answers) or not refuses_writes(each))
        return answers

    def start(self, job_id: str, worker_id: str, delivery: str) -> Start:
        # Looked at again when the worker's silence would show, not at the job's timeout.
        look_again_ms = min(self._beat_ms, self._resend_ms)
        return Start(self._run("start", job_id, worker_id, look_again_ms, self._jobs.max_deliveries, delivery))

    def save(self, job_id: str, decisions: Sequence[Decision]) -> bool:
        return bool(self._run("save", job_id, self._resend_ms, _deadline(decisions), *map(wire.to_json, decisions)))

    def saved(self, job_id: str) -> list[Decision]:
        with mapped_redis_errors("ledger saved"):
            fields = self._redis.hgetall(self._key("job", job_id))
        found = {int(name[2:]): text for name, text in fields.items() if name.startswith(b"d:")}
        return [wire.from_json(Decision, found[index]) for index in sorted(found)]

    def publish(self, job_id: str, decisions: Sequence[Decision] = (), sightings: Sequence[Sighted] = ()) -> Published:
        keep = self._jobs.remember_done_s, *self._keep
        gallery = decisions[0].gallery if decisions else ""
        seen: list[str] = [to_json(each) for each in sightings]
        records = map(wire.to_json, decisions)
        told = gallery, self._most_waiting, len(seen)
        answer = self._run("publish", job_id, *keep, _deadline(decisions), *told, *seen, *records)
        if isinstance(answer, int):
            return {0: Published.BEFORE, -1: Published.LATE}[answer]
        _, lane, age_ms = answer
        # Its producer's clock may be ahead of the server's.
        self._answered(Lane(lane.decode()), max(0, age_ms) / 1000)
        return Published.NOW

    def finish(self, job_id: str) -> None:
        self._run("finish", job_id, self._jobs.remember_done_s)

    def cancel(self, job_id: str, *, force: bool = False) -> bool:
        stage = self._run("cancel", job_id, self._jobs.remember_done_s, int(force))
        if stage in (Stage.STARTED, Stage.SAVED):
            raise TooLate(f"job {job_id} is being worked on ({stage}); it will be decided")
        return bool(stage == "cancelled")

    def trim_results(self) -> None:
        while self._run("trim", "", *self._keep, _TRIM_AT_ONCE) == _TRIM_AT_ONCE:
            pass

    def defer(self, job_id: str, reason: str, delivery: str) -> float | None:
        first_ms, longest_ms = (round(s * 1000) for s in (self._jobs.retry_backoff_s, self._jobs.retry_backoff_max_s))
        token = f"{delivery} deferred"
        wait_ms: int = self._run("defer", job_id, reason, first_ms, longest_ms, self._jobs.max_retries, token)
        return None if wait_ms < 0 else wait_ms / 1000

    def bury(self, letter: DeadLetter) -> bool:
        return bool(self._run("bury", letter.dead_id, wire.to_json(letter)))

    def payload(self, job_id: str) -> str | None:
        with mapped_redis_errors("ledger payload"):
            found = self._redis.hget(self._key("job", job_id), "payload")
        return None if found is None else found.decode()

    def overdue(self, limit: int) -> list[OpenJob]:
        return _open_jobs(self._run("overdue", "", limit))

    def lost(self, lane: Lane, *, lane_is_empty: bool, limit: int) -> list[OpenJob]:
        return _open_jobs(self._run("lost", "", lane, self._resend_ms, int(lane_is_empty), limit))

    def resend(self, job: OpenJob) -> bool:
        return bool(self._run("resend", job.job_id, job.stage, job.score_ms, uuid.uuid4().hex))

    def retract(self, job: OpenJob) -> None:
        self._run("retract", job.job_id, round(self._jobs.retry_backoff_s * 1000))

    def postpone(self, job: OpenJob) -> None:
        self._run("postpone", job.job_id, job.score_ms, min(self._beat_ms, self._resend_ms))

    def state(self, job_id: str) -> JobState:
        with mapped_redis_errors("ledger state"):
            reads = self._redis.pipeline(transaction=True)
            reads.hmget(self._key("job", job_id), ["stage", "reason"])
            reads.get(self._key("done", job_id))
            reads.hget(self._key("dead"), job_id)
            (stage, reason), entries, letter = reads.execute()
        if stage is not None:
            return JobState(stage.decode(), reason=reason.decode() if reason else None)
        if entries == b"cancelled":
            return JobState("cancelled")
        if entries is not None:
            return JobState("done", entries=tuple(entries.decode().split()))
        if letter is not None:
            return JobState("dead", reason=wire.from_json(DeadLetter, letter).reason)
        return JobState("unknown")

    def open_count(self) -> int:
        with mapped_redis_errors("ledger"):
            counts = self._redis.pipeline(transaction=True)
            counts.zcard(self._key("due"))
            for lane in LANES:
                counts.zcard(self._key("waiting", lane))
            return int(sum(counts.execute()))

    def beat(self, beat: WorkerBeat) -> None:
        self._run("beat", beat.worker_id, wire.to_json(beat), self._beat_ms)

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
        return letter is not None and bool(self._run("revive", dead_id, letter.payload, letter.lane, uuid.uuid4().hex))

    def drop(self, dead_id: str) -> bool:
        with mapped_redis_errors("dead letters"):
            writes = self._redis.pipeline(transaction=True)
            writes.hdel(self._key("dead"), dead_id)
            writes.zrem(self._key("dead", "order"), dead_id)
            writes.delete(self._key("asked", dead_id))
            return bool(writes.execute()[0])

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))


def _deadline(decisions: Sequence[Decision]) -> str:
    """Past it the decisions must not appear as they are, in Unix milliseconds; empty for none.

    An enrolment has happened whenever its record appears, and `expired` stays true; only who stands there goes stale.
    """
    stale = (each for each in decisions if each.kind is not Kind.ENROL and each.outcome is not Outcome.EXPIRED)
    return min((str(each.expires_ms) for each in stale if each.expires_ms is not None), default="")


def _open_jobs(rows: list[list[bytes | int | None]]) -> list[OpenJob]:
    jobs = []
    for row in rows:
        cells = [cell.decode() if isinstance(cell, bytes) else cell for cell in row]
        job_id, score, stage, lane, payload, sent, started, sends, alive, now = map(str, cells)
        jobs.append(
            OpenJob(
                job_id=job_id,
                stage=Stage(stage),
                lane=Lane(lane),
                payload=payload,
                score_ms=int(float(score)),
                sent_ms=int(float(sent)),
                started_ms=int(float(started)),
                sends=int(sends),
                worker_alive=alive == "1",
                now_ms=int(float(now)),
            )
        )
    return jobs


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("ledger.lua").read_text()
