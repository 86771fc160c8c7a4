"""What is told by MQTT, and where.

    kith/available          online, offline (the last will)      retained
    kith/CAMERA/event       an event (docs/schema/event.json)    never retained
    kith/CAMERA/late        the same, too old to act on          never retained
    kith/CAMERA/presence    ON while somebody is there           retained
    kith/CAMERA/count       how many are there                   retained
    kith/CAMERA/known       how many of them have a name         retained
    kith/event              an event that is of no camera        never retained

Nothing that is retained names anybody: the broker would go on telling of people who were forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kith import wire
from kith.outward.broker import Message
from kith.outward.messages import Item
from kith.outward.presence import Count
from kith.watching.events import Event
from kith.webhooks import cameras_of

ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True, slots=True)
class Topics:
    """prefix: the first levels. live_ms: how long an event may be acted on."""

    prefix: str
    live_ms: int

    @property
    def available(self) -> str:
        """Where it stands whether anybody tells at all."""
        return f"{self.prefix}/available"

    def of(self, camera: str, what: str) -> str:
        """A topic of a camera."""
        return f"{self.prefix}/{camera}/{what}"

    def availability(self, online: bool) -> Message:
        """Also the last will."""
        return Message(self.available, ONLINE if online else OFFLINE, retain=True)

    def event(self, item: Item, now_ms: int) -> list[Message]:
        """An event at each of its cameras."""
        event = item.record
        assert isinstance(event, Event)
        late = item.late(now_ms, self.live_ms)
        # Rounded up: no broker counts less than a second.
        expiry_s = -(-self.live_ms // 1000) if item.fades and not late else None
        what = "late" if late else "event"
        # In their order, the one it is at now once.
        cameras = dict.fromkeys((event.camera,) if event.camera else cameras_of(event))
        topics = [self.of(camera, what) for camera in cameras] or [f"{self.prefix}/{what}"]
        return [Message(topic, wire.to_json(event).encode(), expiry_s=expiry_s) for topic in topics]

    def count(self, camera: str, count: Count) -> list[Message]:
        """Who is there."""
        told = {"presence": "ON" if count.people else "OFF", "count": str(count.people), "known": str(count.known)}
        return [Message(self.of(camera, what), text.encode(), retain=True) for what, text in told.items()]

    def no_more(self, camera: str) -> Sequence[Message]:
        """Of a camera that was removed: the broker forgets what it kept."""
        return [Message(self.of(camera, what), b"", retain=True) for what in ("presence", "count", "known")]
