"""Batches are full or on time, each request has its own fate, and nobody hangs on a dead model."""

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from kith.batcher import Batcher
from kith.errors import ModelThreadDead

CANARY = -1


class Model:
    """Doubles numbers; remembers its batches; fails on those it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.bad: set[int] = set()
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.gate.wait()
        self.batches.append(list(items))
        if self.broken or self.bad & set(items):
            raise RuntimeError("cannot do this")
        return [2 * item for item in items]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def batcher(model: Model) -> Iterator[Batcher[int, int]]:
    made: Batcher[int, int] = Batcher(model, size=4, windows_s=[0.02] * 3, canary=CANARY, capacity=64)
    yield made
    model.gate.set()
    made.close()


def held_back(model: Model, batcher: Batcher[int, int], pool: ThreadPoolExecutor) -> None:
    """Occupy the model with request 0, so that what follows waits and forms batches."""
    model.gate.clear()
    pool.submit(batcher.submit, [0])
    until(lambda: batcher.counts.batches == 1)


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_results_come_back_in_the_order_of_the_requests(batcher: Batcher[int, int]) -> None:
    assert batcher.submit(list(range(11))) == [2 * item for item in range(11)]


def test_what_was_answered_is_not_kept_until_the_next_batch_comes() -> None:
    class Answer:
        """Something that can be looked after."""

    batcher: Batcher[int, Answer] = Batcher(lambda items: [Answer() for _ in items], size=4, windows_s=[0], canary=0)
    [answer] = batcher.submit([1])
    kept = weakref.ref(answer)
    del answer
    deadline_s = time.monotonic() + 30
    while kept() is not None:
        assert time.monotonic() < deadline_s, "the model thread waits with the answer in its hands"
        time.sleep(0.01)
    batcher.close()


def test_requests_of_many_callers_share_batches(model: Model, batcher: Batcher[int, int]) -> None:
    with ThreadPoolExecutor(9) as pool:
        held_back(model, batcher, pool)
        calls = [pool.submit(batcher.submit, [item]) for item in range(1, 9)]
        until(lambda: batcher._depth() == 8)
        model.gate.set()
        assert [call.result() for call in calls] == [[2 * item] for item in range(1, 9)]
    assert [len(batch) for batch in model.batches] == [1, 4, 4]


def test_a_lone_request_waits_for_company_no_longer_than_the_window(model: Model) -> None:
    batcher: Batcher[int, int] = Batcher(model, size=1000, windows_s=[0.05], canary=CANARY, capacity=1000)
    started = time.monotonic()
    assert batcher.submit([1]) == [2]
    assert 0.05 <= time.monotonic() - started < 30
    batcher.close()


def test_the_urgent_do_not_wait_for_company_and_take_along_those_who_do(model: Model) -> None:
    batcher: Batcher[int, int] = Batcher(model, size=1000, windows_s=[0, 60], canary=CANARY, capacity=1000)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(batcher.submit, [21, 22], urgency=1)
        until(lambda: batcher._depth() == 2)
        assert not model.batches, "nobody urgent is there yet"
        assert batcher.submit([1], urgency=0) == [2]
        assert waiting.result(timeout=30) == [42, 44]
    batcher.close()
    assert model.batches == [[1, 21, 22]]


def test_the_window_counts_from_the_first_request_however_others_trickle_in(model: Model) -> None:
    batcher: Batcher[int, int] = Batcher(model, size=1000, windows_s=[0.2], canary=CANARY, capacity=1000)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(batcher.submit, [0])
        deadline_s = time.monotonic() + 30
        # Were it to count from the last, it would never end: each comes before it is over.
        while not first.done():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
            pool.submit(batcher.submit, [1])
        batcher.close()


def test_the_urgent_are_served_before_those_who_came_first(model: Model, batcher: Batcher[int, int]) -> None:
    with ThreadPoolExecutor(4) as pool:
        held_back(model, batcher, pool)
        pool.submit(batcher.submit, [21, 22, 23, 24], urgency=2)
        until(lambda: batcher._depth() == 4)
        pool.submit(batcher.submit, [1, 2], urgency=0)
        until(lambda: batcher._depth() == 6)
        model.gate.set()
    assert model.batches[1:] == [[1, 2, 21, 22], [23, 24]]


def test_one_bad_request_fails_alone(model: Model, batcher: Batcher[int, int]) -> None:
    model.bad = {2}
    outcomes = batcher.submit([1, 2, 3])
    assert (outcomes[0], outcomes[2]) == (2, 6)
    assert isinstance(outcomes[1], RuntimeError)
    assert batcher.submit([5]) == [10], "the thread must have survived"


def test_a_model_that_answers_too_few_results_is_a_failed_call() -> None:
    batcher: Batcher[int, int] = Batcher(
        lambda items: [1] if len(items) == 1 else [1] * (len(items) - 1), size=4, windows_s=[0], canary=CANARY
    )
    assert batcher.submit([1, 2, 3]) == [1, 1, 1]
    batcher.close()


def test_a_broken_model_fails_every_caller_at_once_and_says_so(model: Model) -> None:
    deaths: list[BaseException] = []
    batcher: Batcher[int, int] = Batcher(
        model, size=4, windows_s=[0.01], canary=CANARY, capacity=64, on_death=deaths.append
    )
    with ThreadPoolExecutor(4) as pool:
        held_back(model, batcher, pool)
        waiting = [pool.submit(batcher.submit, [item, item]) for item in (1, 2, 3)]
        until(lambda: batcher._depth() == 6)
        model.broken = True
        model.gate.set()
        for call in waiting:
            with pytest.raises(ModelThreadDead, match="cannot do this"):
                call.result(timeout=5)
    assert len(deaths) == 1
    with pytest.raises(ModelThreadDead):
        batcher.submit([1])


def test_callers_blocked_on_a_full_queue_are_let_go_when_the_model_dies(model: Model) -> None:
    batcher: Batcher[int, int] = Batcher(model, size=2, windows_s=[0], canary=CANARY, capacity=2)
    with ThreadPoolExecutor(4) as pool:
        held_back(model, batcher, pool)
        blocked = [pool.submit(batcher.submit, [1, 2, 3, 4]) for _ in range(3)]
        until(lambda: batcher._depth() == 2)
        model.broken = True
        model.gate.set()
        for call in blocked:
            with pytest.raises(ModelThreadDead):
                call.result(timeout=5)


def test_more_requests_than_the_queue_holds_are_all_served(model: Model) -> None:
    batcher: Batcher[int, int] = Batcher(model, size=3, windows_s=[0.5], canary=CANARY, capacity=5)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(batcher.submit, list(range(20))) for _ in range(4)]
        assert all(call.result(timeout=10) == [2 * item for item in range(20)] for call in calls)
    batcher.close()
    assert max(map(len, model.batches)) == 3


def test_closing_serves_those_who_wait_and_refuses_those_who_come(model: Model, batcher: Batcher[int, int]) -> None:
    with ThreadPoolExecutor(3) as pool:
        held_back(model, batcher, pool)
        waiting = pool.submit(batcher.submit, [1, 2])
        until(lambda: batcher._depth() == 2)
        closing = pool.submit(batcher.close)
        model.gate.set()
        assert waiting.result(timeout=30) == [2, 4]
        closing.result(timeout=5)
    with pytest.raises(ModelThreadDead, match="stopping"):
        batcher.submit([1])


def test_sizes_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity 1"):
        Batcher(lambda items: items, size=2, windows_s=[0], canary=CANARY, capacity=1)
    with pytest.raises(ValueError, match="a window per urgency"):
        Batcher(lambda items: items, size=2, windows_s=[], canary=CANARY)
