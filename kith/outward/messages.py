"""What a delivery says: a record of one of the streams, as JSON, under a type.

    {"delivery": "…", "webhook": "…", "type": "event.new", "late": false, "entry": "1718000000000-0",
     "told_ms": 1718000000000, "event": {…}}

A record that could open a door is old some seconds after it was told. Delivered later, because the receiver was away,
its type is `event.late` or `decision.late` and no other: who acts on `event.new` is never moved by what was.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kith import wire
from kith.jobs import Decision, Lane
from kith.results import Entry
from kith.watching.event_log import EventEntry
from kith.watching.events import Event, EventKind
from kith.webhooks import DECISION, EVENT, Record, Source, Webhook, kind_of

#: What may open a door.
_LIVE_EVENTS = frozenset({EventKind.NEW, EventKind.UPDATE})


class Stream(Protocol):
    """What kith.results.Results and kith.watching.event_log.EventLog have in common, for those who tell of both."""

    def position(self) -> str: ...

    def after(
        self, entry_id: str, *, limit: int = 500, block_s: float = 0.0
    ) -> "Sequence[Entry] | Sequence[EventEntry]": ...

    def fetch(self, entry_ids: Sequence[str]) -> "Sequence[Entry] | Sequence[EventEntry]": ...


@dataclass(frozen=True, slots=True)
class Item:
    """A record and its place."""

    source: Source
    entry_id: str
    record: Record

    @property
    def told_ms(self) -> int:
        """When it entered the stream."""
        return int(self.entry_id.partition("-")[0])

    @property
    def fades(self) -> bool:
        """Whether it may be acted on, but not for long."""
        if isinstance(self.record, Decision):
            return self.record.lane is Lane.LIVE and self.record.expires_ms is not None
        return self.record.kind in _LIVE_EVENTS

    def late(self, now_ms: int, live_ms: int) -> bool:
        """Whether it is too late to act on it. live_ms: how long an event may be acted on; a live decision says so
        itself."""
        if isinstance(self.record, Decision):
            return self.fades and now_ms > (self.record.expires_ms or 0)
        return self.fades and now_ms > self.told_ms + live_ms


def item_of(entry: Entry | EventEntry) -> Item:
    """The entry of either stream."""
    if isinstance(entry, Entry):
        return Item(Source.RESULTS, entry.entry_id, entry.decision)
    return Item(Source.EVENTS, entry.entry_id, entry.event)


def place(entry_id: str) -> tuple[int, int]:
    """An entry id as what it is ordered by."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def delivery_id(webhook_id: str, source: Source, entry_id: str) -> str:
    """The same for every attempt, and for a replay."""
    return f"{webhook_id}.{source}.{entry_id}"


def delivery(webhook: Webhook, item: Item, late: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body."""
    stream = EVENT if isinstance(item.record, Event) else DECISION
    kind = f"{stream}.late" if late else kind_of(item.record)
    body = {
        "delivery": delivery_id(webhook.webhook_id, item.source, item.entry_id),
        "webhook": webhook.webhook_id,
        "type": kind,
        "late": late,
        "entry": item.entry_id,
        "told_ms": item.told_ms,
        stream: wire.to_dict(item.record),
    }
    return _headers(body), _text(body)


def trial(webhook: Webhook, now_ms: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of a delivery that only tries whether it arrives."""
    webhook_id = webhook.webhook_id
    body = {
        "delivery": f"{webhook_id}.test.{now_ms}",
        "webhook": webhook_id,
        "type": "test",
        "late": False,
        "told_ms": now_ms,
    }
    return {**_headers(body), "Kith-Attempt": "1"}, _text(body)


def _headers(body: dict[str, Any]) -> dict[str, str]:
    return {"Kith-Delivery": body["delivery"], "Kith-Webhook": body["webhook"], "Kith-Type": body["type"]}


def _text(body: dict[str, Any]) -> bytes:
    # ASCII: `\u` escapes survive every reader, and what is signed is what is read.
    return json.dumps(body, separators=(",", ":")).encode()
