"""Reading a gallery's log out of Redis, to follow it and to look back. gallery.lua documents the keys."""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import redis
from redis.client import Pipeline

from kith.backends.gallery_rows import Rows
from kith.backends.gallery_script import GalleryScript, checked
from kith.free_memory import overwriting_freed
from kith.gallery_settings import GallerySettings
from kith.journal import Change, Op
from kith.subjects import HistoryEntry
from kith.wiping import wiped_when_dropped
from kith.wire import from_json

#: A blocking read must come back before the client's socket gives up on it.
_SOCKET_MARGIN_MS = 500

#: A row of the packed owners, see gallery.lua.
OWNER = np.dtype([("number", "<u4"), ("quality", "<f4"), ("sequence", "<f8")])


def read_changes(
    script: GalleryScript, after: Mapping[str, int], *, block_ms: int, limit: int, likely: Collection[str] = ()
) -> dict[str, list[Change]]:
    """See GalleryStore.changes_many."""
    names = [name for name in after if name in likely]
    others = [name for name in after if name not in likely]
    if not names:
        names, others = others, []
        if names and block_ms:
            wait_ms = _within_timeout(script.client, block_ms)
            try:
                heard: Any = script.client.xread(_logs(script, names, after), count=1, block=wait_ms)
            except redis.exceptions.ResponseError as fault:
                if "WRONGTYPE" not in str(fault):
                    raise
                # One of them is no journal. Which, the script says.
            else:
                names = _with_news(script, names, heard)
    changes: dict[str, list[Change]] = {}
    while names:
        # The replies are vectors, and who they are of may be forgotten tomorrow.
        with overwriting_freed():
            heard = _ask(script, names, others, after, limit, changes)
        names, others = _with_news(script, others, heard), []
    return changes


def _ask(
    script: GalleryScript,
    names: Sequence[str],
    others: Sequence[str],
    after: Mapping[str, int],
    limit: int,
    changes: dict[str, list[Change]],
) -> Any:
    """Read `names` into `changes`; what XREAD answers about `others`. A function, so that the replies are dropped
    before it returns: while what is freed is overwritten."""
    beside = partial(Pipeline.xread, streams=_logs(script, others, after), count=1) if others else None
    replies = script.run([(name, "changes", after[name], limit) for name in names], beside=beside)
    heard = replies.pop(0) if others else None
    _read_entries(script, names, replies, after, changes)
    return heard


def _logs(script: GalleryScript, names: Sequence[str], after: Mapping[str, int]) -> dict[Any, Any]:
    # Only to know who has news: that is read in the script, where it cannot change under the reading, at many times the
    # cost.
    return {script.key(name, "log"): f"{after[name]}-0" for name in names}


def _with_news(script: GalleryScript, names: Sequence[str], heard: Any) -> list[str]:
    # RESP3 answers with a dict, RESP2 with a list of pairs.
    news = set(heard if isinstance(heard, dict) else (key for key, _ in heard or []))
    return [name for name in names if script.key(name, "log").encode() in news]


def _read_entries(
    script: GalleryScript,
    names: Sequence[str],
    replies: Sequence[Any],
    after: Mapping[str, int],
    changes: dict[str, list[Change]],
) -> None:
    for name, reply in zip(names, replies, strict=True):
        if reply[0] == b"unknown_gallery":
            continue
        trimmed, dimension, epoch, sealed, *entries = checked(name, reply)
        # The log has no holes, so a number that is missing was trimmed away; or is of another model's vectors.
        if int(trimmed) > after[name]:
            changes[name] = [Change(after[name], Op.RELOAD)]
        elif entries:
            packed = script.rows.of(name, epoch.decode(), int(dimension), sealed == b"1")
            changes[name] = [_change(packed, *entry) for entry in entries]


def _change(packed: Rows, number: bytes, flat: Sequence[bytes], payload: bytes, rows: Sequence[bytes]) -> Change:
    fields = _fields(flat)
    sequence, op, at_ms = int(number), Op(fields["op"]), int(fields["at"])
    about, gone = int(fields["n"]), int(fields.get("gone", 0))
    slots = _slots(fields)
    if not payload and op is not Op.FORGET:
        # Only a forget removes the payload of an entry that still stands. Handed out as the forget that is to come, so
        # that nobody ever sees a part of a forgotten subject.
        return Change(sequence, Op.FORGET, at_ms, about, slots=slots, gone=gone, early=True)
    if op in (Op.FORGET, Op.REMOVE):
        return Change(sequence, op, at_ms, about, slots=slots, gone=gone)
    told = json.loads(payload)
    if op is Op.SETTINGS:
        return Change(sequence, op, at_ms, settings=from_json(GallerySettings, told["settings"]))
    if op not in (Op.ENROL, Op.MOVE):
        return Change(sequence, op, at_ms, about, told["id"], told["name"])
    there = {slot: row for slot, row in zip(slots, rows[::2], strict=True) if row}
    qualities = np.frombuffer(b"".join(there.values()), OWNER)["quality"].astype(np.float32)
    vectors, altered = packed.unpack(b"".join(rows[1::2]))
    vectors = wiped_when_dropped(vectors)
    held = [place for place in range(len(there)) if place not in altered]
    kept = [slot for place, slot in enumerate(there) if place not in altered]
    return Change(
        *(sequence, op, at_ms, about, told["id"], told["name"]),
        slots=tuple(kept),
        vectors=vectors if not altered else vectors[held],
        qualities=qualities if not altered else qualities[held],
        lost=tuple(slot for slot in slots if slot not in kept),
        gone=gone,
    )


def _fields(flat: Sequence[bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _slots(fields: Mapping[str, str]) -> tuple[int, ...]:
    return tuple(map(int, fields.get("slots", "").split()))


def read_history(script: GalleryScript, name: str, before: int | None, limit: int) -> list[HistoryEntry]:
    """See GalleryStore.history."""
    start = "+" if before is None else f"({before}-0"
    entries = script.ask(name, "history", start, limit)
    return [_entry(int(number), _fields(flat), payload) for number, flat, payload in entries]


def _entry(sequence: int, fields: Mapping[str, str], payload: bytes) -> HistoryEntry:
    op, at_ms = Op(fields["op"]), int(fields["at"])
    number, source, gone = (int(fields.get(key, 0)) for key in ("n", "from", "gone"))
    if not payload:
        return HistoryEntry(sequence, op, at_ms, number, source=source, gone=gone, erased=op is not Op.FORGET)
    told = json.loads(payload)
    before: Any = told.get("before")
    after: Any = None
    settings: Any = None
    if op is Op.SETTINGS:
        before, after = from_json(GallerySettings, before), from_json(GallerySettings, told["settings"])
    elif op is Op.MODEL:
        after = told["after"]
        settings = tuple(from_json(GallerySettings, told[key]) for key in ("settings_before", "settings"))
    elif op is Op.DESCRIBE:
        before, after = tuple(before), (told["external_id"], told["metadata"])
    elif op in (Op.MOVE, Op.REMOVE) and before:
        ended = json.loads(before)
        before = (ended["id"], ended["name"])
    templates = told.get("templates") or []
    return HistoryEntry(
        *(sequence, op, at_ms, number, told.get("id", ""), told.get("name", "")),
        templates=tuple(each[0] if op is Op.REMOVE else each for each in templates),
        source=source,
        created=bool(told.get("created")),
        gone=gone,
        before=before,
        after=after,
        settings=settings,
    )


def _within_timeout(client: redis.Redis, block_ms: int) -> int:
    timeout_s = client.get_connection_kwargs().get("socket_timeout")
    if timeout_s is None:
        return block_ms
    return max(1, min(block_ms, int(timeout_s * 1000) - _SOCKET_MARGIN_MS))
