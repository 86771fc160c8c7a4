"""The state that stands in Redis and is everybody's: queues, open jobs, dead letters, galleries, cameras, webhooks.

Told by upkeep alone. It is the one process that every installation has and whose work is the whole; were it told by
each worker, a sum over them would count every job as often as there are workers. Where several upkeep workers run, take
the maximum. While Redis cannot be read nothing but `kith_house_readable` is told: old numbers would look like news.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kith.cameras import CameraState
from kith.errors import KithError
from kith.lengths import Lengths
from kith.metrics.house_galleries import GalleryGauges, families_of
from kith.status import Status

_log = logging.getLogger(__name__)

#: Every process that beats (kith.ledger.WorkerBeat): one of which there is none shows as 0, not as nothing.
ROLES = ("embed", "publish", "upkeep", "watch", "outward", "camera")

#: Asked again within this time, the answer is the same: several that scrape cost no more than one.
_KEPT_S = 1.0


@dataclass(frozen=True, slots=True)
class House:
    """What is told. cutoffs: by gallery, the one in force. cameras: how many are in each state. webhooks: all of them;
    paused_webhooks: those of them. webhook_dead: their dead letters."""

    status: Status
    lengths: Lengths
    cutoffs: Mapping[str, float]
    cameras: Mapping[CameraState, int]
    webhooks: int
    paused_webhooks: int
    webhook_dead: int


class HouseState(Collector):
    """read: asks Redis and the broker; raises KithError."""

    def __init__(
        self, read: Callable[[], House], registry: CollectorRegistry, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock_s = read, clock_s
        self._lock = threading.Lock()
        self._house: House | None = None
        self._until_s = float("-inf")
        self._failing = False
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Without samples."""
        for family in (_readable(can=False), *_families(_EMPTY)):
            family.samples.clear()
            yield family

    def collect(self) -> Iterator[Metric]:
        """As things stand."""
        # One at a time: who comes meanwhile gets the same answer.
        with self._lock:
            house = self._known()
        yield _readable(can=house is not None)
        if house is not None:
            yield from _families(house)

    def _known(self) -> House | None:
        if self._clock_s() >= self._until_s:
            self._house = self._asked()
            self._until_s = self._clock_s() + _KEPT_S
        return self._house

    def _asked(self) -> House | None:
        try:
            house = self._read()
        except KithError as away:
            if not self._failing:
                _log.warning("the state of the installation cannot be told to Prometheus: %s", away)
            self._failing = True
            return None
        self._failing = False
        return house


_EMPTY = House(Status({}, 0, 0, 0, (), ()), Lengths({}, 0, 0, {}), {}, {}, 0, 0, 0)


def _readable(*, can: bool) -> Metric:
    return _one("kith_house_readable", "1 while the state in Redis can be read, of which the rest tells.", int(can))


def _families(house: House) -> Iterator[Metric]:
    status = house.status
    depths = {name: depth for name, depth in status.lanes.items() if depth is not None}
    yield _by("kith_queue_depth", "Messages that wait in a queue; absent while the broker is away.", "queue", depths)
    oldest = "How long the job of a lane that was sent first has been waiting; 0 for none."
    yield _by("kith_oldest_waiting_seconds", oldest, "lane", house.lengths.oldest_waiting_s)
    yield _one("kith_open_jobs", "Jobs accepted and not yet decided.", status.open_jobs)
    yield _one("kith_dead_letters", "Jobs that will not be decided.", status.dead_letters)
    yield _one("kith_results", "Decisions kept in the results stream.", status.results)
    yield _one("kith_events", "Events of cameras kept in their stream.", house.lengths.events)
    yield _one("kith_watch_news", "News of cameras that wait for the watcher.", house.lengths.news)
    workers = Counter(beat.role for beat in status.workers)
    yield _by("kith_workers", "Processes whose heartbeat is fresh.", "role", dict.fromkeys(ROLES, 0) | workers)
    states = {str(state): house.cameras.get(state, 0) for state in CameraState}
    yield _by("kith_cameras", "Cameras in a state; `waiting` are those that no process serves.", "state", states)
    webhooks = {"active": house.webhooks - house.paused_webhooks, "paused": house.paused_webhooks}
    yield _by("kith_webhooks", "Webhooks.", "state", webhooks)
    yield _one("kith_webhook_dead_letters", "Deliveries that were given up and are kept.", house.webhook_dead)
    yield _one("kith_galleries", "Galleries.", len(status.galleries))
    yield from families_of(
        {
            each.name: GalleryGauges(
                *(each.subjects, each.templates, each.sequence),
                journal=house.lengths.journals.get(each.name, 0),
                cutoff=house.cutoffs.get(each.name),
            )
            for each in status.galleries
        }
    )


def _one(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
