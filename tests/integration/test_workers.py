"""What the workers do with each kind of message, on a real ledger; the broker and the model are scripted."""

import base64
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import redis

from kith import wire
from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.backends.sightings_redis import RedisSightings
from kith.errors import BrokerUnavailable, KeysUnavailable, StateUnavailable, StoreUnavailable, UnknownGallery
from kith.jobs import (
    Content,
    Decision,
    EmbedJob,
    Face,
    ImageRef,
    Kind,
    Lane,
    Outcome,
    Quality,
    Seen,
    decide,
    now_ms,
)
from kith.ledger import Published, WorkerBeat
from kith.settings import Settings
from kith.watching.news import Sighted, Unfit
from tests.integration.passing_time import let_pass
from workers.embed import EmbedWorker
from workers.publisher import Publisher
from workers.sweeper import Sweeper, Swept
from workers.unreadable import as_text


class Broker:
    """Remembers what was sent; away when told so."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.saved: list[str] = []
        self.away = False
        self.sending = True
        self.depths: dict[str, int] = {}

    def send(self, payload: str, lane: Lane) -> None:
        self.send_many([(payload, lane)])

    def send_many(self, payloads: Sequence[tuple[str, Lane]]) -> None:
        self._check()
        if not self.sending:
            raise BrokerUnavailable
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
        self.takes_s = 0.0
        self.done: list[str] = []
        self.vector: bytes | None = None

    def decide(self, job: EmbedJob) -> list[Decision]:
        self.done.append(job.job_id)
        time.sleep(self.takes_s)
        if self.trouble is not None:
            raise self.trouble
        if job.kind is Kind.REEMBED:
            return []
        face = Face(Outcome.MATCH, subject="Ada", nearest="Ada", score=0.9)
        parts = {"face": face, "cutoff": 0.4, "model_id": "m", "vector": self.vector}
        return [decide(job, n, Outcome.MATCH, **parts) for n in range(len(job.images))]


class House:
    """One worker of each kind around one ledger."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self.client, self.prefix = client, settings.redis.prefix
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

    def let_pass(self, seconds: float) -> None:
        let_pass(self.client, self.prefix, seconds)

    def outcomes(self) -> list[tuple[str, str]]:
        return [(e.decision.decision_id, e.decision.outcome) for e in self.results.after("0")]


@pytest.fixture
def house(redis_client: redis.Redis, prefix: str) -> House:
    jobs = {
        "resend_after_s": 30,
        "started_timeout_s": 300,
        "max_deliveries": 3,
        "max_retries": 2,
        "retry_backoff_s": 1,
    }
    return House(redis_client, Settings(redis={"prefix": prefix}, jobs=jobs, worker={"heartbeat_s": 2}))


def test_a_message_becomes_saved_decisions_and_these_one_record_each(house: House) -> None:
    house.worker.handle(house.accept())
    assert house.broker.saved == ["j1"]
    assert house.publisher.publish("j1")
    assert not house.publisher.publish("j1")
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


@pytest.mark.parametrize("lane", [Lane.LIVE, Lane.INTERACTIVE])
def test_a_job_somebody_waits_for_is_published_by_the_worker_that_decided_it(house: House, lane: Lane) -> None:
    message = house.accept(lane=lane, expires_ms=now_ms() + 60_000)
    house.worker.handle(message)
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]
    assert house.broker.saved == []
    house.worker.handle(message)
    assert not house.publisher.publish("j1")
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_live_job_decided_past_its_deadline_is_published_as_expired_and_names_nobody(house: House) -> None:
    house.script.takes_s = 0.05
    house.worker.handle(house.accept(lane=Lane.LIVE, expires_ms=now_ms() + 20))
    assert house.outcomes() == [("j1:0", "expired"), ("j1:1", "expired")]
    assert [entry.decision.subject for entry in house.results.after("0")] == [None, None]


def test_a_live_job_whose_publication_lost_its_answer_is_published_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Published] = []
    publish = house.ledger.publish

    def lose_the_first(job_id: str, decisions: Sequence[Decision] = (), seen: Sequence[Sighted] = ()) -> Published:
        answers.append(publish(job_id, decisions, seen))
        if len(answers) == 1:
            raise StateUnavailable("the answer was lost on the way")
        return answers[-1]

    monkeypatch.setattr(house.ledger, "publish", lose_the_first)
    house.worker.handle(house.accept(lane=Lane.LIVE, expires_ms=now_ms() + 60_000))
    assert answers == [Published.NOW, Published.BEFORE]
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


@pytest.mark.parametrize("lane", [Lane.BULK, Lane.INTERACTIVE])
def test_a_job_that_asks_for_no_decision_is_finished_and_publishes_nothing(house: House, lane: Lane) -> None:
    job = EmbedJob("j1", Kind.REEMBED, "g", lane, (ImageRef("a", template="t"),), now_ms(), model_id="m")
    house.ledger.accept_many([job])
    house.worker.handle(wire.to_json(job))
    assert house.outcomes() == []
    assert house.ledger.state("j1").state == "done"
    assert house.ledger.open_count() == 0
    house.worker.handle(wire.to_json(job))
    assert house.script.done == ["j1"]


def test_of_two_workers_with_the_same_live_job_one_publishes(house: House) -> None:
    message = house.accept(lane=Lane.LIVE, expires_ms=now_ms() + 60_000)
    decisions = house.script.decide(wire.from_json(EmbedJob, message))
    barrier = threading.Barrier(8)

    def publish(_: int) -> bool:
        barrier.wait()
        return house.publisher.publish("j1", decisions)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(publish, range(8))) == 1
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
    ("message", "code"),
    [
        ('{"job_id": "j9", "lane": "live", "wire": 99}', "unknown_wire_version"),
        ('{"job_id": "j9", "wire": 1}', "malformed_message"),
        ("not json", "malformed_message"),
        ('{"job_id": 7, "lane": []}', "malformed_message"),
        ("[]", "malformed_message"),
        ("[" * 100_000, "malformed_message"),
        ('{"job_id": "\ud800"}', "malformed_message"),
        ("\udfff", "malformed_message"),
        ({"job_id": "j9"}, "malformed_message"),
        (None, "malformed_message"),
        (7, "malformed_message"),
    ],
)
def test_a_message_nobody_can_read_is_one_dead_letter_and_never_dropped(
    house: House, message: object, code: str
) -> None:
    house.worker.handle(message)
    house.worker.handle(message)
    [dead] = house.ledger.dead_letters()
    assert (dead.code, dead.payload) == (code, as_text(message))
    assert dead.dead_id.startswith("unreadable-")


def test_a_broken_message_that_carries_the_id_of_a_sound_job_leaves_that_job_alone(house: House) -> None:
    message = house.accept()
    house.worker.handle(message.replace('"wire":1', '"wire":99'))
    assert [dead.dead_id.partition("-")[0] for dead in house.ledger.dead_letters()] == ["unreadable"]
    house.worker.handle(message)
    house.publisher.publish("j1")
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_job_of_a_newer_version_is_a_dead_letter_under_its_id_and_sent_again_after_the_upgrade(house: House) -> None:
    newer = house.accept().replace('"wire":1', '"wire":2')
    # As the newer producer would have written it.
    house.client.hset(f"{house.prefix}:job:j1", "payload", newer)
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
    house.let_pass(1.1)
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
    assert house.sweeper.sweep() == Swept()
    house.let_pass(31)
    assert house.sweeper.sweep() == Swept(resent=1)
    assert house.broker.sent == [message]
    assert house.sweeper.sweep() == Swept()


def test_a_job_that_waits_in_a_long_queue_is_not_sent_again(house: House) -> None:
    house.accept()
    house.broker.depths["bulk"] = 1000
    house.let_pass(3600)
    assert house.sweeper.sweep() == Swept()
    assert house.broker.sent == []


def test_a_job_overtaken_by_later_ones_is_sent_again_however_long_the_queue(house: House) -> None:
    lost = house.accept("lost")
    house.broker.depths["bulk"] = 1000
    house.let_pass(31)
    house.worker.handle(house.accept("later"))
    assert house.sweeper.sweep() == Swept(resent=1)
    assert house.broker.sent == [lost]


def test_a_job_put_off_does_not_queue_behind_thousands_that_wait(house: House) -> None:
    for n in range(1500):
        house.accept(f"waiting {n}")
    house.broker.depths["bulk"] = 1500
    house.let_pass(31)
    house.script.trouble = StoreUnavailable("the store is away")
    urgent = house.accept("urgent", lane=Lane.INTERACTIVE)
    house.worker.handle(urgent)
    house.let_pass(1.1)
    assert house.sweeper.sweep() == Swept(resent=1)
    assert house.broker.sent == [urgent]


def test_one_sweep_sends_thousands_of_lost_jobs(house: House) -> None:
    for n in range(1500):
        house.accept(f"lost {n}")
    house.let_pass(31)
    assert house.sweeper.sweep() == Swept(resent=1500)


def test_what_cannot_be_sent_for_want_of_a_broker_is_due_again_soon(house: House) -> None:
    house.accept()
    house.let_pass(31)
    house.broker.sending = False
    with pytest.raises(BrokerUnavailable):
        house.sweeper.sweep()
    house.broker.sending = True
    house.broker.depths["bulk"] = 1000
    house.let_pass(1.1)
    assert house.sweeper.sweep() == Swept(resent=1)


def test_the_job_of_a_dead_worker_is_sent_again_and_that_of_a_living_one_left_alone(house: House) -> None:
    house.accept()
    house.beat()
    house.ledger.start("j1", "w1", "d1")
    house.let_pass(31)
    house.beat()
    assert house.sweeper.sweep() == Swept(postponed=1)
    house.let_pass(7)
    assert house.sweeper.sweep() == Swept(resent=1)


def test_a_poisoned_job_whose_worker_died_before_burying_it_ends_in_the_dead_letters(house: House) -> None:
    message = house.accept()
    for n in range(4):
        # Started and never heard of again; the fourth was told that the job is poison.
        house.ledger.start("j1", f"gone {n}", f"d{n}")
        house.let_pass(31)
        assert house.sweeper.sweep() == Swept(resent=1)
    house.worker.handle(house.broker.sent.pop())
    [dead] = house.ledger.dead_letters()
    assert (dead.dead_id, dead.code, dead.payload) == ("j1", "poisoned_job", message)
    assert house.script.done == []
    assert house.ledger.open_count() == 0


def test_a_worker_that_hangs_on_a_job_loses_it_after_the_timeout(house: House) -> None:
    house.accept()
    house.beat()
    house.ledger.start("j1", "w1", "d1")
    house.let_pass(301)
    house.beat()
    assert house.sweeper.sweep() == Swept(resent=1)


def test_saved_decisions_whose_message_was_lost_are_published_by_the_sweeper(house: House) -> None:
    house.broker.away = True
    house.worker.handle(house.accept())
    assert house.outcomes() == []
    house.let_pass(31)
    house.broker.away = False
    assert house.sweeper.sweep() == Swept(published=1)
    assert house.outcomes() == [("j1:0", "match"), ("j1:1", "match")]


def test_a_saved_job_this_version_cannot_read_keeps_the_sweeper_from_no_other(house: House) -> None:
    late = now_ms() - 1
    for job_id in ("newer", "sound"):
        house.ledger.accept_many([EmbedJob(job_id, Kind.IDENTIFY, "g", Lane.BULK, (ImageRef("a"),), now_ms())])
        job = EmbedJob(job_id, Kind.IDENTIFY, "g", Lane.BULK, (ImageRef("a"),), now_ms(), expires_ms=late)
        house.ledger.save(job_id, [decide(job, 0, Outcome.UNKNOWN)])
    house.client.hset(f"{house.prefix}:job:newer", "d:0", '{"wire": 99}')
    house.let_pass(31)
    assert house.sweeper.sweep().published == 1
    assert house.outcomes() == [("sound:0", "expired")]
    assert house.ledger.state("newer").state == "saved"


def test_a_saved_match_that_comes_late_to_the_publisher_is_published_as_expired(house: House) -> None:
    house.worker.handle(house.accept(expires_ms=now_ms() + 30))
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


def of_camera(house: House, *, expires_ms: int, lane: Lane = Lane.LIVE) -> str:
    """A job of two crops of one track."""
    crops = [
        Seen("front", "front.r.1", now_ms(), (0, 0, 50, 50), (640, 480), number, Quality(0.5, 1, 0.5, 1, 1))
        for number in (1, 2)
    ]
    images = tuple(ImageRef(f"k{crop.number}", seen=crop) for crop in crops)
    job = EmbedJob("c1", Kind.IDENTIFY, "door", lane, images, now_ms(), Content.ALIGNED, expires_ms=expires_ms)
    house.ledger.accept_many([job])
    return wire.to_json(job)


def seen_by(house: House) -> list[Sighted]:
    log = RedisSightings(house.client, Settings(redis={"prefix": house.prefix}))
    found = [heard.news for heard in log.after({"door": "0-0"}).get("door", [])]
    assert all(isinstance(news, Sighted) for news in found)
    return found  # type: ignore[return-value]


VECTOR = np.array([0.6, 0.8], np.float32)


@pytest.mark.parametrize("lane", Lane)
def test_what_a_camera_saw_is_told_to_the_watcher_with_the_decision_once_however_often_it_is_delivered(
    house: House, lane: Lane
) -> None:
    house.script.vector = VECTOR.tobytes()
    message = of_camera(house, expires_ms=now_ms() + 60_000, lane=lane)
    for _ in range(3):
        house.worker.handle(message)
    house.publisher.publish("c1")
    assert house.outcomes() == [("c1:0", "match"), ("c1:1", "match")]
    first, second = seen_by(house)
    assert (first.decision_id, second.decision_id) == ("c1:0", "c1:1")
    assert (first.nearest, first.score, first.cutoff, first.model_id, first.quality) == ("Ada", 0.9, 0.4, "m", 0.5)
    assert (first.seen.number, second.seen.number, first.image, first.unfit) == (1, 2, "k1", Unfit.BLURRED)
    assert base64.b64decode(first.vector or "") == VECTOR.tobytes()
    # The records of the results carry no vector.
    told = house.client.hgetall(f"{house.prefix}:results:told")
    assert not any(b"vector" in text for text in told.values())


def test_what_a_camera_saw_too_long_ago_is_told_without_name_and_vector(house: House) -> None:
    house.script.takes_s = 0.05
    house.worker.handle(of_camera(house, expires_ms=now_ms() + 20))
    assert house.outcomes() == [("c1:0", "expired"), ("c1:1", "expired")]
    assert [(news.outcome, news.unfit, news.vector, news.nearest) for news in seen_by(house)] == [
        (Outcome.EXPIRED, Unfit.LATE, None, None)
    ] * 2


def test_when_the_keys_that_cover_a_face_are_away_the_job_is_put_off(house: House) -> None:
    def away(gallery: str, vector: object) -> str:
        raise KeysUnavailable

    house.worker = EmbedWorker(house.script, house.ledger, house.broker, "w1", away)  # type: ignore[arg-type]
    message = of_camera(house, expires_ms=now_ms() + 60_000)
    house.script.vector = VECTOR.tobytes()
    house.worker.handle(message)
    assert house.ledger.state("c1").state == "deferred"
    assert seen_by(house) == []


class Told:
    """Spans as they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | int]] = []

    def decided(self, job: EmbedJob, began_ns: int, decisions: Sequence[Decision]) -> None:
        assert job.created_ms * 10**6 <= began_ns <= time.time_ns()
        self.told.append((job.job_id, len(decisions)))

    def failed(self, job: EmbedJob, began_ns: int, code: str) -> None:
        assert job.created_ms * 10**6 <= began_ns <= time.time_ns()
        self.told.append((job.job_id, code))

    def close(self) -> None:
        pass


def test_traces_are_told_of_each_time_a_worker_had_a_job_and_of_the_codes_of_what_failed(house: House) -> None:
    told = Told()
    house.worker = EmbedWorker(house.script, house.ledger, house.broker, "w1", spans=told)  # type: ignore[arg-type]
    for job_id, trouble in (
        ("fine", None),
        ("later", StoreUnavailable("the store is away")),
        ("bug", ZeroDivisionError("Ada")),
        ("never", UnknownGallery("there is no gallery g")),
    ):
        house.script.trouble = trouble
        house.worker.handle(house.accept(job_id))
    assert told.told == [
        ("fine", 2),
        ("later", "store_unavailable"),
        ("bug", "internal"),
        ("never", "unknown_gallery"),
    ]
