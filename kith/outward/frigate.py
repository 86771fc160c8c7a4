"""What Frigate tells of the people its cameras follow, by MQTT on `frigate/events`.

Source: Frigate's documentation, docs/integrations/mqtt.md; `snapshot_time` became `snapshot.frame_time` in 0.14.
Frigate sends a message whenever it has a better snapshot, and a last one with the type `end`.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from kith.names import track_name

#: Its ids: the start in Unix seconds, and some letters.
_EVENT_ID = re.compile(r"(\d{9,10})\.(\d{1,6})-([a-z0-9]{1,10})")

#: What is recognised.
PERSON = "person"

#: What stands before the id of the event in the label of a job's images.
LABEL = "frigate:"


@dataclass(frozen=True, slots=True)
class Tracked:
    """One message about one person. event_id: Frigate's. camera: as Kith may call it. snapshot_ms: when its best
    snapshot so far was taken, None without one; frame_ms: what time it is there. Both by Frigate's clock."""

    kind: Literal["new", "update", "end"]
    event_id: str
    camera: str
    frigate_camera: str
    snapshot_ms: int | None
    frame_ms: int

    @property
    def track(self) -> str:
        """The name of the track: CAMERA.RUN.NUMBER, made of the id."""
        found = _EVENT_ID.fullmatch(self.event_id)
        assert found is not None
        return track_name(self.camera, f"{self.camera}.{found[3]}{found[2]}.{found[1]}")


def tracked(payload: bytes) -> Tracked | None:
    """A message of `frigate/events`; None for what is of no person, or a false alarm. Raises ValueError for what is no
    such message."""
    message = json.loads(payload)
    after = message.get("after") if isinstance(message, dict) else None
    if not isinstance(after, dict) or message.get("type") not in ("new", "update", "end"):
        raise ValueError("no type, or no `after`")
    if after.get("label") != PERSON or after.get("false_positive"):
        return None
    event_id, camera = str(after.get("id")), str(after.get("camera"))
    if not _EVENT_ID.fullmatch(event_id):
        raise ValueError(f"the id {event_id[:60]!r} is not one of Frigate's")
    snapshot = after.get("snapshot")
    taken = snapshot.get("frame_time") if isinstance(snapshot, dict) else after.get("snapshot_time")
    return Tracked(
        kind=message["type"],
        event_id=event_id,
        camera=_name(camera),
        frigate_camera=camera,
        snapshot_ms=None if not taken else _ms(taken),
        frame_ms=_ms(after.get("frame_time") or taken or 0),
    )


def _ms(seconds: Any) -> int:
    if not isinstance(seconds, int | float):
        raise ValueError("a time is no number")
    return round(seconds * 1000)


def _name(camera: str) -> str:
    """A camera of Frigate as Kith may call it."""
    return re.sub(r"[^a-z0-9_-]", "-", camera.lower()).lstrip("_-")[:64] or "frigate"
