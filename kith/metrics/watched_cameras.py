"""The cameras that a camera process serves: how they are, what was looked at, what was dropped and why."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kith.cameras import CameraReport, CameraState
from kith.metrics.labels import bounded

#: As cameras count (producers.camera.counts): the name of a count → of the measurement, and what it is.
_COUNTED = {
    "received": ("kith_camera_received_frames", "Frames that came from the camera."),
    "looked_at": ("kith_camera_looked_at_frames", "Frames that were searched for faces."),
    "faces": ("kith_camera_faces", "Faces found in them."),
    "tracks": ("kith_camera_tracks", "People followed through the picture, each time one appeared."),
    "sent": ("kith_camera_sent_crops", "Crops of faces sent to the workers."),
}
_DROPPED, _SPENT_US = "dropped_", "us_"

#: A camera's report, None where there is none, and what was counted of it.
_Known = tuple[CameraReport | None, Counter[str]]


class WatchedCameras(Collector):
    """Of a camera process. Counts are those that were reported to the registry of cameras (kith.cameras), so that both
    say the same. A camera that moves to another process goes on there from 0, which rate() understands."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._unsent: Callable[[], int] = int
        registry.register(self)

    def shows(self, unsent: Callable[[], int]) -> None:
        """How much waits to be told and sent, asked whenever somebody wants to know."""
        self._unsent = unsent

    def reported(self, name: str, report: CameraReport, counts: Mapping[str, int]) -> None:
        """What the registry was told of a camera. counts: since the last time."""
        with self._lock:
            before = self._known.get(name, (None, Counter()))[1]
            self._known[name] = report, before + Counter(counts)

    def gone(self, name: str) -> None:
        """It is not served here any more."""
        with self._lock:
            self._known.pop(name, None)

    def describe(self) -> Iterator[Metric]:
        """Without samples."""
        return _families([], 0, 0)

    def collect(self) -> Iterator[Metric]:
        """As of the last reports, which are made every second."""
        with self._lock:
            known = sorted(self._known.items())
        return _families(bounded(known, _together), len(known), self._unsent())


def _together(rest: Sequence[_Known]) -> _Known:
    return None, sum((counts for _, counts in rest), Counter())


def _families(known: Sequence[tuple[str, _Known]], held_now: int, unsent: int) -> Iterator[Metric]:
    held = GaugeMetricFamily("kith_cameras_held", "Cameras that this process serves.")
    waiting = GaugeMetricFamily("kith_camera_unsent", "News and crops that wait to be sent.")
    live = GaugeMetricFamily(
        "kith_camera_live", "1 while pictures come, 0 while it is being opened.", labels=["camera"]
    )
    followed = GaugeMetricFamily("kith_camera_followed_tracks", "People followed just now.", labels=["camera"])
    pressure = GaugeMetricFamily(
        "kith_camera_pressure_level",
        "How far it is throttled because workers are busy: 0 not, 5 most.",
        labels=["camera"],
    )
    dropped = CounterMetricFamily(
        "kith_camera_dropped", "Frames or crops that nobody looked at, and why.", labels=["camera", "reason"]
    )
    spent = CounterMetricFamily("kith_camera_cpu_seconds", "CPU time of a stage.", labels=["camera", "stage"])
    counted = {key: CounterMetricFamily(name, text, labels=["camera"]) for key, (name, text) in _COUNTED.items()}
    held.add_metric([], held_now)
    waiting.add_metric([], unsent)
    for name, (report, counts) in known:
        if report is not None:
            live.add_metric([name], int(report.state is CameraState.LIVE))
            followed.add_metric([name], report.tracks)
            pressure.add_metric([name], report.pressure)
        for key, family in counted.items():
            family.add_metric([name], counts[key])
        for key, number in sorted(counts.items()):
            if key.startswith(_DROPPED):
                dropped.add_metric([name, key.removeprefix(_DROPPED)], number)
            elif key.startswith(_SPENT_US):
                spent.add_metric([name, key.removeprefix(_SPENT_US)], number / 1e6)
    yield from (held, waiting, live, followed, pressure, dropped, spent, *counted.values())
