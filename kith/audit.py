"""The audit log: who did what to which gallery, appended and never changed.

An entry names people by their subject id and nothing else, no name and no vector, so that forgetting a person need not
touch the log: without the gallery the id leads nowhere.

Each entry carries a SHA-256 over the digest before it and its own content. Who alters, drops, inserts or reorders
entries breaks the chain at that place, and `verify` finds it. Who rewrites all that follows leaves a consistent chain
with another end: so keep an end now and then where the writer of the log cannot reach it (`kith audit verify` prints
it, every receipt of forgetting holds one), and verify against it. Trimming by age keeps the digest of the last entry
cut off, the anchor, from which the chain goes on.
"""

import getpass
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kith.errors import Rejected
from kith.names import gallery_name

#: What stands before the first entry.
GENESIS = "0" * 64

#: Longest actor and longest detail (as JSON): a log of facts, not a place to keep things.
MAX_ACTOR, MAX_DETAIL = 200, 1000

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SUBJECT_ID = re.compile(r"[0-9a-f]{1,64}")

Detail = Mapping[str, str | int | float | bool]


class Action(StrEnum):
    """What was done. `looked`: somebody was shown people or their data (detail says by which verb). `submitted`: images
    to enrol were handed in; each that becomes a template is `enrolled` by a worker. `deleted`: pictures that nothing
    tells of any more (kith.orphans)."""

    CREATED = "created"
    ENROLLED = "enrolled"
    REMOVED = "removed"
    MOVED = "moved"
    RENAMED = "renamed"
    DESCRIBED = "described"
    CONFIGURED = "configured"
    UNDONE = "undone"
    FORGOT = "forgot"
    LOOKED = "looked"
    MIGRATED = "migrated"
    RESTORED = "restored"
    DELETED = "deleted"
    KEY_ROTATED = "key_rotated"
    KEY_DESTROYED = "key_destroyed"
    API_KEY_CREATED = "api_key_created"
    API_KEY_ROTATED = "api_key_rotated"
    API_KEY_REVOKED = "api_key_revoked"
    SUBMITTED = "submitted"
    CANCELLED = "cancelled"
    JUDGED = "judged"
    CAMERA_CHANGED = "camera_changed"
    STRANGER_CHANGED = "stranger_changed"
    WEBHOOK_CHANGED = "webhook_changed"
    DEAD_RETRIED = "dead_retried"
    DEAD_DROPPED = "dead_dropped"


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be recorded. actor: `cli:user@host`, or the id of an API key. gallery: empty for none. subject_id:
    never a name. sequence: of the gallery's change. detail: a few values that are about nobody.

    Raises Rejected for what is too long or of another type, InvalidName for no gallery.
    """

    actor: str
    action: Action
    gallery: str = ""
    subject_id: str | None = None
    sequence: int | None = None
    detail: Detail = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.gallery:
            gallery_name(self.gallery)
        if not 0 < len(self.actor) <= MAX_ACTOR or _UNPRINTABLE.search(self.actor):
            raise Rejected(f"the actor of an audit entry is not 1..{MAX_ACTOR} characters without control characters")
        if self.subject_id is not None and not _SUBJECT_ID.fullmatch(self.subject_id):
            raise Rejected("an audit entry names a subject by its id in hex, never by its name")
        if any(not isinstance(value, str | int | float) for value in self.detail.values()):
            raise Rejected("the detail of an audit entry holds text, numbers, true and false, and nothing nested")
        size = len(detail_text(self.detail))
        if size > MAX_DETAIL:
            raise Rejected(f"the detail of an audit entry has {size:,} characters, the limit is {MAX_DETAIL:,}")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A deed with its place: number (1, 2, 3, … without holes), at_ms (Unix milliseconds by the log's own clock, never
    backwards), digest (SHA-256 in hex over the entry before and all of this one)."""

    number: int
    at_ms: int
    deed: Deed
    digest: str


@dataclass(frozen=True, slots=True)
class Head:
    """An end of the chain: the number and digest of an entry; 0 and `GENESIS` before the first."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk over the chain found. anchor: where it begins (what is before was trimmed). head: the last entry that
    fits. checked: entries that fit. broken: number of the first entry that does not, None when all do, and why.
    compared: whether the end that was kept elsewhere was met, None where none was given. An end from before the anchor
    is not: who writes a log anew can say that it was trimmed."""

    anchor: Head
    head: Head
    checked: int
    broken: int | None = None
    why: str = ""
    compared: bool | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Which entries are wanted: all that agree with what is not None."""

    gallery: str | None = None
    subject_id: str | None = None
    action: Action | None = None

    def lets(self, deed: Deed) -> bool:
        """Whether `deed` is wanted."""
        return (
            self.gallery in (None, deed.gallery)
            and self.subject_id in (None, deed.subject_id)
            and self.action in (None, deed.action)
        )


#: All entries.
EVERYTHING = Where()


@dataclass(frozen=True, slots=True)
class Page:
    """entries: those wanted, ascending. cursor: read on after this number; all up to it was looked at. more: whether
    the log went on when it was read."""

    entries: tuple[AuditEntry, ...]
    cursor: int
    more: bool


class AuditLog(Protocol):
    """Raises StateUnavailable when Redis is away, StateFull when it takes no more; FORGOT it always takes, else nobody
    could be forgotten to make room. Safe to call from many threads.

    Record what cannot be undone or shows something (forgot, looked, key_destroyed) before it is done, so that it is not
    done when it cannot be recorded; record a change after it, when its sequence is known.
    """

    def record(self, deed: Deed) -> AuditEntry:
        """Append one."""
        ...

    def record_many(self, deeds: list[Deed]) -> list[AuditEntry]:
        """Append all of them in order, up to 500 in one step."""
        ...

    def page(self, after: int = 0, *, limit: int = 500, where: Where = EVERYTHING, block_s: float = 0.0) -> Page:
        """Up to `limit` entries whose number is above `after`, oldest first. block_s: with none there, wait so long for
        the first; who calls again with the page's cursor follows the log. Trimmed entries are passed over."""
        ...

    def latest(self, limit: int, where: Where = EVERYTHING) -> tuple[AuditEntry, ...]:
        """The newest `limit` entries, oldest first."""
        ...

    def head(self) -> Head:
        """The end of the chain now."""
        ...

    def verify(self, kept: Head | None = None) -> Verdict:
        """Walk the whole chain. kept: an end that was kept elsewhere, which must be in it."""
        ...

    def trim(self, keep_s: float) -> int:
        """Cut off entries older than that; how many. Cutting is no tampering: the anchor stays."""
        ...


def detail_text(detail: Detail) -> str:
    """The one way a detail is written: sorted, compact; nothing for an empty one."""
    return json.dumps(dict(detail), sort_keys=True, separators=(",", ":"), ensure_ascii=True) if detail else ""


def command_line_actor() -> str:
    """`cli:user@host`: who runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        user = "unknown"
    return f"cli:{user}@{platform.node() or 'unknown'}"
