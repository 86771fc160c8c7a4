"""Out of the process: news into the sighting log, crops into the store and as jobs to the workers.

In the order in which they were found, for a crop is of a track that has begun, and whoever reads must have heard that
first. The cameras never wait for it: what cannot be told now is kept, what cannot be sent in time is dropped and
counted. News are kept for long, they are small and each is told once; of crops the newest win, an old one is worthless.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2

from kith.cameras import Camera
from kith.errors import KithError, Retryable
from kith.intake import Intake
from kith.jobs import Content, Kind, Lane, now_ms
from kith.watching.log import SightingLog
from kith.watching.news import News
from producers.camera.counts import Counts
from producers.camera.eye import Crop
from producers.camera.newest import Newest

_log = logging.getLogger("kith.camera")

#: News that are kept while Redis is away; past it, the oldest go. About an hour of a busy hall.
_MOST_NEWS = 20_000
#: Crops that wait to be stored.
_MOST_CROPS = 64
#: Told in one step.
_AT_ONCE = 200
_RETRY_S = 0.5
_LOOK_AGAIN_S = 0.01

#: A gallery, and what is told of it.
_News = tuple[str, Sequence[News]]

#: As good as lossless for a face of 112 pixels (colour at full resolution), at a third of the bytes of PNG.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclass(frozen=True, slots=True)
class _Picked:
    camera: Camera
    crop: Crop
    counts: Counts


class Sending:
    """Two threads: one tells news, one sends crops. Safe to call from many threads."""

    def __init__(self, log: SightingLog, intake: Intake, live_expiry_s: float) -> None:
        self._sightings, self._intake = log, intake
        self._expiry_ms = round(live_expiry_s * 1000)
        self._found: deque[_News | _Picked] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._crops: Newest[_Picked] = Newest(_MOST_CROPS, lambda lost: lost.counts.drop("unsent"))
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._tell_all, "news"), (self._send_all, "crops"))
        ]
        self._failing: set[str] = set()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Tell and send what waits, for no longer than `timeout_s`; nothing is taken in any more."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._threads[0].join(timeout_s)
        self._crops.close(keep=True)
        self._threads[1].join(max(0.0, until_s - time.monotonic()))
        self._crops.close()

    def tell(self, gallery: str, news: Sequence[News]) -> None:
        """News of one gallery, in order."""
        self._take_in((gallery, news))

    def send(self, camera: Camera, crop: Crop, counts: Counts) -> None:
        """One crop, behind the news that were told before it. Those of a recording that is played as fast as possible
        wait here for room; of all others the newest win."""
        while camera.fast and self.waiting >= _MOST_CROPS // 2 and not self._ending:
            time.sleep(_LOOK_AGAIN_S)
        self._take_in(_Picked(camera, crop, counts))

    @property
    def waiting(self) -> int:
        """How much is kept."""
        return len(self._found) + len(self._crops)

    def _take_in(self, item: _News | _Picked) -> None:
        with self._changed:
            if isinstance(item, _Picked):
                self._make_room()
            elif len(self._found) >= _MOST_NEWS:
                _log.error("what cameras see could not be told for too long; the oldest news are dropped")
                self._found.popleft()
            self._found.append(item)
            self._changed.notify_all()

    def _make_room(self) -> None:
        # Crops are a thousand times the size of news: behind news that cannot be told, no more wait than elsewhere.
        held = [number for number, each in enumerate(self._found) if isinstance(each, _Picked)]
        if len(held) >= _MOST_CROPS:
            lost = self._found[held[0]]
            assert isinstance(lost, _Picked)
            lost.counts.drop("unsent")
            del self._found[held[0]]

    def _tell_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._found or self._ending)
                if not self._found:
                    return
                first = self._found.popleft()
                if isinstance(first, _Picked):
                    self._crops.put(first)
                    continue
                batch = [first, *self._more_of(first[0])]
            news = [each for _, several in batch for each in several]
            trouble = self._trouble("telling what cameras see", partial(self._sightings.tell, first[0], news))
            if isinstance(trouble, Retryable):
                with self._changed:
                    self._found.extendleft(reversed(batch))
                if self._ending:
                    return
                time.sleep(_RETRY_S)

    def _more_of(self, gallery: str) -> Iterator[_News]:
        """What follows at the front and is news of the same gallery, taken out."""
        for _ in range(_AT_ONCE):
            if not self._found or isinstance(self._found[0], _Picked) or self._found[0][0] != gallery:
                return
            following = self._found.popleft()
            assert not isinstance(following, _Picked)
            yield following

    def _send_all(self) -> None:
        while not self._crops.done:
            picked = self._crops.get(1.0)
            if picked is not None:
                self._send_one(picked)

    def _send_one(self, picked: _Picked) -> None:
        camera, seen = picked.camera, picked.crop.seen
        expires_ms = seen.at_ms + self._expiry_ms if camera.lane is Lane.LIVE else None
        if expires_ms is not None and now_ms() > expires_ms:
            picked.counts.drop("expired")
            return

        def send() -> None:
            encoded, data = cv2.imencode(".jpg", cv2.cvtColor(picked.crop.pixels, cv2.COLOR_RGB2BGR), _JPEG)
            assert encoded
            image = replace(self._intake.put(data.tobytes(), label=f"{seen.track} {seen.number}"), seen=seen)
            job = self._intake.job(
                Kind.IDENTIFY,
                [image],
                gallery=camera.gallery,
                lane=camera.lane,
                content=Content.ALIGNED,
                expires_ms=expires_ms,
                # The same crop is the same job, should its acceptance be repeated.
                idempotency_key=f"{seen.track}:{seen.number}",
            )
            self._intake.submit(job)

        if self._trouble("sending crops", send) is None:
            picked.counts.add("sent")
        else:
            picked.counts.drop("unsent")

    def _trouble(self, what: str, do: Callable[[], object]) -> KithError | None:
        """Why `do` failed, None when it did not. Logged when it begins and when it ends, not for each crop."""
        try:
            do()
        except KithError as trouble:
            if what not in self._failing:
                self._failing.add(what)
                later = "; trying again" if isinstance(trouble, Retryable) else ""
                _log.warning("%s: %s%s", what, trouble.reason, later)
            return trouble
        if what in self._failing:
            self._failing.discard(what)
            _log.warning("%s works again", what)
        return None
