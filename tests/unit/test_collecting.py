"""The collector is held off together, and goes on when the last one is through."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from kith.collecting import not_collecting


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


def test_it_is_off_meanwhile_and_on_again_also_after_an_error() -> None:
    def breaks() -> None:
        with not_collecting():
            assert not gc.isenabled()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        breaks()
    assert gc.isenabled()


def test_who_is_through_first_does_not_turn_it_on_for_the_others() -> None:
    inside, first_is_out = Barrier(2, timeout=10), Barrier(2, timeout=10)

    def first() -> None:
        with not_collecting():
            inside.wait()
        first_is_out.wait()

    def second() -> bool:
        with not_collecting():
            inside.wait()
            first_is_out.wait()
            return gc.isenabled()

    with ThreadPoolExecutor(2) as pool:
        _, on = pool.submit(first), pool.submit(second).result()
    assert not on
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    with not_collecting():
        pass
    assert not gc.isenabled()
