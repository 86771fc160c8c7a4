"""The connection our Celery application opens: kombu's own, but for one Redis client per channel."""

from types import SimpleNamespace
from typing import Any

import kombu.transport.redis
import pytest
from kombu.transport.pyamqp import Transport as RabbitTransport
from pydantic import SecretStr

from kith.backends.queue_celery import make_app
from kith.settings import Broker, Settings


def transport(url: str) -> Any:
    with make_app(Settings(broker=Broker(url=SecretStr(url)))).connection_for_write() as connection:
        return connection.get_transport_cls()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "redis+socket:///tmp/none.sock"])
def test_over_redis_one_client_per_channel_is_kept_until_the_channel_has_another_pool(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = transport(url).Channel
    made: list[object] = []

    def make(self: Any, asynchronous: bool = False) -> object:
        made.append(object())
        client = type("Client", (), {"connection_pool": self.pool, "asynchronous": asynchronous})
        return client()

    monkeypatch.setattr(kombu.transport.redis.Channel, "_create_client", make)
    monkeypatch.setattr(channel, "pool", "first pool")
    one = channel.__new__(channel)
    one.closed = True

    assert one._create_client() is one._create_client()
    assert one._create_client(asynchronous=True) is not one._create_client(asynchronous=True)
    first = one._create_client()
    monkeypatch.setattr(channel, "pool", "pool after a reconnect")
    assert one._create_client() is not first
    assert len(made) == 4


@pytest.mark.parametrize("given_up", [None, SimpleNamespace(client=None)])
def test_a_channel_whose_connection_was_given_up_says_so_in_a_way_that_celery_survives(given_up: object) -> None:
    of_ours = transport("redis://127.0.0.1:6379/0")
    channel = of_ours.Channel.__new__(of_ours.Channel)
    channel.connection, channel.closed = given_up, True
    with pytest.raises(of_ours.connection_errors, match="given up"):
        channel._create_client()


def test_kombu_itself_and_other_brokers_are_left_as_they_are() -> None:
    assert transport("amqp://guest:guest@127.0.0.1:5672//") is RabbitTransport
    assert transport("redis://127.0.0.1:6379/0") is not kombu.transport.redis.Transport
    assert kombu.transport.redis.Transport.Channel is kombu.transport.redis.Channel
