"""News of cameras in one process: where there is no Redis, and for tests. Nothing survives the process."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from kith.jobs import now_ms
from kith.names import gallery_name
from kith.results import order_of
from kith.watching.log import Heard
from kith.watching.news import News

#: News of one gallery that wait for a watcher.
KEPT = 20_000


class MemorySightings:
    """Implements kith.watching.log.SightingLog. kept: news of one gallery. clock: Unix milliseconds."""

    def __init__(self, kept: int = KEPT, clock: Callable[[], int] = now_ms) -> None:
        self._kept, self.clock = kept, clock
        self._news = threading.Condition()
        self._galleries: dict[str, list[Heard]] = {}
        self._newest = dict[str, tuple[int, int]]()

    def tell(self, gallery: str, news: Sequence[News]) -> str:
        gallery_name(gallery)
        with self._news:
            held = self._galleries.setdefault(gallery, [])
            for each in news:
                ms, number = self._newest.get(gallery, (0, 0))
                at_ms = max(ms, self.clock())
                self._newest[gallery] = place = (at_ms, number + 1 if at_ms == ms else 0)
                held.append(Heard(gallery, "{}-{}".format(*place), each))
            del held[: max(0, len(held) - self._kept)]
            self._news.notify_all()
            return "{}-{}".format(*self._newest.get(gallery, (0, 0)))

    def galleries(self) -> list[str]:
        with self._news:
            return sorted(self._galleries)

    def after(self, positions: Mapping[str, str], *, limit: int = 200, block_s: float = 0.0) -> dict[str, list[Heard]]:
        deadline_s = time.monotonic() + block_s
        with self._news:
            while True:
                found = {}
                for gallery, entry_id in positions.items():
                    held = [
                        each
                        for each in self._galleries.get(gallery, ())
                        if order_of(each.entry_id) > order_of(entry_id)
                    ]
                    if held:
                        found[gallery] = held[:limit]
                left_s = deadline_s - time.monotonic()
                if found or left_s <= 0:
                    return found
                self._news.wait(left_s)

    def waiting(self, gallery: str) -> int:
        with self._news:
            return len(self._galleries.get(gallery, ()))

    def trim(self, gallery: str, keep_s: float) -> int:
        oldest_ms = self.clock() - round(keep_s * 1000)
        with self._news:
            held = self._galleries.get(gallery, [])
            kept = [each for each in held if each.at_ms >= oldest_ms]
            gone = len(held) - len(kept)
            held[:] = kept
            return gone

    def taken(self, gallery: str, entry_id: str) -> None:
        """Erase what a watcher has taken, up to and with this entry."""
        with self._news:
            held = self._galleries.get(gallery, [])
            held[:] = [each for each in held if order_of(each.entry_id) > order_of(entry_id)]

    def wipe(self, gallery: str) -> None:
        """As if nothing had ever been told of it."""
        with self._news:
            self._galleries.pop(gallery, None)
