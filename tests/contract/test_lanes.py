"""What workers owe the lanes, over Valkey and over RabbitMQ: the urgent first, warm ends, nothing lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from celery import Celery
from pydantic import SecretStr

from kith.backends.connect import redis_client
from kith.backends.queue_celery import CeleryQueue, make_app, queue_name
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.jobs import LANES, PUBLISH_QUEUE, Lane
from kith.settings import Settings, as_environment

#: Threads of a slow worker, and how many messages of one lane it takes from the broker.
THREADS = 2
HOLDS = {"valkey": THREADS, "rabbitmq": 2 * THREADS}


@dataclass
class Floor:
    """A broker, and slow workers on it."""

    broker: str
    settings: Settings
    app: Celery
    queue: CeleryQueue
    repository: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, seconds: float = 0.0) -> subprocess.Popen[bytes]:
        self.workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.contract.slow_worker", str(seconds)],
                cwd=self.repository,
                env=os.environ | as_environment(self.settings),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return self.workers[-1]

    def said(self, word: str) -> list[str]:
        """Jobs that began, or ended, in this order."""
        said = redis_client(self.settings).lrange(f"{self.settings.redis.prefix}:said", 0, -1)
        return [line.decode().removeprefix(f"{word} ") for line in said if line.decode().startswith(word)]

    def go(self) -> None:
        redis_client(self.settings).set(f"{self.settings.redis.prefix}:go", 1)

    def send(self, lane: Lane, count: int) -> list[str]:
        jobs = [f"{lane} {n}" for n in range(count)]
        self.queue.send_many([(job, lane) for job in jobs])
        return jobs

    def wait_until_held(self, lane: Lane, sent: int, *, held: int) -> None:
        """Wait until a worker has taken `held` of the `sent` messages of a lane, and no more wait to be taken."""
        until(lambda: self.queue.depth(lane) == sent - held, f"{held} of {lane}")


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def floor(
    request: pytest.FixtureRequest, broker: str, valkey: EmbeddedValkey, prefix: str, repository: Path
) -> Iterator[Floor]:
    url = None if broker == "valkey" else SecretStr(request.getfixturevalue("rabbitmq_url"))
    settings = Settings(redis={"url": valkey.url, "prefix": prefix}, broker={"url": url})
    app = make_app(settings)
    floor = Floor(broker, settings, app, CeleryQueue(app, settings), repository)
    yield floor
    for worker in floor.workers:
        worker.kill()
        worker.communicate()
    app.close()


def until(true: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, f"waited for {what}"
        time.sleep(0.02)


def test_live_jobs_sent_in_the_middle_of_a_backlog_are_next_and_interactive_ones_after_them(floor: Floor) -> None:
    holds = HOLDS[floor.broker]
    bulk = floor.send(Lane.BULK, 12)
    floor.start_worker(seconds=0.1)
    until(lambda: len(floor.said("begin")) == THREADS, "the first jobs to begin")
    floor.wait_until_held(Lane.BULK, 12, held=holds)
    # More than a worker holds, so that each must be fetched in time. Over Valkey none is fetched while bulk jobs run.
    live, interactive = floor.send(Lane.LIVE, 8), floor.send(Lane.INTERACTIVE, 6)
    floor.wait_until_held(Lane.LIVE, 8, held=0 if floor.broker == "valkey" else holds)
    floor.wait_until_held(Lane.INTERACTIVE, 6, held=0 if floor.broker == "valkey" else holds)
    floor.go()
    until(lambda: len(floor.said("end")) == 26, "all jobs to end")

    began = floor.said("begin")
    assert [sorted(began[a:b]) for a, b in ((0, 2), (2, 10), (10, 16), (16, 26))] == [
        sorted(bulk[:2]),
        live,
        interactive,
        sorted(bulk[2:]),
    ]


def test_a_worker_told_to_end_finishes_what_runs_and_gives_back_what_waits(floor: Floor) -> None:
    jobs = floor.send(Lane.BULK, 8)
    worker = floor.start_worker(seconds=0.2)
    until(lambda: len(floor.said("begin")) == THREADS, "the first jobs to begin")
    floor.wait_until_held(Lane.BULK, 8, held=HOLDS[floor.broker])
    worker.send_signal(signal.SIGTERM)
    # Celery looks whether it was told to end once a second.
    time.sleep(2.5)
    floor.go()
    output, _ = worker.communicate(timeout=20)
    assert worker.returncode == 0, output.decode()
    assert b"Traceback" not in output, output.decode()
    assert sorted(floor.said("end")) == jobs[:THREADS]
    floor.wait_until_held(Lane.BULK, 8, held=THREADS)

    floor.start_worker()
    until(lambda: len(floor.said("end")) == len(jobs), "the next worker to do the rest")
    assert sorted(floor.said("begin")) == jobs


@pytest.mark.parametrize("broker", ["rabbitmq"])
def test_a_worker_killed_with_messages_in_its_hands_loses_none(floor: Floor) -> None:
    # Over Valkey Celery may lose some, which is what the ledger is for.
    jobs = floor.send(Lane.BULK, 8)
    worker = floor.start_worker()
    until(lambda: len(floor.said("begin")) == THREADS, "the first jobs to begin")
    floor.wait_until_held(Lane.BULK, 8, held=HOLDS[floor.broker])
    worker.kill()
    worker.wait()
    floor.go()
    floor.start_worker()
    until(lambda: len(floor.said("end")) == len(jobs), "the next worker to do them all")
    assert sorted(floor.said("end")) == jobs


def test_a_message_that_names_a_lane_reaches_that_lane_alone_and_celerys_default_reaches_none(floor: Floor) -> None:
    with floor.app.producer_pool.acquire() as producer:
        # As a worker does at its start.
        for queue in floor.app.amqp.queues.values():
            queue.bind(producer.channel).declare()
        prefix = floor.settings.redis.prefix
        for key in (queue_name(floor.settings, Lane.BULK), prefix, "celery"):
            producer.publish([["job"]], exchange=prefix, routing_key=key)
    until(lambda: floor.queue.depth(Lane.BULK) == 1, "the message to arrive")
    assert [floor.queue.depth(queue) for queue in (*LANES, PUBLISH_QUEUE)] == [0, 0, 1, 0]
