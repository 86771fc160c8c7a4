"""Ordinary tasks with ordinary events: Flower, or any reader of events, watches a running system without a line of
ours."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import celery
import numpy as np
import pytest

from kith.checkpoints import simulated_pack
from kith.client import Client
from kith.jobs import EMBED_TASK, PUBLISH_TASK, Content, Kind, Lane, Outcome
from kith.settings import Settings, as_environment, load
from kith.stack import Stack, local_settings
from tests.servers import processes

_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    pack = simulated_pack(tmp_path_factory.mktemp("pack"))
    wanted = load(model={"pack": pack.path, "device": "cpu"}, broker={"events": True}, batch={"size": 8})
    return local_settings(wanted, tmp_path_factory.mktemp("flower"))


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[Client]:
    """A client of a running system that sends events."""
    with Stack(settings), Client.open(settings) as client:
        yield client


@pytest.fixture(scope="module")
def ask(client: Client, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """GET from the HTTP interface of a Flower that was started as its manual says."""
    port, log = processes.free_port(), tmp_path_factory.mktemp("log") / "flower.log"
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={port}"]
    # Its HTTP interface answers nobody without a login or this.
    environment = os.environ | as_environment(settings) | {"FLOWER_UNAUTHENTICATED_API": "true"}
    flower = processes.spawn(command, log, environment)

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            text = answer.read().decode()
        return json.loads(text) if path.startswith("/api") else text

    def up() -> bool:
        try:
            return bool(get("/healthcheck"))
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        processes.wait_until(up, "Flower", [flower], log, timeout_s=_TIMEOUT_S)
        yield get
    finally:
        processes.stop(flower)


def _until(ask: Callable[[str], Any], path: str, enough: Callable[[Any], bool]) -> Any:
    """What `path` answers once it is `enough`; the last answer when that takes too long."""
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not enough(answer := ask(path)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return answer


class TestFlower:
    def test_it_sees_both_workers_and_can_ask_them(self, ask: Callable[[str], Any]) -> None:
        """Over Celery's remote control, which answers while the tasks' threads work."""
        workers = _until(ask, "/api/workers?refresh=1", lambda found: len(found) == 2)

        names = {name.partition("@")[0]: details for name, details in workers.items()}
        assert set(names) == {"embed-1", "publish-1"}
        assert EMBED_TASK in names["embed-1"]["registered"]
        assert PUBLISH_TASK in names["publish-1"]["registered"]
        assert {queue["name"] for queue in names["embed-1"]["active_queues"]} == {
            f"kith.{lane}" for lane in ("live", "interactive", "bulk")
        }

    def test_it_shows_each_task_of_a_job_with_worker_state_and_time(
        self, ask: Callable[[str], Any], client: Client
    ) -> None:
        _until(ask, "/api/workers?refresh=1", lambda found: len(found) == 2)
        decisions = client.ask(_enrolment(client), timeout_s=30)
        assert [decision.outcome for decision in decisions] == [Outcome.ENROLLED]

        tasks = _until(
            ask, "/api/tasks", lambda found: [task["state"] for task in found.values()].count("SUCCESS") >= 2
        )

        seen = {task["name"]: task for task in tasks.values()}
        assert set(seen) == {EMBED_TASK, PUBLISH_TASK}
        assert seen[EMBED_TASK]["worker"].startswith("embed-1@")
        assert seen[PUBLISH_TASK]["worker"].startswith("publish-1@")
        assert all(task["state"] == "SUCCESS" and task["runtime"] > 0 for task in seen.values())

    def test_its_prometheus_metrics_count_them(self, ask: Callable[[str], Any], client: Client) -> None:
        client.ask(_enrolment(client), timeout_s=30)

        text = _until(ask, "/metrics", lambda page: f'task="{EMBED_TASK}",type="task-succeeded"' in page)

        assert f'task="{EMBED_TASK}",type="task-succeeded"' in text


def test_whoever_knows_only_the_brokers_url_reads_worker_state_and_time_of_each_task_from_its_events(
    client: Client, settings: Settings
) -> None:
    """As exporters do it: Celery's receiver and its record of tasks, no application, no setting of ours."""
    stranger = celery.Celery(broker=settings.broker_url, set_as_current=False)
    seen = stranger.events.State()
    kinds: set[str] = set()

    def note(event: dict[str, Any]) -> None:
        seen.event(event)
        kinds.add(event["type"])

    def succeeded() -> list[Any]:
        return [task for task in seen.tasks.values() if task.state == "SUCCESS"]

    with stranger.connection_for_read() as connection:
        receiver = stranger.events.Receiver(connection, handlers={"*": note})
        with receiver.consumer_context() as (heard, *_):

            def listen_until(enough: Callable[[], bool]) -> None:
                deadline_s = time.monotonic() + _TIMEOUT_S
                while not enough() and time.monotonic() < deadline_s:
                    with suppress(TimeoutError):
                        heard.drain_events(timeout=1)

            # Over Redis it subscribes when it first listens, and what was said before is gone.
            listen_until(lambda: bool(kinds))
            client.ask(_enrolment(client), timeout_s=30)
            listen_until(lambda: len(succeeded()) >= 2)

    assert {"task-received", "task-started", "task-succeeded"} <= kinds
    done = {task.name: task for task in succeeded()}
    assert set(done) == {EMBED_TASK, PUBLISH_TASK}
    assert {name: task.hostname.partition("@")[0] for name, task in done.items()} == {
        EMBED_TASK: "embed-1",
        PUBLISH_TASK: "publish-1",
    }
    assert all(task.runtime > 0 for task in done.values())


def _enrolment(client: Client) -> Any:
    """A job of one aligned crop, different each time. A bulk one: it takes both workers."""
    import cv2  # noqa: PLC0415 (only to make a picture)

    pixels = np.random.default_rng(time.time_ns()).integers(0, 255, (112, 112, 3), np.uint8)
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    image = client.intake.put(encoded, subject="Ada")
    return client.intake.job(Kind.ENROL, [image], content=Content.ALIGNED, lane=Lane.BULK)


def test_the_monitored_application_runs_nothing_itself(settings: Settings, repository: Path) -> None:
    """`celery -A workers.app worker` by habit would take jobs without a model: it says who does instead."""
    script = "from workers.app import app\napp.tasks['kith.embed']('{}')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository,
        env=os.environ | as_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "python -m workers.embed" in done.stderr
