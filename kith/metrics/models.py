"""The models of an embed worker: what they are, how long they took to load, and how full their batches are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model as Prometheus hears of it. label: its name and enough of its id, for two may be called alike. load_s: how
    long it took until it was ready. capacity: faces in a full batch. failures: batches that failed, so far."""

    label: str
    model_id: str
    runtime: str
    load_s: float
    capacity: int
    failures: int


def model_label(name: str, model_id: str) -> str:
    """`NAME@1a2b3c4d`."""
    return f"{name}@{model_id[:8]}"


class Batches:
    """What a batcher tells of each batch it has served (kith.batcher). One for all models of a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._faces = Histogram(
            "kith_batch_faces", "Faces in one call of the network.", ["model"], buckets=_SIZES, registry=registry
        )
        self._wait = Histogram(
            "kith_batch_wait_seconds",
            "Of each batch, how long the face in it that came first had waited for the network.",
            ["model"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._run = Histogram(
            "kith_batch_run_seconds",
            "How long one call of the network took.",
            ["model"],
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def of(self, label: str) -> "BatchesOf":
        """For the model of this label."""
        return BatchesOf(self._faces.labels(label), self._wait.labels(label), self._run.labels(label))


@dataclass(frozen=True, slots=True)
class BatchesOf:
    """Of one model; implements kith.batcher.Served."""

    faces: Histogram
    wait: Histogram
    run: Histogram

    def __call__(self, requests: int, waited_s: float, took_s: float) -> None:
        """A batch was served."""
        self.faces.observe(requests)
        self.wait.observe(waited_s)
        self.run.observe(took_s)


class Models(Collector):
    """Asks when it is asked. `loaded` is empty until they are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._loaded: Sequence[Callable[[], LoadedModel]] = ()
        registry.register(self)

    def show(self, loaded: Sequence[Callable[[], LoadedModel]]) -> None:
        """They are loaded."""
        self._loaded = loaded

    def describe(self) -> Iterator[Metric]:
        """Without samples."""
        return self._families(())

    def collect(self) -> Iterator[Metric]:
        """As they are now."""
        return self._families([each() for each in self._loaded])

    def _families(self, loaded: Sequence[LoadedModel]) -> Iterator[Metric]:
        about = InfoMetricFamily(
            "kith_model", "A model this worker holds; the first is the main one.", labels=["model"]
        )
        load = GaugeMetricFamily("kith_model_load_seconds", "How long it took until it was ready.", labels=["model"])
        capacity = GaugeMetricFamily("kith_batch_capacity_faces", "Faces in a full batch.", labels=["model"])
        failures = CounterMetricFamily(
            "kith_batch_failures", "Calls of the network that failed and were run face by face.", labels=["model"]
        )
        for each in loaded:
            about.add_metric([each.label], {"model_id": each.model_id, "runtime": each.runtime})
            load.add_metric([each.label], each.load_s)
            capacity.add_metric([each.label], each.capacity)
            failures.add_metric([each.label], each.failures)
        yield from (about, load, capacity, failures)
