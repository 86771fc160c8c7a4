"""The ledger and the results stream on a real server: no step loses a job, no step counts twice."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.errors import Overloaded
from kith.jobs import Decision, EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.ledger import Accepted, DeadLetter, Published, Stage, Start, WorkerBeat
from kith.results import FROM_NOW
from kith.settings import Settings


@pytest.fixture
def settings(prefix: str) -> Settings:
    return Settings(
        redis={"prefix": prefix},
        jobs={"resend_after_s": 0.05, "max_deliveries": 3, "max_retries": 3, "retry_backoff_s": 0.02, "max_open": 5},
        worker={"heartbeat_s": 0.1},
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
    assert ledger.start(one.job_id, "w1") is Start.GO
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
    ledger.start(one.job_id, "w1")
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
    assert ledger.start(one.job_id, "w1") is Start.GO
    assert ledger.start(one.job_id, "w2") is Start.RUNNING
    ledger.sign_off("w1")
    assert ledger.start(one.job_id, "w2") is Start.GO


def test_a_second_delivery_of_a_saved_or_finished_job_does_no_work(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    ledger.save(one.job_id, decided(one))
    assert ledger.start(one.job_id, "w1") is Start.SAVED
    ledger.publish(one.job_id)
    assert ledger.start(one.job_id, "w1") is Start.FINISHED
    assert ledger.start("never accepted", "w1") is Start.ABSENT
    assert not ledger.save(one.job_id, decided(one))
    assert not ledger.bury(letter(one)), "a decided job must not become a dead letter"


def test_a_job_that_kills_its_workers_is_poison_after_a_few_deliveries(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    assert [ledger.start(one.job_id, f"w{n}") for n in range(4)] == [Start.GO] * 3 + [Start.POISONED]


def test_a_job_put_off_for_want_of_a_part_backs_off_and_is_not_poison(ledger: RedisLedger) -> None:
    one = job()
    ledger.accept_many([one])
    waits = []
    for _ in range(4):
        assert ledger.start(one.job_id, "w1") is Start.GO
        waits.append(ledger.defer(one.job_id, "store_unavailable: away"))
    assert waits == [0.02, 0.04, 0.08, None]
    assert ledger.state(one.job_id).reason == "store_unavailable: away"


def test_overdue_jobs_are_handed_out_with_what_the_sweeper_must_know(ledger: RedisLedger) -> None:
    one, two = job("j1"), job("j2")
    ledger.accept_many([one, two])
    assert ledger.overdue(10) == []
    alive(ledger, "w1")
    ledger.start("j1", "w1")
    time.sleep(0.07)
    found = {each.job_id: each for each in ledger.overdue(10)}
    assert (found["j1"].stage, found["j1"].worker_alive) == (Stage.STARTED, True)
    assert (found["j2"].stage, found["j2"].worker_alive) == (Stage.SENT, False)
    assert ledger.newest_started_ms(Lane.BULK) == found["j1"].sent_ms
    assert ledger.newest_started_ms(Lane.LIVE) == 0
    time.sleep(0.4)
    assert not {each.job_id: each for each in ledger.overdue(10)}["j1"].worker_alive


def test_of_many_sweepers_one_wins_each_job(ledger: RedisLedger) -> None:
    ledger.accept_many([job()])
    time.sleep(0.06)
    [seen] = ledger.overdue(10)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: ledger.resend(seen), range(8))) == 1
    assert ledger.overdue(10) == []


def test_more_open_jobs_than_the_limit_are_refused_with_the_limit_and_how_many_got_in(ledger: RedisLedger) -> None:
    with pytest.raises(Overloaded, match=r"5 jobs are open.*5 of these 7 were accepted"):
        ledger.accept_many([job(f"j{n}") for n in range(7)])
    assert ledger.open_count() == 5


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


def test_workers_are_listed_while_they_beat(ledger: RedisLedger) -> None:
    alive(ledger, "w1")
    alive(ledger, "w2")
    assert [beat.worker_id for beat in ledger.workers()] == ["w1", "w2"]
    ledger.sign_off("w1")
    assert [beat.worker_id for beat in ledger.workers()] == ["w2"]
    time.sleep(0.35)
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
        waiting = pool.submit(results.after, FROM_NOW, block_s=5)
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


def test_results_are_kept_for_their_age_and_no_longer(
    redis_client: redis.Redis, settings: Settings, prefix: str
) -> None:
    short = settings.model_copy(update={"results": settings.results.model_copy(update={"keep_s": 1})})
    ledger, results = RedisLedger(redis_client, short), RedisResults(redis_client, short)
    for n in range(300):
        publish(ledger, f"old{n}")
    time.sleep(1.2)
    publish(ledger, "new")
    kept = [entry.decision.job_id for entry in results.after("0", limit=1000)]
    assert kept[-1] == "new"
    # Trimming is by whole nodes of the stream (about 100 entries), never an entry too early.
    assert len(kept) <= 101
    assert results.fetch(ledger.state("old0").entries) == []
