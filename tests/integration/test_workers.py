"""What the workers do with each kind of message, on a real ledger; the broker and the model are scripted."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
import redis

from kith import wire
from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.errors import BrokerUnavailable, StoreUnavailable, UnknownGallery
from kith.jobs import Decision, EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.ledger import WorkerBeat
from kith.settings import Settings
from workers.embed import EmbedWorker
from workers.publisher import Publisher
from workers.sweeper import Sweeper, Swept


class Broker:
    """Remembers what was sent; away when told so."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.saved: list[str] = []
        self.away = False
        self.depths: dict[str, int] = {}

    def send(self, payload: str, lane: Lane) -> None:
        self.send_many([(payload, lane)])

    def send_many(self, payloads: Sequence[tuple[str, Lane]]) -> None:
        self._check()
        self.sent += [payload for payload, _ in payloads]

    def send_saved(self, job_id: str) -> None:
        self._check()
        self.saved.append(job_id)

    def depth(self, queue: str) -> int:
        self._check()
        return self.depths.get(queue, 0)

    def _check(self) -> None:
        if self.away:
            raise BrokerUnavailable


class Script:
    """A recogniser that does as told."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.done: list[str] = []

    def decide(self, job: EmbedJob) -> list[Decision]:
        self.done.append(job.job_id)
        if self.trouble is not None:
            raise self.trouble
        face = Face(Outcome.MATCH, subject="Ada", nearest="Ada", score=0.9)
        return [decide(job, n, Outcome.MATCH, face=face) for n in range(len(job.images))]


class House:
    """One worker of each kind around one ledger."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.ledger, self.results = RedisLedger(client, settings), RedisResults(client, settings)
        self.broker, self.script = Broker(), Script()
        self.publisher = Publisher(self.ledger)
        self.worker = EmbedWorker(self.script, self.ledger, self.broker, "w1")  # type: ignore[arg-type]
        self.sweeper = Sweeper(self.ledger, self.broker, self.publisher, settings.jobs)

    def accept(self, job_id: str = "j1", *, expires_ms: int | None = None, lane: Lane = Lane.BULK) -> str:
        job = EmbedJob(
            job_id, Kind.IDENTIFY, "g", lane, (ImageRef("a"), ImageRef("b")), now_ms(), expires_ms=expires_ms
        )
        self.ledger.accept_many([job])
        return wire.to_json(job)

    def beat(self) -> None:
        self.ledger.beat(WorkerBeat("w1", "embed", "host", 1, now_ms(), now_ms()))

    def outcomes(self) -> list[tuple[str, str]]:
        return [(e.decision.decision_id, e.decision.outcome) for e in self.results.after("0")]


@pytest.fixture
def house(redis_client: redis.Redis, prefix: str) -> House:
    jobs = {
        "resend_after_s": 0.05,
        "started_timeout_s": 0.5,
        "max_deliveries": 3,
        "max_retries": 2,
        "retry_backoff_s": 0.01,
    }
    return House(redis_client, Settings(redis={"prefix": prefix}, jobs=jobs, worker={"heartbeat_s": 0.1}))


def test_a_message_becomes_saved_decisions_and_these_one_record_each(house: House) -> None:
    house.worker.handle(house.accept())
    assert house.broker.saved == ["j1"]
    assert house.publisher.publish("j1")
    assert not house.publisher.publish("j1")
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_message_delivered_again_does_no_work_twice(house: House) -> None:
    message = house.accept()
    house.worker.handle(message)
    house.worker.handle(message)
    house.publisher.publish("j1")
    house.worker.handle(message)
    assert house.script.done == ["j1"]
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_rejected_job_is_a_dead_letter_with_its_reason_and_its_message(house: House) -> None:
    house.script.trouble = UnknownGallery("there is no gallery g")
    message = house.accept()
    house.worker.handle(message)
    [dead] = house.ledger.dead_letters()
    assert (dead.dead_id, dead.reason, dead.payload) == ("j1", "unknown_gallery: there is no gallery g", message)
    assert house.ledger.open_count() == 0


@pytest.mark.parametrize(
    ("message", "code", "dead_id"),
    [
        ('{"job_id": "j9", "lane": "live", "wire": 99}', "unknown_wire_version", "j9"),
        ('{"job_id": "j9", "wire": 1}', "malformed_message", "j9"),
        ("not json", "malformed_message", "unreadable-"),
        ('{"job_id": 7, "lane": []}', "malformed_message", "unreadable-"),
        ("[]", "malformed_message", "unreadable-"),
    ],
)
def test_a_message_nobody_can_read_is_a_dead_letter_and_never_dropped(
    house: House, message: str, code: str, dead_id: str
) -> None:
    house.worker.handle(message)
    house.worker.handle(message)
    [dead] = house.ledger.dead_letters()
    assert (dead.code, dead.payload) == (code, message)
    assert dead.dead_id.startswith(dead_id)


def test_a_newer_job_revived_after_the_upgrade_is_done(house: House) -> None:
    message = house.accept()
    newer = json.dumps(json.loads(message) | {"wire": 2})
    house.worker.handle(newer)
    assert house.ledger.state("j1").state == "dead"
    assert house.ledger.revive("j1")
    assert house.sweeper.sweep().resent == 1
    assert house.broker.sent == [newer]


def test_a_job_the_ledger_never_saw_is_a_dead_letter(house: House) -> None:
    job = EmbedJob("ghost", Kind.IDENTIFY, "g", Lane.BULK, (ImageRef("a"),), now_ms())
    house.worker.handle(wire.to_json(job))
    assert [dead.code for dead in house.ledger.dead_letters()] == ["not_in_ledger"]
    assert house.script.done == []


def test_a_part_that_is_away_puts_the_job_off_and_the_sweeper_sends_it_again(house: House) -> None:
    house.script.trouble = StoreUnavailable("the store is away")
    message = house.accept()
    house.worker.handle(message)
    assert house.ledger.state("j1").reason == "store_unavailable: the store is away"
    time.sleep(0.02)
    assert house.sweeper.sweep() == Swept(resent=1)
    house.script.trouble = None
    house.worker.handle(house.broker.sent.pop())
    house.publisher.publish("j1")
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_job_that_is_retried_too_often_is_a_dead_letter_with_the_last_trouble(house: House) -> None:
    house.script.trouble = StoreUnavailable("still away")
    message = house.accept()
    for _ in range(3):
        house.worker.handle(message)
    [dead] = house.ledger.dead_letters()
    assert dead.code == "retries_exhausted"
    assert "still away" in dead.reason


def test_a_bug_in_the_worker_costs_a_delay_and_not_the_job(house: House) -> None:
    house.script.trouble = ZeroDivisionError("oops")
    house.worker.handle(house.accept())
    assert house.ledger.state("j1").reason == "internal: ZeroDivisionError: oops"


def test_a_lost_message_is_sent_again_when_its_lane_is_empty(house: House) -> None:
    message = house.accept()
    time.sleep(0.06)
    assert house.sweeper.sweep() == Swept(resent=1)
    assert house.broker.sent == [message]


def test_a_job_that_waits_in_a_long_queue_is_not_sent_again(house: House) -> None:
    house.accept()
    house.broker.depths["bulk"] = 1000
    time.sleep(0.06)
    assert house.sweeper.sweep() == Swept(postponed=1)
    assert house.broker.sent == []


def test_a_job_overtaken_by_later_ones_is_sent_again_however_long_the_queue(house: House) -> None:
    lost = house.accept("lost")
    house.broker.depths["bulk"] = 1000
    time.sleep(0.06)
    house.worker.handle(house.accept("later"))
    assert house.sweeper.sweep() == Swept(resent=1)
    assert house.broker.sent == [lost]


def test_the_job_of_a_dead_worker_is_sent_again_and_that_of_a_living_one_left_alone(house: House) -> None:
    house.accept()
    house.beat()
    house.ledger.start("j1", "w1")
    time.sleep(0.06)
    assert house.sweeper.sweep() == Swept(postponed=1)
    house.ledger.sign_off("w1")
    time.sleep(0.06)
    assert house.sweeper.sweep() == Swept(resent=1)


def test_a_worker_that_hangs_on_a_job_loses_it_after_the_timeout(house: House) -> None:
    house.accept()
    house.beat()
    house.ledger.start("j1", "w1")
    time.sleep(0.55)
    house.beat()
    assert house.sweeper.sweep() == Swept(resent=1)


def test_saved_decisions_whose_message_was_lost_are_published_by_the_sweeper(house: House) -> None:
    house.broker.away = True
    house.worker.handle(house.accept())
    assert house.outcomes() == []
    time.sleep(0.06)
    assert house.sweeper.sweep() == Swept(published=1)
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_live_match_that_comes_late_to_the_publisher_is_published_as_expired(house: House) -> None:
    house.worker.handle(house.accept(expires_ms=now_ms() + 30, lane=Lane.LIVE))
    time.sleep(0.04)
    house.publisher.publish("j1")
    assert house.outcomes() == [("j1:0", "expired"), ("j1:1", "expired")]
    assert all("Ada" not in wire.to_json(entry.decision) for entry in house.results.after("0"))


def test_an_enrolment_is_published_however_late_for_it_has_happened(house: House) -> None:
    message = house.accept(expires_ms=now_ms() + 20)
    job = wire.from_json(EmbedJob, message)
    house.ledger.save("j1", [replace(decide(job, n, Outcome.ENROLLED), kind=Kind.ENROL) for n in range(2)])
    time.sleep(0.03)
    house.publisher.publish("j1")
    assert [outcome for _, outcome in house.outcomes()] == ["enrolled", "enrolled"]
