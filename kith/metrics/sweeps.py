"""What upkeep did."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from kith.metrics.readiness import LastDone

#: Sweeps come every second, and one of a long outage may take some.
_RECENT_S = 60.0
_ACTIONS = ("resent", "published", "postponed")


class Sweeps:
    """Of an upkeep worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        #: A check of readiness: jobs that are lost stay so until the broker and Redis are there.
        self.recent = LastDone("no sweep has succeeded", _RECENT_S)
        swept = Counter(
            "kith_swept_jobs",
            "Jobs that the sweeper sent again because their message was lost or their time had come, published because "
            "nobody had, or left for later because somebody is at work on them.",
            ["action"],
            registry=registry,
        )
        self._swept = {action: swept.labels(action) for action in _ACTIONS}
        self._last = Gauge(
            "kith_sweep_last_timestamp_seconds", "When a sweep last succeeded, Unix time.", registry=registry
        )

    def swept(self, *, resent: int, published: int, postponed: int) -> None:
        """A sweep succeeded."""
        for action, number in zip(_ACTIONS, (resent, published, postponed), strict=True):
            self._swept[action].inc(number)
        self._last.set_to_current_time()
        self.recent.done()
