"""Who is before which camera now, by the events: a visit is where its last event was, until it ends.

What is remembered names nobody: the visit, its camera, the entry that told of it last, and whether somebody was named.
Of a visit that was forgotten the entry is erased; so it is looked for now and then, and without it the visit is over.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from kith.outward.messages import Item
from kith.watching.events import Event, EventKind

#: Visits remembered; the oldest are dropped. No house has as many people at once: their ends were lost.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class There:
    """One visit. entry_id: of the event that told of it last."""

    camera: str
    entry_id: str
    known: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """People before one camera; known: of them, those with a name."""

    people: int = 0
    known: int = 0


@dataclass(frozen=True, slots=True)
class Presence:
    """All that are there, by visit."""

    visits: Mapping[str, There] = field(default_factory=dict)

    def after(self, item: Item) -> "Presence":
        """With one more event."""
        event = item.record
        if not isinstance(event, Event) or event.visit is None:
            return self
        visits = dict(self.visits)
        if event.kind in (EventKind.END, EventKind.MERGED):
            visits.pop(event.visit, None)
        elif event.kind in (EventKind.NEW, EventKind.UPDATE) and event.camera is not None:
            visits.pop(event.visit, None)
            visits[event.visit] = There(event.camera, item.entry_id, event.subject is not None)
            while len(visits) > _MOST:
                del visits[next(iter(visits))]
        return replace(self, visits=visits)

    def without(self, gone: Collection[str]) -> "Presence":
        """Less the visits of which nothing is told any more, by the entries that told of them."""
        kept = {visit: there for visit, there in self.visits.items() if there.entry_id not in gone}
        return replace(self, visits=kept)

    def counts(self) -> dict[str, Count]:
        """By camera; where nobody is there is no entry."""
        found: dict[str, Count] = {}
        for there in self.visits.values():
            count = found.get(there.camera, Count())
            found[there.camera] = Count(count.people + 1, count.known + there.known)
        return found
