"""A connection with an MQTT broker: one contract for Mosquitto, by both versions of the protocol, and the double."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from kith.backends.mqtt_memory import MemoryMqtt
from kith.backends.mqtt_paho import PahoBroker
from kith.outward.broker import Broker, Dial, Message
from kith.outward.errors import MqttAway
from tests.servers.mosquitto import Mosquitto

PATIENCE_S = 20.0


@dataclass
class Side:
    """dial: connects as our worker does; another: as somebody else. cut: breaks our connections; prefix: of topics."""

    dial: Dial
    another: Dial
    cut: Callable[[Broker], None]
    prefix: str

    def will(self) -> Message:
        return Message(f"{self.prefix}/available", b"offline", retain=True)

    def heard(self, topic: str) -> list[bytes]:
        """What somebody hears who subscribes now; it goes on to be filled."""
        told: list[bytes] = []
        self.another(Message(f"{self.prefix}/other", b"")).subscribe(
            f"{self.prefix}/{topic}", lambda _, payload: told.append(payload)
        )
        return told


@pytest.fixture(params=["memory", "5", "3.1.1"])
def side(request: pytest.FixtureRequest, prefix: str) -> Iterator[Side]:
    if request.param == "memory":
        broker = MemoryMqtt()
        yield Side(broker.dial, MemoryOther(broker).dial, lambda _: broker.cut(), prefix)
        return
    server: Mosquitto = request.getfixturevalue("mosquitto")
    knobs = server.knobs(version=request.param, timeout_s=5.0)
    opened: list[PahoBroker] = []

    def dial(will: Message, client_id: str = "me") -> PahoBroker:
        opened.append(PahoBroker(knobs, f"{prefix}-{client_id}", will))
        return opened[-1]

    def cut(broker: Broker) -> None:
        # As when the process is killed.
        broker._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    yield Side(dial, lambda will: dial(will, f"other{len(opened)}"), cut, prefix)
    for each in opened:
        each.close()


class MemoryOther:
    """Another client of the broker in memory."""

    def __init__(self, broker: MemoryMqtt) -> None:
        self._broker = broker

    def dial(self, _: Message) -> Broker:
        class Subscriber:
            alive = True

            def subscribe(inner, topic: str, heard: object) -> None:  # noqa: N805 (self is the one outside)
                self._broker.hear(topic, heard, lambda: True)  # type: ignore[arg-type]

        return Subscriber()  # type: ignore[return-value]


def until(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.needs("mosquitto")
def test_what_was_published_is_heard_by_who_subscribed_and_what_is_kept_by_who_comes_later(side: Side) -> None:
    now, other = side.heard("front/event"), side.heard("front/count")
    broker = side.dial(side.will())
    broker.publish(Message(f"{side.prefix}/front/event", b"new", expiry_s=5))
    broker.publish(Message(f"{side.prefix}/front/count", b"1", retain=True))
    broker.publish(Message(f"{side.prefix}/front/count", b"2", retain=True))
    until(lambda: (now, other) == ([b"new"], [b"1", b"2"]))
    late_event, late_count = side.heard("front/event"), side.heard("front/count")
    until(lambda: late_count == [b"2"])
    assert late_event == []


@pytest.mark.needs("mosquitto")
def test_an_empty_message_takes_away_what_is_kept(side: Side) -> None:
    broker = side.dial(side.will())
    for payload in (b"1", b""):
        broker.publish(Message(f"{side.prefix}/front/count", payload, retain=True))
    broker.publish(Message(f"{side.prefix}/end", b"end", retain=True))
    gone, end = side.heard("front/count"), side.heard("end")
    until(lambda: end == [b"end"])
    assert gone == []


@pytest.mark.needs("mosquitto")
@pytest.mark.parametrize("how", ["hung up", "cut off"])
def test_who_hangs_up_or_is_cut_off_has_the_last_will_told_and_says_nothing_more(side: Side, how: str) -> None:
    broker = side.dial(side.will())
    broker.publish(Message(f"{side.prefix}/available", b"online", retain=True))
    heard = side.heard("available")
    until(lambda: heard == [b"online"])
    side.cut(broker) if how == "cut off" else broker.close()
    until(lambda: heard == [b"online", b"offline"])
    until(lambda: not broker.alive)
    with pytest.raises(MqttAway):
        broker.publish(Message(f"{side.prefix}/x", b""))


@pytest.mark.needs("mosquitto")
def test_who_follows_takes_the_connection_over_and_has_the_last_word(side: Side) -> None:
    heard = side.heard("available")
    first = side.dial(side.will())
    first.publish(Message(f"{side.prefix}/available", b"online", retain=True))
    second = side.dial(side.will())
    second.publish(Message(f"{side.prefix}/available", b"online", retain=True))
    until(lambda: heard == [b"online", b"offline", b"online"])
    until(lambda: not first.alive)
    assert second.alive
