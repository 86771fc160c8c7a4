"""Session-wide real servers, started when a test first asks for one. Where they are missing: skip here, fail in CI."""

import os
import uuid
from collections.abc import Iterator
from typing import NoReturn

import pytest

from kith.settings import Store
from tests.servers.mosquitto import Mosquitto
from tests.servers.processes import MissingComponent
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.radosgw import Radosgw


def missing(component: str, reason: object) -> NoReturn:
    """End the test: skipped on a developer's machine, failed where CI is set, so that CI cannot quietly test less."""
    message = f"{component}: {reason}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def radosgw() -> Iterator[Radosgw]:
    """A running S3 server. Who stops its gateway starts it again, before the test ends."""
    server = Radosgw()
    try:
        yield server.start_all()
    except MissingComponent as absent:
        missing("S3 server", absent)
    finally:
        server.stop_all()


@pytest.fixture(scope="session")
def s3_store_settings(radosgw: Radosgw) -> Store:
    """Settings of one bucket for the whole run; it is created by the first put."""
    return radosgw.settings(f"kith-{uuid.uuid4().hex[:12]}", retries=2)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A running RabbitMQ. Who stops it starts it again, before the test ends."""
    server = RabbitMQ()
    try:
        server.start()
        yield server
    except MissingComponent as absent:
        missing("RabbitMQ", absent)
    finally:
        server.close()


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """A running MQTT broker. Who stops it starts it again, before the test ends."""
    server = Mosquitto()
    try:
        server.start()
        yield server
    except MissingComponent as absent:
        missing("Mosquitto", absent)
    finally:
        server.close()


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq: RabbitMQ) -> str:
    """URL of the shared RabbitMQ, with its password. Name queues uniquely, or give each test a virtual host."""
    return rabbitmq.url
