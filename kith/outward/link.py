"""The connection to the MQTT broker, made again for ever: while this worker tells, and as long as it does."""

import logging
import time
from collections.abc import Sequence

from kith.outward.broker import Broker, Dial, Heard, Message
from kith.outward.errors import MqttAway
from kith.outward.lease import Lease
from kith.outward.pauses import pause_s

_log = logging.getLogger(__name__)

#: How soon a lost connection, or a lost lease, is noticed by the thread that makes connections.
_LOOK_EVERY_S = 0.1
_FIRST_PAUSE_S = 0.2


class Link:
    """subscriptions: topics, and who hears of them. will: what the broker tells when the connection breaks.
    `round` is called again and again by one thread; the rest by any."""

    def __init__(
        self,
        dial: Dial,
        lease: Lease,
        will: Message,
        retry_max_s: float,
        subscriptions: Sequence[tuple[str, Heard]] = (),
    ) -> None:
        self._dial, self._lease, self._will, self._retry_max_s = dial, lease, will, retry_max_s
        self._subscriptions = subscriptions
        self._broker: Broker | None = None
        self._fault: str | None = None
        self._attempts, self._again_at_s = 0, float("-inf")

    @property
    def broker(self) -> Broker:
        """The connection. Raises MqttAway while there is none."""
        broker = self._broker
        if broker is None or not broker.alive:
            raise MqttAway(self._fault or "the MQTT broker is not connected")
        return broker

    @property
    def connected(self) -> bool:
        """Whether there is one."""
        broker = self._broker
        return broker is not None and broker.alive

    def round(self) -> None:
        """Connect when that is due; then wait a moment."""
        if not self._lease.held:
            self.close()
        elif (self._broker is None or not self._broker.alive) and time.monotonic() >= self._again_at_s:
            self._connect()
        time.sleep(_LOOK_EVERY_S)

    def close(self) -> None:
        """Hang up: the last will says that nobody tells, unless another tells by now and has taken over."""
        broker, self._broker = self._broker, None
        if broker is not None and broker.alive:
            broker.close()

    def _connect(self) -> None:
        try:
            broker = self._dial(self._will)
            try:
                for topic, heard in self._subscriptions:
                    broker.subscribe(topic, heard)
            except BaseException:
                broker.close()
                raise
        except MqttAway as away:
            if self._fault != str(away):
                # Once, not at every attempt.
                _log.warning("%s; trying again for ever", away)
            self._fault, self._attempts = str(away), self._attempts + 1
            self._again_at_s = time.monotonic() + pause_s(self._attempts, _FIRST_PAUSE_S, self._retry_max_s)
            return
        _log.warning("connected with the MQTT broker")
        self._broker, self._fault, self._attempts = broker, None, 0
