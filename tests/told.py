"""Streams of events and decisions in memory, for those who tell of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kith.jobs import Decision, Face, Kind, Lane, Outcome, Seen
from kith.results import Entry
from kith.watching.event_log import EventEntry
from kith.watching.events import Event, EventKind
from kith.webhooks import Record

#: When things happen here, Unix milliseconds.
NOON_MS = 1_700_000_000_000


@dataclass
class Told:
    """One stream. Entries are told at `NOON_MS` plus what is asked for."""

    entries: list[Any] = field(default_factory=list)
    reads: int = 0

    def tell(self, record: Record, after_ms: int = 0) -> str:
        """Append; the entry id."""
        ms = NOON_MS + after_ms
        number = sum(entry.entry_id.startswith(f"{ms}-") for entry in self.entries)
        make = EventEntry if isinstance(record, Event) else Entry
        self.entries.append(make(f"{ms}-{number}", record))  # type: ignore[arg-type]
        return f"{ms}-{number}"

    def erase(self, entry_id: str) -> None:
        self.entries = [entry for entry in self.entries if entry.entry_id != entry_id]

    def position(self) -> str:
        return self.entries[-1].entry_id if self.entries else "0-0"

    def after(self, entry_id: str, *, limit: int = 500, block_s: float = 0.0) -> Sequence[Any]:
        self.reads += 1
        return [entry for entry in self.entries if _place(entry.entry_id) > _place(entry_id)][:limit]

    def fetch(self, entry_ids: Sequence[str]) -> Sequence[Any]:
        return [entry for entry in self.entries if entry.entry_id in entry_ids]


def event(
    kind: EventKind = EventKind.NEW, visit: str | None = "v1", camera: str | None = "front", **more: Any
) -> Event:
    """An event of a camera."""
    cameras = (camera,) if camera else ()
    given = {"event_id": f"{visit}:{kind}", "gallery": "door", "at_ms": NOON_MS, "cameras": cameras, **more}
    return Event(kind=kind, visit=visit, camera=camera, **given)


def decision(outcome: Outcome = Outcome.MATCH, subject: str | None = "Ada", **more: Any) -> Decision:
    """A decision about a camera's picture."""
    face = Face(outcome, subject if outcome is Outcome.MATCH else None, "5ub", 0.61, nearest=subject, nearest_id="5ub")
    given = {
        "decision_id": "j:0", "job_id": "j", "index": 0, "kind": Kind.IDENTIFY, "gallery": "door", "lane": Lane.LIVE,
        "image": "picture", "created_ms": NOON_MS - 700, "decided_ms": NOON_MS, "expires_ms": NOON_MS + 5_000,
        "seen": Seen("front", "front.run.1", NOON_MS - 800, (30, 40, 50, 60), (640, 480)), "face": face, **more,
    }  # fmt: skip
    return Decision(outcome=outcome, **given)


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
