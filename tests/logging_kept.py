"""Whoever changes logging puts it back: else a test that reads the log fails, far from the one that is to blame."""

import logging
from collections.abc import Generator

import pytest

#: Loggers whose records tests look at. Libraries may set up their own.
_OURS = ("kith", "workers", "producers")

State = dict[str, tuple[int, bool, bool, tuple[logging.Handler, ...]]]


def _state() -> tuple[int, State]:
    """Up to which level everything is off; and what decides whether the root and each logger of ours are heard."""
    manager = logging.Logger.manager
    loggers = {"": logging.getLogger()} | {
        name: logger
        for name, logger in manager.loggerDict.copy().items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _OURS
    }
    return manager.disable, {
        name: (logger.level, logger.disabled, logger.propagate, tuple(logger.handlers))
        for name, logger in loggers.items()
    }


#: As a logger is when it is made.
_NEW = (logging.NOTSET, False, True, ())
_kept = pytest.StashKey[tuple[int, State]]()


# Outermost: pytest's own handlers come within these and are gone after them.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.stash[_kept] = _state()
    yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    (off, before), (off_now, after) = item.stash[_kept], _state()
    changed = [name for name, state in after.items() if state != before.get(name, _NEW)]
    if not changed and off_now == off:
        return
    logging.disable(off)
    for name in changed:
        logger = logging.getLogger(name)
        level, logger.disabled, logger.propagate, logger.handlers[:] = before.get(name, _NEW)
        logger.setLevel(level)
    said = [f"logging.disable({off_now})"] * (off_now != off) + [
        f"{name or 'root'}: {before.get(name, _NEW)} became {after[name]}" for name in changed
    ]
    pytest.fail(
        f"logging is not as it was before this test (level, disabled, propagate, handlers): {'; '.join(said)}",
        pytrace=False,
    )
