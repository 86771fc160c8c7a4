"""Reads for Prometheus what stands in Redis and is everybody's (kith.metrics.house)."""

from collections import Counter
from collections.abc import Callable
from functools import cache

from kith.cameras import CameraRegistry
from kith.gallery import GalleryStore
from kith.intake import JobQueue
from kith.ledger import Ledger
from kith.lengths import Measures
from kith.metrics.house import House
from kith.results import Results
from kith.status import status
from kith.webhooks import Webhooks


class HouseReader:
    """default_cutoff: model_id → the cutoff of a gallery of that model that has none of its own; asked once of each.
    Calling it raises StateUnavailable."""

    def __init__(
        self,
        ledger: Ledger,
        results: Results,
        queue: JobQueue,
        galleries: GalleryStore,
        cameras: CameraRegistry,
        webhooks: Webhooks,
        measures: Measures,
        default_cutoff: Callable[[str], float],
    ) -> None:
        self._ledger, self._results, self._queue, self._galleries = ledger, results, queue, galleries
        self._cameras, self._webhooks, self._measures = cameras, webhooks, measures
        self._default_cutoff = cache(default_cutoff)

    def __call__(self) -> House:
        now = status(self._ledger, self._results, self._queue, self._galleries)
        webhooks, progress = self._webhooks.all(), self._webhooks.progress()
        return House(
            status=now,
            lengths=self._measures.lengths([each.name for each in now.galleries]),
            cutoffs={
                each.name: self._default_cutoff(each.model_id) if each.cutoff is None else each.cutoff
                for each in now.galleries
            },
            cameras=Counter(each.state for each in self._cameras.statuses()),
            webhooks=len(webhooks),
            paused_webhooks=sum(each.paused_why is not None for each in webhooks),
            webhook_dead=sum(each.dead for each in progress.values()),
        )
