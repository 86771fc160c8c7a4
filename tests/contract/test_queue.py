"""The broker through Celery, over Valkey and over RabbitMQ: one suite for both."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from kombu import Producer
from kombu.exceptions import BatchPublishError
from pydantic import SecretStr

from kith.backends.queue_celery import CeleryQueue, make_app, queue_name
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import BrokerUnavailable
from kith.jobs import EMBED_TASK, LANES, PUBLISH_QUEUE, PUBLISH_TASK, Lane
from kith.settings import Settings
from workers.app import register


@dataclass
class Bench:
    """A queue and the application behind it."""

    settings: Settings
    app: Celery
    queue: CeleryQueue


@pytest.fixture(params=["valkey", "rabbitmq"])
def bench(request: pytest.FixtureRequest, valkey: EmbeddedValkey, prefix: str) -> Iterator[Bench]:
    broker = None if request.param == "valkey" else SecretStr(request.getfixturevalue("rabbitmq_url"))
    settings = Settings(redis={"url": valkey.url, "prefix": prefix}, broker={"url": broker})
    app = make_app(settings)
    yield Bench(settings, app, CeleryQueue(app, settings))
    app.close()


def read(bench: Bench, queue: str) -> list[str]:
    """Everything waiting in a queue, as a consumer of another kind would find it."""
    with bench.app.connection_for_read() as connection:
        declared = bench.app.amqp.queues[queue_name(bench.settings, queue)]
        simple = connection.SimpleQueue(declared, no_ack=True)
        found = []
        while True:
            try:
                message = simple.get(timeout=0.3)
            except simple.Empty:
                break
            assert message.content_type == "application/json"
            found.append(message.payload[0][0])
        simple.close()
    return found


@contextmanager
def working(app: Celery, queues: str) -> Iterator[None]:
    """A worker in a thread of this process. Logging stays as it is: left to itself Celery lets only errors through,
    here and in all tests that come after."""

    def as_it_is(**_: object) -> None: ...

    signals.setup_logging.connect(as_it_is)
    try:
        with start_worker(app, pool="solo", queues=queues, perform_ping_check=False, shutdown_timeout=20):
            yield
    finally:
        signals.setup_logging.disconnect(as_it_is)
        logging.captureWarnings(False)


def until(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_jobs_arrive_in_their_lane_in_the_order_they_were_sent(bench: Bench) -> None:
    bench.queue.send_many([(f"job {n}", Lane.BULK) for n in range(150)])
    bench.queue.send("urgent", Lane.LIVE)
    bench.queue.send_saved("j1")
    assert [bench.queue.depth(queue) for queue in (*LANES, PUBLISH_QUEUE)] == [1, 0, 150, 1]
    assert read(bench, Lane.BULK) == [f"job {n}" for n in range(150)]
    assert read(bench, Lane.LIVE) == ["urgent"]
    assert read(bench, PUBLISH_QUEUE) == ["j1"]
    assert bench.queue.depth(Lane.BULK) == 0


def test_many_threads_send_at_once_and_nothing_is_lost(bench: Bench) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bench.queue.send(f"job {n}", Lane.BULK), range(80)))
    assert sorted(read(bench, Lane.BULK)) == sorted(f"job {n}" for n in range(80))


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
def test_ordinary_celery_workers_run_the_tasks_under_their_published_names(bench: Bench) -> None:
    done: list[str] = []
    register(bench.app, EMBED_TASK, lambda payload: done.append(f"embed {payload}"))
    register(bench.app, PUBLISH_TASK, lambda job_id: done.append(f"publish {job_id}"))
    bench.queue.send("a", Lane.INTERACTIVE)
    bench.queue.send_saved("b")
    queues = ",".join(queue_name(bench.settings, queue) for queue in (*LANES, PUBLISH_QUEUE))
    with working(bench.app, queues):
        until(lambda: len(done) == 2)
    assert sorted(done) == ["embed a", "publish b"]


def test_the_urgent_lane_is_emptied_before_the_others_over_valkey(valkey: EmbeddedValkey, prefix: str) -> None:
    settings = Settings(redis={"url": valkey.url, "prefix": prefix})
    app = make_app(settings)
    queue = CeleryQueue(app, settings)
    queue.send_many([(f"bulk {n}", Lane.BULK) for n in range(5)])
    queue.send_many([(f"interactive {n}", Lane.INTERACTIVE) for n in range(3)])
    queue.send_many([(f"live {n}", Lane.LIVE) for n in range(2)])
    done: list[str] = []
    register(app, EMBED_TASK, done.append)
    queues = ",".join(queue_name(settings, lane) for lane in LANES)
    with working(app, queues):
        until(lambda: len(done) == 10)
    app.close()
    # One message may have been fetched by the prefetch before the worker saw the others; it is live all the same.
    assert done == [
        *(f"live {n}" for n in range(2)),
        *(f"interactive {n}" for n in range(3)),
        *(f"bulk {n}" for n in range(5)),
    ]


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/0", "redis+socket:///nowhere/valkey.sock", "amqp://a:secret@127.0.0.1:1//"]
)
def test_a_broker_that_is_away_is_one_clear_error_in_bounded_time_without_its_password(url: str) -> None:
    settings = Settings(broker={"url": url})
    app = make_app(settings)
    queue = CeleryQueue(app, settings)
    started_s = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="cannot be reached") as away:
        queue.send("job", Lane.BULK)
    assert time.monotonic() - started_s < 10
    assert "secret" not in str(away.value)
    with pytest.raises(BrokerUnavailable):
        queue.depth(Lane.BULK)
    app.close()


def test_a_batch_that_breaks_off_is_sent_again_and_at_last_a_broker_that_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, breaks = Producer.batch, [True, False, True, True, True]

    @contextmanager
    def batch(self: Producer, size: int) -> Iterator[object]:
        with whole(self, size) as opened:
            yield opened
        if breaks.pop(0):
            raise BatchPublishError("delivery is uncertain")

    monkeypatch.setattr(Producer, "batch", batch)
    bench.queue.send("a", Lane.BULK)
    assert read(bench, Lane.BULK) == ["a", "a"]
    with pytest.raises(BrokerUnavailable, match="uncertain"):
        bench.queue.send("b", Lane.BULK)
    assert breaks == []


def test_the_queue_serves_threads_that_come_and_go(bench: Bench) -> None:
    for n in range(20):
        thread = Thread(target=bench.queue.send, args=(f"job {n}", Lane.BULK))
        thread.start()
        thread.join()
    assert bench.queue.depth(Lane.BULK) == 20
