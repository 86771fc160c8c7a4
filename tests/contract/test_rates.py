"""Rates: one contract for those in Redis and those in memory."""

import time
from collections.abc import Iterator

import pytest

from kith.backends.rates_memory import MemoryRates
from kith.backends.rates_redis import RedisRates
from kith.rates import Rates


@pytest.fixture(params=["memory", "redis"])
def rates(request: pytest.FixtureRequest, prefix: str) -> Iterator[Rates]:
    if request.param == "memory":
        yield MemoryRates()
    else:
        yield RedisRates(request.getfixturevalue("redis_client"), prefix)


def taken(rates: Rates, name: str, rate_per_s: float, burst: int, tries: int) -> int:
    return sum(rates.take(name, rate_per_s, burst) == 0.0 for _ in range(tries))


def test_a_burst_is_let_through_and_no_more(rates: Rates) -> None:
    assert taken(rates, "a", 0.01, 5, 20) == 5


def test_who_is_refused_is_told_when_the_next_one_is_there(rates: Rates) -> None:
    assert taken(rates, "a", 0.01, 2, 2) == 2

    # One each hundred seconds, all taken just now.
    assert rates.take("a", 0.01, 2) == pytest.approx(90.0, abs=10.0)


def test_what_is_refused_costs_nothing(rates: Rates) -> None:
    taken(rates, "a", 0.01, 1, 50)

    assert rates.take("a", 0.01, 1) <= 100.0


def test_after_the_pause_that_was_named_there_is_one_more(rates: Rates) -> None:
    assert taken(rates, "a", 20.0, 1, 1) == 1
    wait_s = rates.take("a", 20.0, 1)

    assert 0.0 < wait_s <= 0.05
    time.sleep(wait_s)
    assert rates.take("a", 20.0, 1) == 0.0


def test_several_are_taken_at_once_or_none_of_them(rates: Rates) -> None:
    assert rates.take("a", 0.01, 5, 3) == 0.0
    assert rates.take("a", 0.01, 5, 3) == pytest.approx(90.0, abs=10.0)
    assert taken(rates, "a", 0.01, 5, 9) == 2


def test_names_do_not_share(rates: Rates) -> None:
    assert [taken(rates, name, 0.01, 3, 9) for name in ("a", "b")] == [3, 3]


def test_over_a_time_as_many_are_let_through_as_the_rate_says() -> None:
    """Against a naive count: one every 5 ms is asked for during 10 s, 20 a second and 10 at once are allowed."""
    now = 0.0
    rates = MemoryRates(lambda: now)
    through = 0
    for step in range(2000):
        now = 100.0 + step * 0.005
        through += rates.take("a", 20.0, 10) == 0.0

    assert through == pytest.approx(10 + 20 * 10, abs=1)
