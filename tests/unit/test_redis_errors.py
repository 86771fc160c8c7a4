"""Nothing of redis-py gets past the backends."""

import inspect

import pytest
from redis import exceptions as redis_py

from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import StateFull, StateUnavailable, UnknownGallery

ALL = [
    cls
    for _, cls in inspect.getmembers(redis_py, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == redis_py.__name__
]


def test_the_walk_below_sees_the_whole_tree() -> None:
    assert {redis_py.ConnectionError, redis_py.TimeoutError, redis_py.OutOfMemoryError, redis_py.DataError} <= set(ALL)
    assert len(ALL) > 25


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_exception_of_redis_py_becomes_one_of_ours_and_stays_its_cause(cls: type[Exception]) -> None:
    # Past their constructors, which want all sorts of arguments.
    fault = cls.__new__(cls)
    fault.args = ("told so",)
    with pytest.raises((StateUnavailable, StateFull), match="enrolling") as caught, mapped_redis_errors("enrolling"):
        raise fault
    assert caught.value.__cause__ is fault
    assert (type(caught.value) is StateFull) == issubclass(cls, redis_py.OutOfMemoryError)


@pytest.mark.parametrize(
    "text",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "Command # 1 (EVALSHA …) of pipeline caused error: OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Errors writing to the AOF file: No space left on device",
    ],
)
def test_a_refused_write_is_state_full_however_the_client_wraps_it(text: str) -> None:
    with pytest.raises(StateFull, match="free memory"), mapped_redis_errors("enrolling"):
        raise redis_py.ResponseError(text)


def test_a_word_that_contains_oom_is_not_out_of_memory() -> None:
    with pytest.raises(StateUnavailable), mapped_redis_errors("enrolling"):
        raise redis_py.ResponseError("WRONGTYPE no ROOM here")


def test_other_exceptions_and_answers_pass_untouched() -> None:
    with pytest.raises(UnknownGallery), mapped_redis_errors("reading"):
        raise UnknownGallery
    with pytest.raises(ZeroDivisionError), mapped_redis_errors("reading"):
        _ = 1 // 0


def test_it_decorates_functions_call_after_call() -> None:
    @mapped_redis_errors("reading")
    def read(fail: bool) -> int:
        if fail:
            raise redis_py.ConnectionError("gone")
        return 7

    assert read(False) == 7
    for _ in range(2):
        with pytest.raises(StateUnavailable, match="reading: gone"):
            read(True)
    assert read(False) == 7
