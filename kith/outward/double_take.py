"""Telling as Double Take does, for automations that were made for it (https://github.com/jakowenko/double-take#mqtt).

    double-take/matches/NAME             who was recognised; `unknown` for nobody known
    double-take/cameras/CAMERA           all that was made of one picture
    double-take/cameras/CAMERA/person    how many, 0 again after half a minute     retained

One picture of each track that says something new: a name that was not said of it yet, or for the first time nobody.
What is too late to act on is not told.
"""

import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from kith import wire
from kith.jobs import Decision, Face, Kind, Outcome, now_ms
from kith.outward.broker import Broker, Message
from kith.outward.lease import Lease
from kith.outward.link import Link
from kith.outward.places import Places
from kith.results import Results
from kith.webhooks import Noted

_NAME = "double-take"
_PAGE = 100
_BLOCK_S = 0.25
#: After which the number of people of a camera is 0 again, as Double Take has it.
_RESET_S = 30.0
#: Tracks of which it is known what was said.
_TRACKS = 2000
#: What is passed over is written down after so many.
_NOTE_EVERY = 500


@dataclass(frozen=True, slots=True)
class _Place:
    """The entry that was told last, and the cameras at which somebody is counted."""

    entry_id: str
    counted: tuple[str, ...] = ()
    wire: Literal[1] = 1


class DoubleTakeTeller:
    """prefix: the first levels of the topics. `round` is called again and again by one thread."""

    def __init__(
        self,
        results: Results,
        places: Places,
        lease: Lease,
        link: Link,
        prefix: str,
        galleries: Collection[str] = (),
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._results, self._places, self._lease, self._link = results, places, lease, link
        self._prefix, self._galleries, self._clock = prefix, galleries, clock
        self._place: _Place | None = None
        self._seen: str | None = None
        self._passed = 0
        self._said: OrderedDict[tuple[str, str | None], None] = OrderedDict()
        self._reset_at_s: dict[str, float] = {}

    def round(self) -> None:
        """Tell what is new, waiting for it a moment. Raises MqttAway, StateUnavailable, StateFull."""
        if not self._lease.held:
            self._place = None
            time.sleep(_BLOCK_S)
            return
        broker, place = self._link.broker, self._place or self._load()
        place = self._reset(broker, place)
        for entry in self._results.after(place.entry_id, limit=_PAGE, block_s=_BLOCK_S):
            if not self._lease.held:
                return
            place = self._tell(broker, place, entry.entry_id, entry.decision)

    def _load(self) -> _Place:
        self._seen = self._places.place(_NAME)
        place = _Place(self._results.position()) if self._seen is None else wire.from_json(_Place, self._seen)
        # Whoever counted them is gone, and with them when it was.
        self._reset_at_s = {camera: time.monotonic() for camera in place.counted}
        return self._write(place)

    def _write(self, place: _Place) -> _Place:
        text = wire.to_json(place)
        if self._places.move(self._lease.holder, _NAME, self._seen, text) is not Noted.DONE:
            self._lease.drop()
            self._place = None
            return place
        self._seen, self._place, self._passed = text, place, 0
        return place

    def _reset(self, broker: Broker, place: _Place) -> _Place:
        due = [camera for camera, at_s in self._reset_at_s.items() if at_s <= time.monotonic()]
        for camera in due:
            broker.publish(Message(f"{self._prefix}/cameras/{camera}/person", b"0", retain=True))
            del self._reset_at_s[camera]
        if not due:
            return place
        return self._write(replace(place, counted=tuple(each for each in place.counted if each not in due)))

    def _tell(self, broker: Broker, place: _Place, entry_id: str, decision: Decision) -> _Place:
        after = replace(place, entry_id=entry_id)
        if not self._worth_telling(decision):
            self._passed += 1
            self._place = after
            return self._write(after) if self._passed >= _NOTE_EVERY else after
        assert decision.seen is not None
        camera = decision.seen.camera
        for message in messages_of(decision, self._prefix):
            broker.publish(message)
        self._said[decision.seen.track, decision.subject] = None
        while len(self._said) > _TRACKS:
            self._said.popitem(last=False)
        self._reset_at_s[camera] = time.monotonic() + _RESET_S
        return self._write(replace(after, counted=tuple(sorted({*place.counted, camera}))))

    def _worth_telling(self, decision: Decision) -> bool:
        late = decision.expires_ms is not None and self._clock() > decision.expires_ms
        return (
            decision.kind is Kind.IDENTIFY
            and decision.outcome in (Outcome.MATCH, Outcome.UNKNOWN)
            and decision.seen is not None
            and not late
            and (not self._galleries or decision.gallery in self._galleries)
            and (decision.seen.track, decision.subject) not in self._said
        )


def messages_of(decision: Decision, prefix: str) -> list[Message]:
    """What Double Take would publish of a decision with a camera's picture: `match` or `unknown`."""
    seen, face = decision.seen, decision.face
    assert seen is not None
    assert face is not None
    at = datetime.fromtimestamp(seen.at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    base: dict[str, Any] = {
        "id": decision.label.partition(":")[2] if (decision.label or "").startswith("frigate:") else decision.job_id,  # type: ignore[union-attr]
        "duration": round((decision.decided_ms - decision.created_ms) / 1000, 2),
        "timestamp": at,
        "attempts": seen.number,
        "camera": seen.camera,
        "zones": [],
    }
    known = decision.outcome is Outcome.MATCH
    result = _result(decision, face, known)
    counts = {"person": 1, "match": int(known), "miss": 0, "unknown": int(not known)}
    whole = {
        **base,
        "matches": [result] if known else [],
        "misses": [],
        "unknowns": [] if known else [result],
        "personCount": 1,
        "counts": counts,
    }
    of_name = {**base, "match": result} if known else {**base, "unknown": result, "unknowns": [result]}
    return [
        Message(f"{prefix}/cameras/{seen.camera}/person", b"1", retain=True),
        Message(f"{prefix}/matches/{_level(decision) if known else 'unknown'}", _text(of_name)),
        Message(f"{prefix}/cameras/{seen.camera}", _text(whole)),
    ]


def _result(decision: Decision, face: Face, known: bool) -> dict[str, Any]:
    assert decision.seen is not None
    x, y, width, height = (round(number) for number in face.box or decision.seen.box)
    return {
        "name": face.subject if known else "unknown",
        # A cosine as a share of a hundred: it is the scale of Kith, not that of other detectors.
        "confidence": round(100 * max(0.0, face.score or 0.0), 2),
        "match": known,
        "box": {"top": y, "left": x, "width": width, "height": height},
        "type": "snapshot",
        "duration": round(sum(decision.timings_ms.values()) / 1000, 2),
        "detector": "kith",
        "filename": decision.image,
        "base64": None,
    }


def _level(decision: Decision) -> str:
    """The name as Double Take writes it in a topic; of a name without one letter of it, the subject's id."""
    name = re.sub(r"[^a-z0-9-]", "", re.sub(r"\s+", "-", decision.subject or ""), flags=re.IGNORECASE)
    return name or (decision.face.subject_id if decision.face else None) or "unnamed"


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
