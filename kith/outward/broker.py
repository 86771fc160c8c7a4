"""An MQTT broker as Kith needs it: one connection, which lives until it breaks and is then replaced by another.

A connection that comes back by itself would send again what waited meanwhile, among that what must not be told late. So
nothing waits in a connection: `publish` returns when the broker has acknowledged the message (QoS 1), or raises.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """retain: the broker keeps it and tells it to whoever subscribes later. expiry_s: after which the broker hands it
    to nobody (MQTT 5)."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry_s: int | None = None


#: Topic and payload of a message that was subscribed to. Called by the connection's thread: it must not wait.
Heard = Callable[[str, bytes], None]


class Broker(Protocol):
    """Safe to use from many threads."""

    @property
    def alive(self) -> bool:
        """Whether the connection has not broken."""
        ...

    def publish(self, message: Message) -> None:
        """Have the broker take a message. Raises MqttAway."""
        ...

    def subscribe(self, topic: str, heard: Heard) -> None:
        """Be told of messages from now on. Raises MqttAway."""
        ...

    def close(self) -> None:
        """Hang up: the broker tells the last will, unless somebody has taken the connection over."""
        ...


#: Last will → a connection. Raises MqttAway.
Dial = Callable[[Message], Broker]
