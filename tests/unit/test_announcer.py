"""Saved jobs are announced in company, none twice and none forgotten."""

import json
import threading
import time

from kith.errors import BrokerUnavailable
from kith.jobs import Lane
from workers.announcer import Announcer, argument_for, job_ids_in


class Broker:
    """Keeps what was announced."""

    def __init__(self, away: bool = False) -> None:
        self.messages: list[str] = []
        self.away = away

    def send(self, payload: str, lane: Lane) -> None:
        raise AssertionError("an announcer sends no jobs")

    send_many = depth = send

    def send_saved(self, job_id: str) -> None:
        if self.away:
            raise BrokerUnavailable
        self.messages.append(job_id)


def test_a_message_names_one_job_or_several() -> None:
    for job_ids in (["a"], ["a", "b"], ["[not json"], ["[1]"], ['"quoted"', "é,\n"]):
        assert job_ids_in(argument_for(job_ids)) == job_ids


def test_jobs_of_the_same_moment_share_messages_and_each_is_announced_once() -> None:
    broker = Broker()
    announcer = Announcer(broker)  # type: ignore[arg-type]
    together = threading.Barrier(16)

    def announce(number: int) -> None:
        together.wait()
        announcer.announce(f"job {number}")

    threads = [threading.Thread(target=announce, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    announced = [job_id for message in broker.messages for job_id in job_ids_in(message)]
    assert sorted(announced) == sorted(f"job {number}" for number in range(16))
    assert len(broker.messages) < 16


def test_a_job_alone_does_not_wait_for_ever() -> None:
    broker = Broker()
    started_s = time.monotonic()

    Announcer(broker).announce("a")  # type: ignore[arg-type]

    assert broker.messages == ["a"]
    assert time.monotonic() - started_s < 30


def test_a_broker_that_is_away_costs_the_worker_nothing() -> None:
    announcer = Announcer(Broker(away=True))  # type: ignore[arg-type]

    announcer.announce("a")
    announcer.announce("b")


def test_ids_that_look_like_lists_of_something_else_stay_whole() -> None:
    assert job_ids_in(json.dumps([1, 2])) == ["[1, 2]"]
    assert job_ids_in("0123abc") == ["0123abc"]
