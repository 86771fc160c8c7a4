"""Keeps the cutoff of every gallery at the rate it aims at: derives it anew when the gallery has grown, or the site has
learnt something.

Looking is cheap, deriving is not: a large gallery takes minutes of a core. So it happens beside the upkeep's
other chores, one gallery after the other. Several upkeep workers may both derive; they derive the same.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kith.amending import amend_settings
from kith.calibration_samples import SampleStore
from kith.errors import Retryable, UnknownGallery
from kith.gallery import GalleryInfo, GalleryStore
from kith.gallery_cutoff import derive, in_force, is_of_such_scores, is_stale
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.view import Replica
from kith.wiping import wipe_leftovers

_log = logging.getLogger(__name__)

#: Judged since the last time: so many, and so large a part of what the cutoff rests on, make it worth deriving anew.
_LEAST_NEWS, _NEWS_SHARE = 50, 0.2
#: Samples older than a year are of other people, other cameras and another light.
_KEEP_MS = 365 * 86_400_000


class Cutoffs:
    """default: model_id → the cutoff of a gallery of that model that has none of its own. The same galleries and
    samples, the same cutoffs."""

    def __init__(
        self, galleries: GalleryStore, samples: SampleStore, default: Callable[[str], float], seed: int = 0
    ) -> None:
        self._galleries = galleries
        self._samples = samples
        self._default = default
        self._seed = seed
        self._thread: threading.Thread | None = None

    def tend_aside(self) -> None:
        """`tend` in a thread of its own, unless the last one is still at it."""
        if self._thread is None or not self._thread.is_alive():
            # A daemon: who stops the worker does not wait, and half a derivation has changed nothing.
            self._thread = threading.Thread(target=self._tend_and_tell, name="kith-cutoffs", daemon=True)
            self._thread.start()

    def tend(self) -> list[str]:
        """Derive what is due; the names of the galleries that have a new cutoff. Raises StateUnavailable, StateFull."""
        changed = []
        for info in self._galleries.galleries():
            self._samples.trim(info.name, now_ms() - _KEEP_MS)
            if info.settings.fpir is not None and self._is_due(info):
                try:
                    if self._derive(info.name, info.settings.fpir):
                        changed.append(info.name)
                except UnknownGallery:
                    # Wiped while we looked.
                    continue
                finally:
                    # Nobody tells this process who is forgotten: it keeps nothing of anybody.
                    wipe_leftovers()
        return changed

    def _is_due(self, info: GalleryInfo) -> bool:
        record = info.settings.record
        if record is None or record.fpir != info.settings.fpir:
            return True
        if is_stale(record, info.subjects, info.templates, info.model_id, info.settings.scoring):
            return True
        news = self._samples.count(info.name, after_ms=record.at_ms)
        return news >= max(_LEAST_NEWS, _NEWS_SHARE * record.searches)

    def _derive(self, name: str, fpir: float) -> bool:
        # Before reading, so that what is judged meanwhile counts as news.
        at_ms = now_ms()
        samples = self._samples.samples(name)
        view = Replica(self._galleries.snapshot(name)).view
        default = in_force(view.settings, view.model_id, self._default(view.model_id))
        found = derive(view, samples, fpir, np.random.default_rng(self._seed), default=default, at_ms=at_ms)

        def renewed(info: GalleryInfo) -> GallerySettings | None:
            current = is_of_such_scores(found.record, info.model_id, info.settings.scoring)
            if info.settings.fpir != fpir or not current:
                # Somebody has set another target, a cutoff by hand, another model or scoring, while we were at it.
                return None
            return replace(info.settings, cutoff=found.cutoff, record=found.record)

        settings, _ = amend_settings(self._galleries, name, renewed)
        if settings.record != found.record:
            return False
        before = "the default" if view.settings.cutoff is None else f"{view.settings.cutoff:.4f}"
        _log.warning(
            "gallery %s: cutoff %.4f after %s, for an FPIR of %g: %s, %s",
            *(name, found.cutoff, before, fpir, found.record.how, found.record.why),
        )
        return True

    def _tend_and_tell(self) -> None:
        try:
            self.tend()
        except Retryable as away:
            _log.warning("cutoffs wait: %s", away)
        except Exception:  # noqa: BLE001 (logged with its traceback)
            # The thread ends, and the next chore starts another; silence would leave a gallery at an old cutoff.
            _log.exception("deriving cutoffs failed")
