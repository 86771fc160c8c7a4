"""Every measurement there is, as the code that makes them says: for the tests of docs, dashboard and alerts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.registry import Collector

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.metrics.house import HouseState
from kith.metrics.instruments import Instruments
from kith.metrics.jobs import AnsweredJobs, EmbeddedJobs
from kith.metrics.models import Batches, Models
from kith.metrics.replicas import Replicas
from kith.metrics.requests import Requests
from kith.metrics.sweeps import Sweeps
from kith.metrics.tellings import Tellings, mqtt_connected
from kith.metrics.watched_cameras import WatchedCameras
from kith.metrics.watches import Watches
from kith.replica import Follower

#: What each role makes, by its name.
ROLES = {
    "embed": (AnsweredJobs, EmbeddedJobs, Batches, Models, lambda at: Replicas(Follower(MemoryGalleryStore()), at)),
    "publish": (AnsweredJobs,),
    "upkeep": (AnsweredJobs, Sweeps, lambda at: HouseState(lambda: None, at)),
    "watch": (Watches,),
    "outward": (Tellings, mqtt_connected),
    "camera": (WatchedCameras,),
    "api": (Requests,),
}

#: Of the process itself and its Python: the library's own, explained by it.
PROCESS = ("process_", "python_")

_SUFFIX = {"counter": "_total", "info": "_info"}
#: What an information tells beside its labels.
_TOLD = {"kith_process": ("name", "role", "version"), "kith_model": ("model_id", "runtime")}


@dataclass(frozen=True, slots=True)
class Known:
    """A measurement. name: of its samples, of a histogram without _bucket, _sum and _count."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def samples(self) -> tuple[str, ...]:
        """The names a query may use."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)


def every_metric() -> dict[str, Known]:
    """By name; without those of the process."""
    return {name: known for role in ROLES for name, known in metrics_of(role).items()}


def metrics_of(role: str) -> dict[str, Known]:
    """Those of one role, by name; without those of the process."""
    shown = Instruments(role, role)
    for make in ROLES[role]:
        make(shown.registry)  # type: ignore[operator]
    found: Any = shown.registry._collector_to_names
    known = [each for collector in found for each in _of(collector)]
    return {each.name: each for each in known if not each.name.startswith(PROCESS)}


def _of(collector: Collector) -> Iterator[Known]:
    for family in collector.describe() if hasattr(collector, "describe") else ():
        # The library keeps the labels of both kinds of collectors under this name.
        labels: Any = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
        labels = tuple(sorted({*labels, *_TOLD.get(family.name, ())}))
        yield Known(family.name + _SUFFIX.get(family.type, ""), family.type, labels, family.documentation)
