"""The workers' pool of threads: which waiting call is next."""

import threading
from collections.abc import Iterator

import pytest

from kith.backends.queue_celery import make_app, queue_name
from kith.settings import Settings
from workers.pool import UrgentFirstPool


@pytest.fixture
def pool() -> Iterator[UrgentFirstPool]:
    pool = UrgentFirstPool(1, app=make_app(Settings()))
    yield pool
    pool.on_stop()


def apply(pool: UrgentFirstPool, done: list[str], name: str, delivery: object) -> None:
    """As Celery applies a task: its name, its id, and the request as the third argument."""
    pool.apply_async(lambda *_: done.append(name), ("task", name, {"delivery_info": delivery}), callback=lambda _: None)


def test_a_free_thread_takes_the_most_urgent_lane_and_in_a_lane_the_oldest(pool: UrgentFirstPool) -> None:
    busy, done = threading.Event(), list[str]()
    pool.apply_async(busy.wait, (20,), callback=lambda _: None)
    for n in range(2):
        for lane in ("bulk", "elsewhere", "interactive", "live"):
            apply(pool, done, f"{lane} {n}", {"routing_key": queue_name(Settings(), lane)})
    busy.set()
    pool.executor.shutdown(wait=True)
    assert done == [f"{lane} {n}" for lane in ("live", "interactive", "bulk", "elsewhere") for n in range(2)]


@pytest.mark.parametrize("delivery", [None, {}, {"routing_key": None}, {"routing_key": ["kith.live"]}, "kith.live"])
def test_a_call_that_names_no_queue_is_done_after_all_others(pool: UrgentFirstPool, delivery: object) -> None:
    busy, done = threading.Event(), list[str]()
    pool.apply_async(busy.wait, (20,), callback=lambda _: None)
    apply(pool, done, "unknown", delivery)
    apply(pool, done, "publish", {"routing_key": "kith.publish"})
    busy.set()
    pool.executor.shutdown(wait=True)
    assert done == ["publish", "unknown"]


def test_a_call_that_fails_costs_no_other_its_turn(pool: UrgentFirstPool) -> None:
    def fail() -> None:
        raise ValueError

    done: list[str] = []
    pool.apply_async(fail)
    apply(pool, done, "next", {"routing_key": "kith.bulk"})
    pool.executor.shutdown(wait=True)
    assert done == ["next"]


def test_calls_from_many_threads_are_each_done_once(pool: UrgentFirstPool) -> None:
    done: list[str] = []
    lanes = ("live", "bulk")
    threads = [
        threading.Thread(
            target=lambda n=n: [
                apply(pool, done, f"{n} {k}", {"routing_key": f"kith.{lanes[k % 2]}"}) for k in range(100)
            ]
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.executor.shutdown(wait=True)
    assert sorted(done) == sorted(f"{n} {k}" for n in range(8) for k in range(100))
