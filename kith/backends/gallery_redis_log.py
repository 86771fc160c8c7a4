"""Reading galleries out of Redis: the log, and whole galleries while others write. gallery.lua documents the keys."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import redis

from kith.backends.gallery_rows import Rows
from kith.backends.gallery_script import GalleryScript, checked
from kith.collecting import not_collecting
from kith.errors import UnknownGallery
from kith.free_memory import gaps_taken, overwriting_freed
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS, FREE, Change, Op, Snapshot
from kith.subjects import HistoryEntry
from kith.wiping import wiped_when_dropped
from kith.wire import from_json

_log = logging.getLogger(__name__)

#: Bytes of blocks read in one round trip, about: a block of 512 numbers. The client copies a reply each time its buffer
#: grows, and what it copies then should stay in the processor's cache.
_BYTES_AT_ONCE = 2 << 20
#: Chunks of names read in one round trip, and subjects in each.
_NAMES_AT_ONCE = 64
_NAMES_CHUNK = 1024
_REPLAY = 1000
#: A blocking read must come back before the client's socket gives up on it.
_SOCKET_MARGIN_MS = 500

#: The set of vectors of a gallery that never changed its model.
OWN_SET = b"b"

#: A row of the packed owners, see gallery.lua.
OWNER = np.dtype([("number", "<u4"), ("quality", "<f4"), ("sequence", "<f8")])


def read_changes(
    script: GalleryScript, after: Mapping[str, int], *, block_ms: int, limit: int
) -> dict[str, list[Change]]:
    """See GalleryStore.changes_many."""
    names = list(after)
    if names and block_ms:
        # Only to be woken: what there is to read is read in the script, where it cannot change under the reading.
        streams: Any = {script.key(name, "log"): f"{after[name]}-0" for name in names}
        reply: Any = script.client.xread(streams, count=1, block=_within_timeout(script.client, block_ms))
        # RESP3 answers with a dict, RESP2 with a list of pairs.
        news = set(reply if isinstance(reply, dict) else (key for key, _ in reply or []))
        names = [name for name in names if script.key(name, "log").encode() in news]
    changes: dict[str, list[Change]] = {}
    if not names:
        return changes
    # The replies are vectors, and who they are of may be forgotten tomorrow.
    with overwriting_freed():
        _read_entries(script, names, after, limit, changes)
    return changes


def _read_entries(
    script: GalleryScript, names: Sequence[str], after: Mapping[str, int], limit: int, changes: dict[str, list[Change]]
) -> None:
    for name, reply in zip(names, script.run([(name, "changes", after[name], limit) for name in names]), strict=True):
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


def read_snapshot(script: GalleryScript, name: str) -> Snapshot:
    """The gallery at one sequence number, see GalleryStore.snapshot.

    Nobody is stopped: the parts are read one after the other while writers go on, and then the log is replayed from the
    number that was current before the first part was read. That gives exactly the state at the number it ends with:

    - What no change after the first number touched, was read as it is.
    - Every slot a change filled, emptied or gave away is named in it, with what is in it afterwards, so the last
      change of a slot leaves it as it is at the end, whatever was read.
    - The same goes for names, by the number of the subject, which is never given to anybody else.
    - A template removed since is handed out as one that was lost; an enrolment whose payload a forget has erased as
      that forget (`early`). We then read on until the forget itself: only from there on is the subject gone in truth.
    """
    while True:
        with gaps_taken(), overwriting_freed():
            snapshot = _read_parts(script, name)
        # Read after the parts: up to here at least the log must be replayed, as the parts may know of it.
        target, epoch = _position(script, name)
        while epoch == snapshot.epoch and snapshot.sequence < target:
            changes = read_changes(script, {name: snapshot.sequence}, block_ms=0, limit=_REPLAY).get(name, [])
            if not changes or changes[0].op is Op.RELOAD:
                break
            snapshot.apply(changes)
            if any(change.early or change.lost for change in changes):
                target, epoch = _position(script, name)
        if epoch == snapshot.epoch and snapshot.sequence >= target:
            return snapshot
        _log.warning("gallery %s changed under the load beyond what its log still tells, loading again", name)


def _position(script: GalleryScript, name: str) -> tuple[int, str]:
    meta: Any = script.client.hmget(script.key(name, "meta"), "sequence", "epoch")
    sequence, epoch = meta
    if sequence is None or epoch is None:
        raise UnknownGallery(f"there is no gallery {name}")
    return int(sequence), epoch.decode()


def _read_parts(script: GalleryScript, name: str) -> Snapshot:
    fields = (
        "model_id",
        "dimension",
        "epoch",
        "sequence",
        "next_slot",
        "next_subject",
        "settings",
        "vectors",
        "sealed",
    )
    meta: Any = script.client.hmget(script.key(name, "meta"), *fields)
    if meta[0] is None:
        raise UnknownGallery(f"there is no gallery {name}")
    model_id, dimension, epoch, sequence, slots, subjects, settings, own, sealed = (
        (value or OWN_SET).decode() for value in meta
    )
    packed_as = script.rows.of(name, epoch, int(dimension), sealed == "1")
    snapshot = Snapshot(
        *(name, model_id, int(dimension), epoch, int(sequence)), settings=from_json(GallerySettings, settings)
    )
    # Slots beyond next_slot and numbers beyond next_subject were first given after the number we began with: the log
    # has them.
    blocks = range((int(slots) + BLOCK_ROWS - 1) // BLOCK_ROWS)
    at_once = max(1, _BYTES_AT_ONCE // (BLOCK_ROWS * packed_as.width))
    for start in blocks[::at_once]:
        some = blocks[start : start + at_once]
        with script.client.pipeline(transaction=False) as pipe:
            for block in some:
                # Of the model read above, also should the gallery change its model now: it then writes another set.
                pipe.get(script.key(name, f"{own}:{block}"))
                pipe.get(script.key(name, f"o:{block}"))
            replies = pipe.execute()
        for packed, owned in zip(replies[::2], replies[1::2], strict=True):
            _add_block(snapshot, packed_as, packed or b"", owned or b"")
    chunks = range(int(subjects) // _NAMES_CHUNK + 1)
    for start in chunks[::_NAMES_AT_ONCE]:
        with script.client.pipeline(transaction=False) as pipe:
            for chunk in chunks[start : start + _NAMES_AT_ONCE]:
                pipe.get(script.key(name, f"n:{chunk}"))
            lines = b"".join(part or b"" for part in pipe.execute())
        with not_collecting():
            listed = json.loads(b"[" + lines.replace(b"\n", b",").removesuffix(b",") + b"]")
            snapshot.names.update({number: (subject_id, subject) for number, subject_id, subject in listed})
    return snapshot


def _add_block(snapshot: Snapshot, packed_as: Rows, packed: bytes, owned: bytes) -> None:
    vectors, altered = packed_as.unpack(packed)
    owners = np.frombuffer(owned, OWNER)
    # The two are read one after the other, and grow together: what one has more of, the log tells of.
    rows = min(len(vectors), len(owners))
    snapshot.blocks.append(vectors[:rows])
    snapshot.owners.append(owners["number"][:rows].astype(np.int32))
    snapshot.owners[-1][[row for row in altered if row < rows]] = FREE
    snapshot.qualities.append(owners["quality"][:rows].astype(np.float32))


def _within_timeout(client: redis.Redis, block_ms: int) -> int:
    timeout_s = client.get_connection_kwargs().get("socket_timeout")
    if timeout_s is None:
        return block_ms
    return max(1, min(block_ms, int(timeout_s * 1000) - _SOCKET_MARGIN_MS))
