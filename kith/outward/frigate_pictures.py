"""Frigate's snapshots as live jobs: each better one that it tells of is fetched and handed in.

It is a camera like any other from there on: what it follows is a track, and visits, events and strangers come of it. A
snapshot is a photo, in which the worker looks for the face. Messages that come while Kith or the broker is away are not
made up for: they would be of the past.
"""

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from kith.errors import KithError
from kith.intake import Intake
from kith.jobs import Kind, Lane, Seen, now_ms
from kith.outward.errors import ReceiverAway
from kith.outward.frigate import LABEL, Tracked, tracked
from kith.outward.frigate_api import FrigateApi
from kith.outward.knobs import Frigate
from kith.watching.log import SightingLog
from kith.watching.news import TrackBegun, TrackEnded, TracksAlive

_log = logging.getLogger(__name__)

#: Messages that wait for one of the threads; past it the oldest are dropped: newer ones have newer snapshots.
_WAITING = 64
#: Its events of which it is known what was handed in.
_EVENTS = 1000


@dataclass(slots=True)
class _Followed:
    """One event of Frigate. snapshot_ms: of the newest picture that was handed in."""

    pictures: int = 0
    snapshot_ms: int = -1


class FrigatePictures:
    """gallery: who is looked for. live_ms: the deadline of a picture counts from when it was taken. `heard` is told of
    messages, `round` is called again and again by several threads."""

    def __init__(
        self,
        api: FrigateApi,
        intake: Intake,
        sightings: SightingLog,
        knobs: Frigate,
        gallery: str,
        live_ms: int,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._api, self._intake, self._sightings, self._knobs = api, intake, sightings, knobs
        self._gallery, self._live_ms, self._clock = gallery, live_ms, clock
        self._waiting: queue.Queue[tuple[Tracked, int]] = queue.Queue(_WAITING)
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._lock = threading.Lock()
        self._complained = False

    def heard(self, topic: str, payload: bytes) -> None:
        """A message of `frigate/events`."""
        try:
            found = tracked(payload)
        except (ValueError, RecursionError) as wrong:
            if not self._complained:
                self._complained = True
                _log.warning("a message on %s is not Frigate's: %s", topic, wrong)
            return
        if found is None or (self._knobs.cameras and found.frigate_camera not in self._knobs.cameras):
            return
        while True:
            try:
                self._waiting.put_nowait((found, self._clock()))
                return
            except queue.Full:
                dropped = self._waiting.get_nowait()[0]
                _log.warning("a picture of event %s is passed over: they come too fast", dropped.event_id)

    def round(self, block_s: float = 0.25) -> None:
        """Hand in what one message is about, waiting for it a moment."""
        try:
            found, heard_ms = self._waiting.get(timeout=block_s)
        except queue.Empty:
            return
        try:
            if found.kind == "end":
                self._end(found)
            else:
                self._picture(found, heard_ms)
        except ReceiverAway as away:
            # The next message has the next picture.
            _log.warning("event %s: %s", found.event_id, away)
        except KithError as wrong:
            _log.warning("the snapshot of event %s is not handed in: %s", found.event_id, wrong)

    def _picture(self, found: Tracked, heard_ms: int) -> None:
        # How old it is, by Frigate's clock alone; when that was, by ours.
        taken_ms = heard_ms - max(0, found.frame_ms - (found.snapshot_ms or 0))
        number = self._claim(found)
        if found.snapshot_ms is None or number is None or self._clock() > taken_ms + self._live_ms:
            return
        data = self._api.snapshot(found.event_id)
        if data is None:
            return
        begins = number == 1
        if begins:
            self._sightings.tell(self._gallery, [TrackBegun(found.camera, found.track, taken_ms)])
        else:
            self._sightings.tell(self._gallery, [TracksAlive(found.camera, (found.track,), self._clock())])
        # Where in the frame it was cut out is not known: the picture stands for the frame.
        seen = Seen(found.camera, found.track, taken_ms, (0.0, 0.0, 1.0, 1.0), (1, 1), number)
        image = replace(self._intake.put(data, label=f"{LABEL}{found.event_id}"), seen=seen)
        job = self._intake.job(
            Kind.IDENTIFY,
            [image],
            gallery=self._gallery,
            lane=Lane.LIVE,
            expires_ms=taken_ms + self._live_ms,
            # A message that comes twice is one job.
            idempotency_key=f"{LABEL}{found.event_id}:{found.snapshot_ms}",
        )
        self._intake.submit(job)

    def _claim(self, found: Tracked) -> int | None:
        """The number of the picture, from 1; None when it is not to be looked at."""
        with self._lock:
            followed = self._followed.setdefault(found.event_id, _Followed())
            self._followed.move_to_end(found.event_id)
            while len(self._followed) > _EVENTS:
                self._followed.popitem(last=False)
            newer = found.snapshot_ms is not None and found.snapshot_ms > followed.snapshot_ms
            if not newer or followed.pictures >= self._knobs.snapshots:
                return None
            followed.snapshot_ms, followed.pictures = found.snapshot_ms or 0, followed.pictures + 1
            return followed.pictures

    def _end(self, found: Tracked) -> None:
        with self._lock:
            followed = self._followed.pop(found.event_id, None)
        if followed is not None and followed.pictures:
            ended = TrackEnded(found.camera, found.track, self._clock(), crops=followed.pictures)
            self._sightings.tell(self._gallery, [ended])
