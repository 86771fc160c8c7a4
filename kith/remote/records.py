"""What only the answers of the HTTP API have: jobs as they stand, and pages."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kith import wire
from kith.errors import ApiRefused, JobDead, JobRejected
from kith.jobs import Decision
from kith.results import Entry
from kith.watching.event_log import EventEntry
from kith.watching.events import Event

T = TypeVar("T")

_OPEN = frozenset({"sent", "started", "deferred", "saved"})


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was handed in. state: `sent`, `started`, `deferred` and `saved` are open; `done`, `dead` (reason says
    why) and `cancelled` are ends. decided: how many of its images are. decisions: of a job that is done, in the order
    of its images. accepted: what the submission found, `new`, `open`, `done` or `dead`."""

    job_id: str
    state: str
    gallery: str | None = None
    kind: str | None = None
    images: int | None = None
    decided: int = 0
    decisions: tuple[Decision, ...] = ()
    reason: str | None = None
    created_ms: int | None = None
    traceparent: str | None = None
    accepted: str | None = None

    def answer(self) -> list[Decision] | None:
        """Its decisions, None while it is open. Raises JobDead."""
        if self.state in _OPEN:
            return None
        if self.state != "done":
            raise JobDead(f"job {self.job_id} ended as {self.state}: {self.reason or 'no reason is kept'}")
        return list(self.decisions)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and where it goes on; None at its end."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    entry_id: str


@dataclass(frozen=True, slots=True)
class _Places:
    items: tuple[_Place, ...]
    next: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Decisions:
    items: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class _Events:
    items: tuple[Event, ...]


def record(cls: type[T]) -> Callable[[bytes], T]:
    """Reads one record of Kith."""

    def read(body: bytes) -> T:
        try:
            return wire.from_json(cls, body)
        except JobRejected as broken:
            raise ApiRefused(f"the answer cannot be read, {broken}; is there a Kith of this version?") from None

    return read


def records(cls: type[T], member: str) -> Callable[[bytes], list[T]]:
    """Reads a list of records, which is a member of the answer."""

    def read(body: bytes) -> list[T]:
        return [record(cls)(json.dumps(each).encode()) for each in plain(body).get(member, [])]

    return read


def listed(cls: type[T], member: str) -> Callable[[bytes], Page[T]]:
    """Reads a page of records with a `next` at its end, absent on the last one."""

    def read(body: bytes) -> Page[T]:
        following = plain(body).get("next")
        return Page(tuple(records(cls, member)(body)), None if following is None else str(following))

    return read


def member(name: str) -> Callable[[bytes], Any]:
    """Reads one member of the answer; None where it is absent."""
    return lambda body: plain(body).get(name)


def plain(body: bytes) -> dict[str, Any]:
    """The answer as it is. Raises ApiRefused where it is no object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ApiRefused("the answer is no JSON object; check the address")
    return found


def decisions(body: bytes) -> Page[Entry]:
    """A page of decisions; `next` where something follows already."""
    places, found = record(_Places)(body), record(_Decisions)(body)
    pairs = zip(places.items, found.items, strict=True)
    items = tuple(Entry(place.entry_id, decision) for place, decision in pairs)
    return Page(items, places.next if places.more else None)


def events(body: bytes) -> Page[EventEntry]:
    """The same of what cameras told."""
    places, found = record(_Places)(body), record(_Events)(body)
    pairs = zip(places.items, found.items, strict=True)
    items = tuple(EventEntry(place.entry_id, event) for place, event in pairs)
    return Page(items, places.next if places.more else None)
