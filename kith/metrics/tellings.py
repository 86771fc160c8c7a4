"""What an outward worker told those who are not Kith."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from kith.outward.telling import Attempt


class Tellings:
    """Of an outward worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        attempts = Counter(
            "kith_webhook_attempts",
            "Attempts to deliver to a webhook: taken by the receiver, put off to be tried again, or given up (buried).",
            ["outcome"],
            registry=registry,
        )
        self._attempts = {outcome: attempts.labels(outcome) for outcome in Attempt}
        self._leading = Gauge(
            "kith_outward_leading", "1 while this outward worker is the one that tells.", registry=registry
        )
        self._registry = registry

    def attempted(self, outcome: Attempt) -> None:
        """What became of one attempt."""
        self._attempts[outcome].inc()

    def shows(self, leading: Callable[[], bool]) -> None:
        """Whether it is the one that tells, asked whenever somebody wants to know."""
        self._leading.set_function(lambda: int(leading()))

    def speaks_mqtt(self, connected: Callable[[], bool]) -> None:
        """It is configured to speak MQTT; without, there is no measurement of it."""
        mqtt_connected(self._registry).set_function(lambda: int(connected()))


def mqtt_connected(registry: CollectorRegistry) -> Gauge:
    """The measurement of `Tellings.speaks_mqtt`."""
    return Gauge("kith_mqtt_connected", "1 while the MQTT broker is connected.", registry=registry)
