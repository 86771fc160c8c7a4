"""What every test may ask for. Servers are real and start once per run; each test gets its own key prefix or bucket."""

import compileall
import functools
import gc
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import typer.main
import typer.testing

from kith.backends.valkey_embedded import EmbeddedValkey
from workers.memory import spare_what_is_loaded

pytest_plugins = ["tests.logging_kept", "tests.servers.fixtures"]

# How long an example takes is a matter of what else the machine does.
hypothesis.settings.register_profile("kith", parent=hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("kith")

# The tree of commands is made once, not anew for every command that a test runs: that took longer than most commands.
typer.testing._get_command = functools.cache(typer.main.get_command)


def pytest_configure(config: pytest.Config) -> None:
    """Hundreds of processes are started: they find the product compiled, even where Python may write nothing down."""
    if not hasattr(config, "workerinput"):
        for package in ("kith", "workers", "producers"):
            compileall.compile_dir(config.rootpath / package, quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded now stays: nothing of it is garbage yet, and afterwards it is spared. To look through torch and
    its like again and again took a tenth of the unit tests' time."""
    gc.disable()
    try:
        return (yield)
    finally:
        spare_what_is_loaded()
        gc.set_threshold(10_000, 10, 100)
        gc.enable()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A running Valkey server for the whole run."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """A client of the shared server."""
    with redis.Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    """A key prefix nobody else uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent
