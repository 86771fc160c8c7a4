"""What is kept no longer than a gallery says: pictures that were asked about, decisions; and the audit log by its age.

Both follow the results: entries old enough are looked at once, in order, and how far is noted. A picture goes before
the decision that alone tells of it, so the time of decisions, and that of the installation's results, bound the time of
pictures too. A picture stays where a template was made of it, or an open job asks about it; one of somebody forgotten
that stayed for a job alone goes at the first round after that. Where results are dropped by number before their time
(results.keep_entries), their pictures are lost sight of: keep that number ample.

What cameras told is in workers.watched_retention; the watcher itself forgets strangers after `keep_strangers_s`.
"""

import logging
from dataclasses import dataclass

from kith import wire
from kith.audit import AuditLog
from kith.erasure import Erasure, asked_about
from kith.errors import JobRejected
from kith.gallery import GalleryInfo, GalleryStore
from kith.imagestore import ImageStore
from kith.jobs import Decision, now_ms
from kith.results import order_of
from kith.settings import Settings
from workers.watched_retention import WatchedRetention

_log = logging.getLogger(__name__)

#: Decisions of one gallery looked at in one run; the next run goes on.
_MOST = 5000
#: Pictures go this much before the results that tell of them are dropped by age.
_AHEAD = 0.95


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one run erased."""

    pictures: int = 0
    decisions: int = 0
    events: int = 0

    def __add__(self, other: "Dropped") -> "Dropped":
        return Dropped(self.pictures + other.pictures, self.decisions + other.decisions, self.events + other.events)


class Retention:
    """Several at once do no harm. Raises what the parts do; the next run goes on."""

    def __init__(
        self,
        galleries: GalleryStore,
        erasure: Erasure,
        store: ImageStore,
        audit: AuditLog,
        settings: Settings,
        watched: WatchedRetention | None = None,
    ) -> None:
        self._galleries, self._erasure, self._store, self._audit = galleries, erasure, store, audit
        self._watched = watched
        self._audit_keep_s = settings.security.audit_keep_s
        self._results_keep_s = settings.results.keep_s

    def run(self) -> Dropped:
        """One round over all galleries, bounded."""
        self._audit.trim(self._audit_keep_s)
        if self._watched is not None:
            self._watched.trim()
            self._watched.wipe_gone(self._galleries)
        dropped = Dropped()
        dropped += Dropped(pictures=self._drop_spared())
        for gallery in self._galleries.galleries():
            dropped += self._of(gallery)
        if dropped != Dropped():
            counts = dropped.pictures, dropped.decisions, dropped.events
            _log.info("retention: %d pictures, %d decisions and %d events erased", *counts)
        return dropped

    def _of(self, gallery: GalleryInfo) -> Dropped:
        probes_s, decisions_s = gallery.settings.keep_probes_s, gallery.settings.keep_decisions_s
        dropped = Dropped()
        if probes_s is not None:
            probes_s = min(probes_s, decisions_s or probes_s, int(_AHEAD * self._results_keep_s))
            dropped += Dropped(pictures=self._drop_pictures(gallery.name, probes_s))
        if decisions_s is not None:
            dropped += Dropped(decisions=self._drop_decisions(gallery.name, decisions_s, probes_s is not None))
        if self._watched is not None:
            dropped += Dropped(pictures=self._watched.delete_pictures(gallery, probes_s))
            if decisions_s is not None:
                dropped += Dropped(events=self._watched.drop_events(gallery.name, decisions_s))
        return dropped

    def _drop_spared(self) -> int:
        """Pictures of people forgotten that stayed for jobs which are done by now."""
        spared = self._erasure.spared()
        if not spared:
            return 0
        free = spared - asked_about(self._erasure)
        used = self._erasure.in_use(free)
        gone = sum(self._store.delete(each) for each in sorted(free - used))
        self._erasure.spare_no_more(free)
        return gone

    def _drop_pictures(self, gallery: str, keep_s: float) -> int:
        looked_at, reached = self._old(gallery, "probes", keep_s)
        pictures = {decision.image for _, _, decision in looked_at if decision is not None}
        if pictures:
            pictures -= asked_about(self._erasure)
            pictures -= self._erasure.in_use(pictures)
            pictures -= self._watched.kept(gallery) if self._watched is not None else set()
        gone = sum(self._store.delete(each) for each in sorted(pictures))
        self._erasure.reach(f"{gallery} probes", reached)
        return gone

    def _drop_decisions(self, gallery: str, keep_s: float, after_pictures: bool) -> int:
        looked_at, reached = self._old(gallery, "decisions", keep_s)
        limit = order_of(self._erasure.reached(f"{gallery} probes")) if after_pictures else None
        gone = 0
        for entry_id, text, _ in looked_at:
            if limit is not None and order_of(entry_id) > limit:
                # Its picture's turn is not yet.
                return gone
            gone += self._erasure.amend_result(entry_id, text, "")
        self._erasure.reach(f"{gallery} decisions", reached)
        return gone

    def _old(self, gallery: str, what: str, keep_s: float) -> tuple[list[tuple[str, str, Decision | None]], str]:
        """Decisions whose time is over and that were not looked at yet, and how far they reach."""
        found: list[tuple[str, str, Decision | None]] = []
        reached = self._erasure.reached(f"{gallery} {what}")
        until = str(now_ms() - round(keep_s * 1000))
        if order_of(reached) >= (int(until), 0):
            return found, reached
        for entry_id, text in self._erasure.results(reached, gallery, until):
            if text is None:
                reached = entry_id
                if len(found) >= _MOST:
                    break
                continue
            try:
                found.append((entry_id, text, wire.from_json(Decision, text)))
            except JobRejected:
                found.append((entry_id, text, None))
        return found, reached
