"""What the watcher told."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kith.jobs import now_ms
from kith.metrics.readiness import LastDone
from kith.watching.events import Event, EventKind

#: Rounds come several times a second.
_RECENT_S = 15.0
_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10)


class Watches:
    """Of a watcher."""

    def __init__(self, registry: CollectorRegistry) -> None:
        #: A check of readiness.
        self.recent = LastDone("no round has succeeded", _RECENT_S)
        events = Counter("kith_watch_events", "Events told.", ["kind"], registry=registry)
        self._events = {kind: events.labels(kind) for kind in EventKind}
        self._delay = Histogram(
            "kith_watch_event_delay_seconds",
            "Of events that may open something (new, update): from the frame that brought it about until it was told.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._leading = Gauge("kith_watch_leading", "1 while this watcher is the one that works.", registry=registry)

    def told(self, events: Sequence[Event]) -> None:
        """These stand in the stream."""
        for event in events:
            self._events[event.kind].inc()
            if event.kind in (EventKind.NEW, EventKind.UPDATE):
                self._delay.observe(max(0, now_ms() - event.at_ms) / 1000)

    def round(self, *, leading: bool) -> None:
        """A round succeeded. leading: whether this watcher is the one that works."""
        self._leading.set(int(leading))
        self.recent.done()

    def waits(self) -> None:
        """A round failed: another leads by now, or will soon."""
        self._leading.set(0)
