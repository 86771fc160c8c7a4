"""The ledger and the results stream on a real server: no step loses a job, no step counts twice."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import StateFull
from kith.jobs import Decision, EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.ledger import Accepted, DeadLetter, Published, Stage, Start, WorkerBeat
from kith.results import FROM_NOW
from kith.settings import Settings
from tests.integration.passing_time import let_pass


@pytest.fixture
def settings(prefix: str) -> Settings:
    return Settings(
        redis={"prefix": prefix},
        jobs={"resend_after_s": 30, "max_deliveries": 3, "max_retries": 3, "retry_backoff_s": 2, "max_open": 5},
        worker={"heartbeat_s": 2},
    )


@pytest.fixture
def ledger(redis_client: redis.Redis, settings: Settings) -> RedisLedger:
    return RedisLedger(redis_client, settings)


@pytest.fixture
def results(redis_client: redis.Redis, settings: Settings) -> RedisResults:
    return RedisResults(redis_client, settings)


def job(job_id: str = "j1", images: int = 2, lane: Lane = Lane.BULK) -> EmbedJob:
    return EmbedJob(
        job_id, Kind.IDENTIFY, "g", lane, tuple(ImageRef(f"k{n}") for n in range(images)), now_ms(), expires_ms=2**50
    )


def decided(of: EmbedJob, name: str = "Ada") -> list[Decision]:
    return [decide(of, n, Outcome.MATCH, face=Face(Outcome.MATCH, subject=name)) for n in range(len(of.images))]


def alive(ledger: RedisLedger, worker_id: str) -> None:
    ledger.beat(WorkerBeat(worker_id, "embed", "host", 1, now_ms(), now_ms()))


def letter(of: EmbedJob, payload: str = "{}") -> DeadLetter:
    return DeadLetter(of.job_id, "poisoned_job", "poisoned_job: why", payload, of.lane, now_ms(), "w1")


def test_a_job_goes_from_accepted_to_done_and_its_decisions_into_the_stream(
    ledger: RedisLedger, results: RedisResults
) -> None:
    one = job()
    assert ledger.accept_many([one]) == [Accepted.NEW]
    assert ledger.start(one.job_id, "w1", uuid4().hex) is Start.GO
    assert ledger.save(one.job_id, decided(one))
    assert ledger.saved(one.job_id) == decided_again(ledger, one)
    assert ledger.publish(one.job_id) is Published.NOW
    state = ledger.state(one.job_id)
    assert state.state == "done"
    assert [entry.decision.index for entry in results.fetch(state.entries)] == [0, 1]
    assert ledger.open_count() == 0


def decided_again(ledger: RedisLedger, one: EmbedJob) -> list[Decision]:
    kept = ledger.saved(one.job_id)
    assert [(d.decision_id, d.subject) for d in kept] == [(f"{one.job_id}:{n}", "Ada") for n in range(len(one.images))]
    return kept


def test_the_same_job_submitted_again_is_recognised_at_every_stage(ledger: RedisLedger) -> None:
    one = job()
    assert ledger.accept_many([one, one]) == [Accepted.NEW, Accepted.OPEN]
    ledger.start(one.job_id, "w1", uuid4().hex)
    assert ledger.accept_many([one]) == [Accepted.OPEN]
    ledger.save(one.job_id, decided(one))
    ledger.publish(one.job_id)
    assert ledger.accept_many([one]) == [Accepted.DONE]
    two = job("j2")
    ledger.accept_many([two])
    ledger.bury(letter(two))
    assert ledger.accept_many([two]) == [Accepted.DEAD]


def test_however_many_workers_publish_a_job_each_decision_appears_once(
    ledger: RedisLedger, results: RedisResults
) -> None:
    one = job(images=5)
    ledger.accept_many([one])
    ledger.save(one.job_id, decided(one))
    barrier = threading.Barrier(8)

    def publish(_: int) -> bool:
        barrier.wait()
        return ledger.publish(one.job_id) is Published.NOW

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(publish, range(8))) == 1
    assert [entry.decision.index for entry in results.after("0")] == [0, 1, 2, 3, 4]


def test_what_is_published_is_what_was_saved_stamped_by_the_stream(ledger: RedisLedger, results: RedisResults) -> None:
    one = job(images=64)
    ledger.accept_many([one])
    before_ms = now_ms()
    ledger.save(one.job_id, decided(one))
    saved = ledger.saved(one.job_id)
    ledger.publish(one.job_id)
    published = [entry.decision for entry in results.after("0")]
    assert [replace(decision, published_ms=None) for decision in published] == saved
    assert all(before_ms <= (decision.published_ms or 0) <= now_ms() for decision in published)


def test_a_job_without_saved_decisions_is_not_published_and_stays_open(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    assert ledger.publish(one.job_id) is Published.BEFORE
    assert ledger.open_count() == 1


def test_the_first_saved_decisions_stand(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    ledger.save(one.job_id, decided(one, "first"))
    ledger.save(one.job_id, decided(one, "second"))
    assert {d.subject for d in ledger.saved(one.job_id)} == {"first"}


def test_a_second_delivery_is_told_that_a_living_worker_is_at_it(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    alive(ledger, "w1")
    assert ledger.start(one.job_id, "w1", uuid4().hex) is Start.GO
    assert ledger.start(one.job_id, "w2", uuid4().hex) is Start.RUNNING
    ledger.sign_off("w1")
    assert ledger.start(one.job_id, "w2", uuid4().hex) is Start.GO


def test_a_second_delivery_of_a_saved_or_finished_job_does_no_work(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    ledger.save(one.job_id, decided(one))
    assert ledger.start(one.job_id, "w1", uuid4().hex) is Start.SAVED
    ledger.publish(one.job_id)
    assert ledger.start(one.job_id, "w1", uuid4().hex) is Start.FINISHED
    assert ledger.start("never accepted", "w1", uuid4().hex) is Start.ABSENT
    assert not ledger.save(one.job_id, decided(one))
    assert not ledger.bury(letter(one)), "a decided job must not become a dead letter"


def test_a_job_that_kills_its_workers_is_poison_after_a_few_deliveries(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    assert [ledger.start(one.job_id, f"w{n}", uuid4().hex) for n in range(4)] == [Start.GO] * 3 + [Start.POISONED]


def test_poison_whose_worker_ended_before_burying_it_is_sent_again_until_one_buries_it(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    one = job()
    ledger.accept_many([one])
    for n in range(3):
        assert ledger.start(one.job_id, f"w{n}", uuid4().hex) is Start.GO
        resent(ledger, redis_client, prefix)
    assert ledger.start(one.job_id, "w3", uuid4().hex) is Start.POISONED
    resent(ledger, redis_client, prefix)
    assert ledger.start(one.job_id, "w4", uuid4().hex) is Start.POISONED
    assert ledger.bury(letter(one))
    assert ledger.state(one.job_id).state == "dead"
    assert ledger.open_count() == 0
    assert ledger.overdue(10) == []


def resent(ledger: RedisLedger, client: redis.Redis, prefix: str) -> None:
    """A sweep sends the only job again; nobody who started it lives."""
    let_pass(client, prefix, 31)
    [found] = ledger.overdue(10)
    assert (found.stage, found.worker_alive) == (Stage.STARTED, False)
    assert ledger.resend(found)
    assert ledger.overdue(10) == []


def test_a_living_worker_that_buries_poison_has_it_to_itself_and_is_answered_alike_when_it_asks_again(
    ledger: RedisLedger,
) -> None:
    ledger.accept_many([job()])
    for n in range(3):
        ledger.start("j1", f"w{n}", f"d{n}")
    alive(ledger, "w3")
    assert [ledger.start("j1", "w3", "d3") for _ in range(2)] == [Start.POISONED] * 2
    assert ledger.start("j1", "w4", "d4") is Start.RUNNING


def test_a_job_put_off_for_want_of_a_part_backs_off_and_is_not_poison(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    waits = []
    for _ in range(4):
        assert ledger.start(one.job_id, "w1", uuid4().hex) is Start.GO
        waits.append(ledger.defer(one.job_id, "store_unavailable: away", uuid4().hex))
    assert waits == [2, 4, 8, None]
    assert ledger.state(one.job_id).reason == "store_unavailable: away"


def test_a_job_sent_again_while_its_last_retry_fails_stays_in_the_sweepers_hands(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    ledger.accept_many([job()])
    for n in range(3):
        ledger.start("j1", "w1", f"d{n}")
        ledger.defer("j1", "away", f"d{n}")
    ledger.start("j1", "w1", "d3")
    let_pass(redis_client, prefix, 31)
    [hung] = ledger.overdue(10)
    assert ledger.resend(hung)
    assert ledger.defer("j1", "away", "d3") is None
    # w1 ends here, before it buries the job, and the second message is lost.
    let_pass(redis_client, prefix, 31)
    [found] = ledger.overdue(10)
    assert ledger.resend(found)
    assert ledger.start("j1", "w2", "d4") is Start.GO
    assert ledger.defer("j1", "away", "d4") is None


def test_overdue_jobs_are_handed_out_with_what_the_sweeper_must_know(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    one, two = job("j1"), job("j2")
    ledger.accept_many([one, two])
    alive(ledger, "w1")
    ledger.start("j1", "w1", "d1")
    ledger.start("j2", "w1", "d2")
    ledger.save("j2", decided(two))
    assert ledger.overdue(10) == []
    let_pass(redis_client, prefix, 31)
    alive(ledger, "w1")
    found = {each.job_id: each for each in ledger.overdue(10)}
    assert (found["j1"].stage, found["j1"].worker_alive, found["j2"].stage) == (Stage.STARTED, True, Stage.SAVED)
    assert found["j1"].now_ms - found["j1"].started_ms >= 31_000
    let_pass(redis_client, prefix, 7)
    assert not {each.job_id: each for each in ledger.overdue(10)}["j1"].worker_alive


def test_a_waiting_job_is_lost_when_its_lane_is_empty_for_long_enough(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    ledger.accept_many([job("j1"), job("j2", lane=Lane.LIVE)])
    assert ledger.lost(Lane.BULK, lane_is_empty=True, limit=10) == []
    let_pass(redis_client, prefix, 31)
    ledger.accept_many([job("young")])
    assert ledger.lost(Lane.BULK, lane_is_empty=False, limit=10) == []
    [found] = ledger.lost(Lane.BULK, lane_is_empty=True, limit=10)
    assert (found.job_id, found.stage, found.payload) == ("j1", Stage.SENT, ledger.payload("j1"))


def test_a_waiting_job_is_lost_when_one_sent_much_later_was_started(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    ledger.accept_many([job("lost")])
    let_pass(redis_client, prefix, 31)
    ledger.accept_many([job("later"), job("next")])
    ledger.start("later", "w1", "d1")
    assert [each.job_id for each in ledger.lost(Lane.BULK, lane_is_empty=False, limit=10)] == ["lost"]


def test_a_job_sent_again_that_comes_by_its_old_message_makes_nobody_else_lost(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    ledger.accept_many([job("held by the dead"), job("waiting")])
    let_pass(redis_client, prefix, 31)
    [held, _] = ledger.lost(Lane.BULK, lane_is_empty=True, limit=10)
    assert ledger.resend(held)
    let_pass(redis_client, prefix, 1)
    # The broker gives its first message back, to the head of the queue.
    ledger.start("held by the dead", "w2", "d1")
    assert ledger.lost(Lane.BULK, lane_is_empty=False, limit=10) == []


def test_of_many_sweepers_one_wins_each_job(ledger: RedisLedger, redis_client: redis.Redis, prefix: str) -> None:
    ledger.accept_many([job()])
    let_pass(redis_client, prefix, 31)
    [seen] = ledger.lost(Lane.BULK, lane_is_empty=True, limit=10)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: ledger.resend(seen), range(8))) == 1
    assert ledger.lost(Lane.BULK, lane_is_empty=True, limit=10) == []


def test_a_job_that_moved_on_since_the_sweeper_looked_is_not_sent_again(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    ledger.accept_many([job()])
    let_pass(redis_client, prefix, 31)
    [seen] = ledger.lost(Lane.BULK, lane_is_empty=True, limit=10)
    ledger.start("j1", "w1", "d1")
    assert not ledger.resend(seen)


def test_a_job_that_could_not_be_sent_after_all_is_due_again_soon(
    ledger: RedisLedger, redis_client: redis.Redis, prefix: str
) -> None:
    ledger.accept_many([job()])
    let_pass(redis_client, prefix, 31)
    [seen] = ledger.lost(Lane.BULK, lane_is_empty=True, limit=10)
    ledger.resend(seen)
    ledger.retract(seen)
    assert ledger.overdue(10) == []
    let_pass(redis_client, prefix, 3)
    assert [each.stage for each in ledger.overdue(10)] == [Stage.DEFERRED]


class Deaf:
    """A client whose every script runs twice, as when the first answer was lost on the way."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def register_script(self, source: str) -> object:
        script = self._client.register_script(source)

        def twice(args: object, client: object = None) -> object:
            if client is not None:
                script(args=args, client=self._client)
                return script(args=args, client=client)
            script(args=args)
            return script(args=args)

        return twice

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)


def test_a_step_asked_twice_is_done_once_and_answered_alike(
    redis_client: redis.Redis, settings: Settings, prefix: str
) -> None:
    ledger = RedisLedger(Deaf(redis_client), settings)  # type: ignore[arg-type]
    one = job()
    assert ledger.accept_many([one]) == [Accepted.NEW]
    alive(ledger, "w1")
    assert ledger.start("j1", "w1", "d1") is Start.GO
    assert ledger.start("j1", "w1", "d1") is Start.GO, "the same delivery, asking again"
    assert ledger.start("j1", "w2", "d2") is Start.RUNNING
    assert ledger.defer("j1", "away", "d1") == 2
    assert redis_client.hmget(f"{prefix}:job:j1", "retries", "starts") == [b"1", b"0"]
    let_pass(redis_client, prefix, 3)
    [due] = ledger.overdue(10)
    assert ledger.resend(due)
    assert redis_client.hget(f"{prefix}:job:j1", "sends") == b"2"
    assert ledger.bury(letter(one))
    assert ledger.revive("j1")
    assert ledger.save("j1", decided(one))
    ledger.publish("j1")
    assert redis_client.xlen(f"{prefix}:results") == 2


def test_more_open_jobs_than_the_limit_are_refused_and_those_before_them_are_open(ledger: RedisLedger) -> None:
    answers = ledger.accept_many([job(f"j{n}", lane=[Lane.BULK, Lane.LIVE][n % 2]) for n in range(7)])
    assert answers == [Accepted.NEW] * 5 + [Accepted.FULL] * 2
    assert ledger.open_count() == 5


def test_where_memory_is_full_from_one_job_to_the_next_those_that_were_accepted_are_known(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        ledger = RedisLedger(client, Settings())
        ledger.accept_many([job("first", images=64), job("second", images=64)])
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 200_000)
        asked = [job(f"j{n}", images=64) for n in range(2000)]
        answers = [answer for start in range(0, 2000, 50) for answer in _offered(ledger, asked[start : start + 50])]
        assert answers[0] is Accepted.NEW
        assert Accepted.NO_ROOM in answers
        assert ledger.open_count() == 2 + answers.count(Accepted.NEW)
        client.config_set("maxmemory", "0")
        assert ledger.accept_many([asked[answers.index(Accepted.NO_ROOM)]]) == [Accepted.NEW]


def _offered(ledger: RedisLedger, jobs: list[EmbedJob]) -> list[Accepted]:
    try:
        return ledger.accept_many(jobs)
    except StateFull:
        return []


def test_a_full_server_takes_no_new_job_and_finishes_those_it_has(tmp_path: Path, settings: Settings) -> None:
    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        ledger = RedisLedger(client, settings)
        jobs = [job(f"j{n}") for n in range(4)]
        ledger.accept_many(jobs)
        ledger.start("j3", "w1", "d3")
        client.config_set("maxmemory", "1")
        with pytest.raises(StateFull):
            ledger.accept_many([job("one more")])
        alive(ledger, "w1")
        assert ledger.start("j0", "w1", "d0") is Start.GO
        assert ledger.save("j0", decided(jobs[0]))
        assert ledger.publish("j0") is Published.NOW
        assert ledger.start("j1", "w1", "d1") is Start.GO
        assert ledger.defer("j1", "away", "d1") == 2
        assert ledger.bury(letter(jobs[2]))
        assert ledger.revive("j2")
        let_pass_for_one(client, settings, "j1")
        [due] = [each for each in ledger.overdue(10) if each.job_id == "j1"]
        assert ledger.resend(due)
        assert [worker.worker_id for worker in ledger.workers()] == ["w1"]


def let_pass_for_one(client: redis.Redis, settings: Settings, job_id: str) -> None:
    # ZINCRBY is refused on a full server; a script that removes first is not.
    client.eval(
        "redis.call('ZREM', KEYS[1], ARGV[1]); return redis.call('ZADD', KEYS[1], 1, ARGV[1])",
        1, f"{settings.redis.prefix}:due", job_id,
    )  # fmt: skip


def test_dead_letters_are_listed_shown_revived_and_dropped(ledger: RedisLedger) -> None:
    for n in range(3):
        one = job(f"j{n}")
        ledger.accept_many([one])
        assert ledger.bury(letter(one, payload=f"payload {n}"))
        time.sleep(0.002)
    assert [dead.dead_id for dead in ledger.dead_letters()] == ["j2", "j1", "j0"]
    shown = ledger.dead_letter("j1")
    assert shown is not None
    assert (shown.payload, shown.worker) == ("payload 1", "w1")
    assert ledger.state("j1").state == "dead"
    assert ledger.revive("j1")
    [revived] = ledger.overdue(10)
    assert (revived.job_id, revived.stage, revived.payload) == ("j1", Stage.DEFERRED, "payload 1")
    assert ledger.drop("j0")
    assert not ledger.drop("j0")
    assert not ledger.revive("j0")
    assert ledger.dead_count() == 1


def test_workers_are_listed_while_they_beat(ledger: RedisLedger, redis_client: redis.Redis, prefix: str) -> None:
    alive(ledger, "w1")
    alive(ledger, "w2")
    assert [beat.worker_id for beat in ledger.workers()] == ["w1", "w2"]
    ledger.sign_off("w1")
    assert [beat.worker_id for beat in ledger.workers()] == ["w2"]
    let_pass(redis_client, prefix, 7)
    assert ledger.workers() == []


def publish(ledger: RedisLedger, job_id: str, images: int = 1) -> None:
    one = job(job_id, images)
    ledger.accept_many([one])
    ledger.save(job_id, decided(one))
    ledger.publish(job_id)


def test_a_reader_goes_on_from_any_id_and_misses_nothing(ledger: RedisLedger, results: RedisResults) -> None:
    assert results.position() == "0-0"
    for n in range(5):
        publish(ledger, f"j{n}", images=2)
    everything = results.after("0")
    assert len(everything) == results.count() == 10
    assert results.after(everything[3].entry_id) == everything[4:]
    assert results.after(everything[3].entry_id, limit=2) == everything[4:6]
    assert results.after(results.position(), block_s=0.02) == []


def test_a_waiting_reader_wakes_for_the_next_decision(ledger: RedisLedger, results: RedisResults) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(results.after, FROM_NOW, block_s=30)
        time.sleep(0.05)
        publish(ledger, "j1")
        [entry] = waiting.result()
    assert entry.decision.job_id == "j1"


def test_a_group_shares_the_stream_and_takes_over_what_a_lost_consumer_held(
    ledger: RedisLedger, results: RedisResults
) -> None:
    for n in range(4):
        publish(ledger, f"j{n}")
    results.join("door")
    results.join("door")
    first = results.take("door", "a", limit=2)
    second = results.take("door", "b", limit=2)
    assert [e.decision.job_id for e in first + second] == ["j0", "j1", "j2", "j3"]
    assert results.take("door", "a") == first, "what was not acknowledged comes again"
    assert results.acknowledge("door", [e.entry_id for e in first]) == 2
    assert results.take("door", "a") == [], "b's entries are not stolen yet"
    time.sleep(0.03)
    assert results.take("door", "a", steal_after_s=0.02) == second


def test_results_are_kept_up_to_their_number_and_trimmed_without_a_publication_too(
    redis_client: redis.Redis, settings: Settings
) -> None:
    short = settings.model_copy(update={"results": settings.results.model_copy(update={"keep_entries": 200})})
    ledger, results = RedisLedger(redis_client, settings), RedisResults(redis_client, settings)
    for n in range(500):
        publish(ledger, f"j{n}")
    assert results.count() == 500
    RedisLedger(redis_client, short).trim_results()
    assert results.count() == 200
    publish(RedisLedger(redis_client, short), "last")
    assert results.count() == 201


def test_an_entry_of_a_newer_version_is_skipped_and_what_follows_is_read(
    ledger: RedisLedger, results: RedisResults, redis_client: redis.Redis, prefix: str
) -> None:
    publish(ledger, "j1")
    newer = redis_client.xadd(f"{prefix}:results", {"gallery": "g"})
    redis_client.hset(f"{prefix}:results:told", newer, '{"wire": 99}')
    publish(ledger, "j2")
    assert [entry.decision.job_id for entry in results.after("0")] == ["j1", "j2"]


def test_readers_and_groups_pass_over_what_was_erased_and_miss_nothing_else(
    ledger: RedisLedger, results: RedisResults, redis_client: redis.Redis, prefix: str
) -> None:
    results.join("door")
    for n in range(8):
        publish(ledger, f"j{n}")
    entries = results.after("0")
    results.take("door", "a", limit=1)
    redis_client.hdel(f"{prefix}:results:told", *(entry.entry_id for entry in entries[:6]))
    assert results.after("0", limit=2) == entries[6:]
    assert results.take("door", "a", limit=10) == entries[6:]
    assert redis_client.xpending(f"{prefix}:results", "door")["pending"] == 2
    assert results.after(entries[5].entry_id, limit=2) == entries[6:]
    assert results.count() == 2


def test_results_are_kept_for_their_age_and_no_longer(
    redis_client: redis.Redis, settings: Settings, prefix: str
) -> None:
    short = settings.model_copy(update={"results": settings.results.model_copy(update={"keep_s": 1})})
    ledger, results = RedisLedger(redis_client, short), RedisResults(redis_client, short)
    for n in range(300):
        publish(ledger, f"old{n}")
    time.sleep(1.2)
    publish(ledger, "new")
    assert len(results.after("0", limit=1000)) < 300, "a publication takes some of the old ones along"
    ledger.trim_results()
    assert [entry.decision.job_id for entry in results.after("0", limit=1000)] == ["new"]
    assert results.fetch(ledger.state("old0").entries) == []


def test_many_jobs_are_accepted_by_a_server_that_has_forgotten_the_script(
    ledger: RedisLedger, redis_client: redis.Redis
) -> None:
    redis_client.script_flush()

    assert ledger.accept_many([job("j1"), job("j2")]) == [Accepted.NEW] * 2
    assert ledger.accept_many([job("j1"), job("j2")]) == [Accepted.OPEN] * 2


def test_what_was_done_before_the_script_was_found_missing_keeps_its_answer(
    ledger: RedisLedger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody else loads it between two calls of a pipeline: the first fails, the second is done."""
    ledger.accept_many([job("warm")])
    once, pipelined = iter([True]), ledger._pipelined

    def half(asked: list[tuple[object, ...]]) -> list[bytes]:
        if next(once, False):
            pipelined(asked[1:])
            raise redis.exceptions.NoScriptError
        return pipelined(asked)

    monkeypatch.setattr(ledger, "_pipelined", half)

    assert ledger.accept_many([job("j1"), job("j2")]) == [Accepted.NEW] * 2
