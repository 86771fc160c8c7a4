"""What cameras told is kept no longer than a gallery says, and pictures that are nobody's any more are deleted.

Events follow `keep_decisions_s` as decisions do. Crops of a stranger stay as long as the stranger does, whatever
`keep_probes_s` says: they are what a name is enrolled from. What better crops have displaced goes by `keep_probes_s`.
"""

from kith.erasure import Erasure, asked_about
from kith.errors import UnknownGallery
from kith.gallery import GalleryDamaged, GalleryInfo, GalleryStore
from kith.imagestore import ImageStore
from kith.jobs import now_ms
from kith.settings import Settings
from kith.watching.event_log import EventLog
from kith.watching.log import SightingLog
from kith.watching.state import State
from kith.watching.store import WatchStore

#: Events of one gallery looked at in one run; the next run goes on.
_MOST = 5000


class WatchedRetention:
    """Several at once do no harm. Raises what the parts do; the next run goes on."""

    def __init__(
        self,
        watch: WatchStore,
        events: EventLog,
        sightings: SightingLog,
        erasure: Erasure,
        store: ImageStore,
        settings: Settings,
    ) -> None:
        self._watch, self._events, self._sightings = watch, events, sightings
        self._erasure, self._store = erasure, store
        self._keep_waiting_s = settings.watch.keep_waiting_s

    def trim(self) -> None:
        """What no gallery says: events past their time or number, and news that no watcher takes."""
        self._events.trim()
        for gallery in self._sightings.galleries():
            self._sightings.trim(gallery, self._keep_waiting_s)

    def wipe_gone(self, galleries: GalleryStore) -> None:
        """What a camera told of a gallery that is no more: it may not have heard yet that it is paused."""
        for gallery in self._sightings.galleries():
            try:
                galleries.info(gallery)
            except UnknownGallery:
                self._watch.wipe(gallery)
            except GalleryDamaged:
                continue

    def kept(self, gallery: str) -> set[str]:
        """Pictures that somebody who is watched, or a stranger, is known by."""
        state = State(self._watch.records(gallery))
        crops = {crop.image for stranger in state.strangers for crop in stranger.crops}
        shown = [visit.ended for visit in state.visits.values()] + [track.evidence for track in state.tracks.values()]
        return crops.union(crop.image for evidence in shown for crop in evidence.kept)

    def delete_pictures(self, gallery: GalleryInfo, keep_s: float | None) -> int:
        """Those that are nobody's; how many. keep_s: of pictures that were asked about."""
        due_ms = 0 if keep_s is None else now_ms() - round(keep_s * 1000)
        due = [picture for picture, at_ms in self._watch.litter(gallery.name).items() if at_ms <= due_ms]
        if not due:
            return 0
        # Those that a job has yet to be answered about wait for the next round.
        asked = asked_about(self._erasure)
        due = [picture for picture in due if picture not in asked]
        spared = self._erasure.in_use(due) | self.kept(gallery.name)
        gone = sum(self._store.delete(picture) for picture in due if picture not in spared)
        # Who is spared has an owner again, who will be asked when they go.
        self._watch.swept(gallery.name, due)
        return gone

    def drop_events(self, gallery: str, keep_s: float) -> int:
        """Events of a gallery that are older; how many."""
        reached, until_ms, gone = self._erasure.reached(f"{gallery} events"), now_ms() - round(keep_s * 1000), 0
        for number, (entry, text) in enumerate(self._events.of(gallery, reached)):
            if number >= _MOST or int(entry.entry_id.partition("-")[0]) >= until_ms:
                break
            gone += self._events.amend(entry.entry_id, text, "")
            reached = entry.entry_id
        self._erasure.reach(f"{gallery} events", reached)
        return gone
