"""An MQTT broker within one process: for tests, and to see what would be told."""

import threading
from collections.abc import Callable

from kith.outward.broker import Heard, Message
from kith.outward.errors import MqttAway


class MemoryMqtt:
    """The broker itself. `dial` connects; told: everything that was published, in order; retained: by topic."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.told: list[Message] = []
        self.retained: dict[str, bytes] = {}
        self.away = False
        self._subscriptions: list[tuple[str, Heard, Callable[[], bool]]] = []
        self._connections: list[MemoryBroker] = []

    def dial(self, will: Message) -> "MemoryBroker":
        """A connection. Raises MqttAway while it is `away`."""
        if self.away:
            raise MqttAway("the MQTT broker cannot be reached")
        with self._lock:
            # The same client twice: the former is shown the door, as brokers do.
            self.cut()
            self._connections = [MemoryBroker(self, will)]
            return self._connections[0]

    def cut(self) -> None:
        """Break all connections: their last wills are told."""
        with self._lock:
            for connection in self._connections:
                if connection.alive:
                    connection.alive = False
                    self.take(connection.will)

    def take(self, message: Message) -> None:
        """What a connection publishes."""
        with self._lock:
            self.told.append(message)
            if message.retain:
                self.retained.pop(message.topic, None)
                if message.payload:
                    self.retained[message.topic] = message.payload
            heard = [each for topic, each, alive in self._subscriptions if topic == message.topic and alive()]
        for each in heard:
            each(message.topic, message.payload)

    def hear(self, topic: str, heard: Heard, alive: Callable[[], bool]) -> None:
        """What a connection subscribes to."""
        with self._lock:
            self._subscriptions.append((topic, heard, alive))
            kept = self.retained.get(topic)
        if kept is not None:
            heard(topic, kept)


class MemoryBroker:
    """Implements kith.outward.broker.Broker."""

    def __init__(self, broker: MemoryMqtt, will: Message) -> None:
        self._broker, self.will, self.alive = broker, will, True

    def publish(self, message: Message) -> None:
        if not self.alive or self._broker.away:
            raise MqttAway("the connection to the MQTT broker has broken")
        self._broker.take(message)

    def subscribe(self, topic: str, heard: Heard) -> None:
        if not self.alive:
            raise MqttAway("the connection to the MQTT broker has broken")
        self._broker.hear(topic, heard, lambda: self.alive)

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self._broker.take(self.will)
