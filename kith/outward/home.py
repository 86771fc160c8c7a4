"""Telling a house by MQTT: each event at its camera, who is there, and to Home Assistant what there is.

An event is taken by the broker, then what follows from it, then it is written how far this has come: whoever is killed
in between tells at most the one event again that was not written.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from kith import wire
from kith.jobs import now_ms
from kith.outward.broker import Broker
from kith.outward.discovery import Discovery
from kith.outward.lease import Lease
from kith.outward.link import Link
from kith.outward.messages import Item, item_of
from kith.outward.places import Places
from kith.outward.presence import Count, Presence
from kith.outward.topics import Topics
from kith.watching.event_log import EventLog
from kith.webhooks import Noted, cameras_of

#: Under which it is kept how far this has come.
_NAME = "mqtt"
_PAGE = 50
_BLOCK_S = 0.25
#: How often it is looked which cameras there are, and whether visits were forgotten.
_LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class _Place:
    """How far this has come: the entry that was told last, who was there then, and the cameras that were ever told of;
    listed: those of them that were in the list of cameras."""

    entry_id: str
    presence: Presence = field(default_factory=Presence)
    cameras: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    wire: Literal[1] = 1


class HouseTeller:
    """cameras: those in the list of cameras now. galleries: only these are told of; all when there are none. born: set
    when somebody wants to hear everything again. `round` is called again and again by one thread."""

    def __init__(
        self,
        events: EventLog,
        places: Places,
        lease: Lease,
        link: Link,
        topics: Topics,
        discovery: Discovery | None,
        cameras: Callable[[], Collection[str]],
        galleries: Collection[str] = (),
        born: threading.Event | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._events, self._places, self._lease, self._link = events, places, lease, link
        self._topics, self._discovery, self._cameras, self._galleries = topics, discovery, cameras, galleries
        self._clock = clock
        self._seen: str | None = None
        self._place: _Place | None = None
        self._greeted: Broker | None = None
        self._look_at_s = float("-inf")
        self._born = born or threading.Event()

    def round(self) -> None:
        """Tell what is new, waiting for it a moment. Raises MqttAway, StateUnavailable, StateFull."""
        if not self._lease.held:
            self._place = self._greeted = None
            time.sleep(_BLOCK_S)
            return
        broker = self._link.broker
        place = self._place or self._load()
        if broker is not self._greeted or self._born.is_set():
            self._born.clear()
            self._tell_all(broker, place)
            self._greeted, self._look_at_s = broker, float("-inf")
        if time.monotonic() >= self._look_at_s:
            place = self._look(broker, place)
            self._look_at_s = time.monotonic() + _LOOK_EVERY_S
        for entry in self._events.after(place.entry_id, limit=_PAGE, block_s=_BLOCK_S):
            if not self._lease.held or self._born.is_set():
                return
            place = self._tell(broker, place, item_of(entry))

    def _load(self) -> _Place:
        text = self._places.place(_NAME)
        if text is None:
            # For the first time: what was before is nobody's news.
            self._seen, self._place = None, _Place(self._events.position())
            return self._write(self._place)
        self._seen, self._place = text, wire.from_json(_Place, text)
        return self._place

    def _write(self, place: _Place) -> _Place:
        text = wire.to_json(place)
        if self._places.move(self._lease.holder, _NAME, self._seen, text) is not Noted.DONE:
            # Another tells, or has told meanwhile.
            self._lease.drop()
            self._place = None
            return place
        self._seen, self._place = text, place
        return place

    def _tell(self, broker: Broker, place: _Place, item: Item) -> _Place:
        after = replace(place, entry_id=item.entry_id)
        if not self._galleries or item.record.gallery in self._galleries:
            cameras = cameras_of(item.record)
            self._introduce(broker, place, cameras)
            for message in self._topics.event(item, self._clock()):
                broker.publish(message)
            presence = place.presence.after(item)
            self._tell_counts(broker, place.presence, presence)
            after = replace(after, presence=presence, cameras=tuple(sorted({*place.cameras, *cameras})))
        return self._write(after)

    def _tell_counts(self, broker: Broker, before: Presence, after: Presence) -> None:
        former, counts = before.counts(), after.counts()
        for camera in sorted({*former, *counts}):
            if former.get(camera) != counts.get(camera):
                for message in self._topics.count(camera, counts.get(camera, Count())):
                    broker.publish(message)

    def _introduce(self, broker: Broker, place: _Place, cameras: Collection[str]) -> None:
        counts = place.presence.counts()
        for camera in sorted(set(cameras) - set(place.cameras)):
            if self._discovery is not None:
                for message in self._discovery.camera(camera):
                    broker.publish(message)
            for message in self._topics.count(camera, counts.get(camera, Count())):
                broker.publish(message)

    def _tell_all(self, broker: Broker, place: _Place) -> None:
        self._introduce(broker, replace(place, cameras=()), place.cameras)
        # Last: who hears it finds the rest.
        broker.publish(self._topics.availability(online=True))

    def _look(self, broker: Broker, place: _Place) -> _Place:
        """Cameras that were added or removed, and visits that were forgotten."""
        listed = set(self._cameras())
        self._introduce(broker, place, listed)
        # Those that were never in the list are somebody else's, and stay.
        removed = set(place.listed) - listed
        for camera in sorted(removed):
            gone = list(self._topics.no_more(camera))
            for message in (*gone, *(self._discovery.no_camera(camera) if self._discovery is not None else ())):
                broker.publish(message)
        told = [there.entry_id for there in place.presence.visits.values()]
        kept = {entry.entry_id for entry in self._events.fetch(told)}
        presence = place.presence.without(set(told) - kept)
        self._tell_counts(broker, place.presence, presence)
        cameras = tuple(sorted(({*place.cameras} - removed) | listed))
        after = replace(place, presence=presence, cameras=cameras, listed=tuple(sorted(listed)))
        return place if after == place else self._write(after)
