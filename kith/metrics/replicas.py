"""How far an embed worker's galleries are behind those of the store."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kith.metrics.labels import bounded
from kith.replica import Follower, Lag

#: A replica is compared with the store every second; one that was not found equal for this long is not current.
CURRENT_WITHIN_S = 5.0


class Replicas(Collector):
    """Of `follower`; asks when it is asked."""

    def __init__(self, follower: Follower, registry: CollectorRegistry) -> None:
        self._lags: Callable[[], dict[str, Lag]] = follower.lags
        registry.register(self)

    def trouble(self) -> str | None:
        """Why the replicas are not current, a check of readiness. A worker that follows nothing yet is current."""
        behind = {name: lag for name, lag in self._lags().items() if lag.seconds > CURRENT_WITHIN_S}
        if not behind:
            return None
        name, lag = max(behind.items(), key=lambda each: each[1].seconds)
        return f"{len(behind)} galleries are behind; {name} was last known to be complete {lag.seconds:.0f} s ago"

    def describe(self) -> Iterator[Metric]:
        """Without samples."""
        return self._families({})

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        return self._families(self._lags())

    def _families(self, lags: dict[str, Lag]) -> Iterator[Metric]:
        changes = GaugeMetricFamily(
            "kith_replica_lag_changes",
            "Changes that the replica lacked when it was last compared with the store, every second.",
            labels=["gallery"],
        )
        seconds = GaugeMetricFamily(
            "kith_replica_lag_seconds",
            "Since when the replica is not known to be complete; below about a second while all is well.",
            labels=["gallery"],
        )
        # Those that are furthest behind are told of by name.
        worst = sorted(lags.items(), key=lambda each: (-each[1].seconds, each[0]))
        for name, lag in bounded(worst, lambda rest: Lag(max(r.changes for r in rest), max(r.seconds for r in rest))):
            changes.add_metric([name], lag.changes)
            seconds.add_metric([name], lag.seconds)
        yield from (changes, seconds)
