"""The system at a glance: queues, open jobs, workers, galleries."""

from contextlib import suppress
from dataclasses import dataclass

from kith.errors import BrokerUnavailable
from kith.gallery import GalleryInfo, GalleryStore
from kith.intake import JobQueue
from kith.jobs import LANES, PUBLISH_QUEUE
from kith.ledger import Ledger, WorkerBeat
from kith.results import Results


@dataclass(frozen=True, slots=True)
class Status:
    """The system at a glance. lanes: messages waiting per queue, None where the broker did not answer."""

    lanes: dict[str, int | None]
    open_jobs: int
    dead_letters: int
    results: int
    workers: tuple[WorkerBeat, ...]
    galleries: tuple[GalleryInfo, ...]


def status(ledger: Ledger, results: Results, queue: JobQueue, galleries: GalleryStore) -> Status:
    """How things stand now. Raises StateUnavailable; a broker that is away shows as None."""
    return Status(
        lanes=_depths(queue),
        open_jobs=ledger.open_count(),
        dead_letters=ledger.dead_count(),
        results=results.count(),
        workers=tuple(ledger.workers()),
        galleries=tuple(galleries.galleries()),
    )


def _depths(queue: JobQueue) -> dict[str, int | None]:
    depths: dict[str, int | None] = dict.fromkeys((*LANES, PUBLISH_QUEUE))
    with suppress(BrokerUnavailable):
        for name in depths:
            # None is asked after one that did not answer: each takes seconds to learn that the broker is away.
            depths[name] = queue.depth(name)
    return depths
