"""Reading galleries out of Redis: the log, and whole galleries while others write. gallery.lua documents the keys."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import redis

from kith.errors import UnknownGallery
from kith.journal import BLOCK_ROWS, Change, Op, Snapshot

_log = logging.getLogger(__name__)

#: Blocks read in one round trip: 16 MiB at 512 numbers, so that a load holds little beside the gallery itself.
_BLOCKS_AT_ONCE = 8
_SCAN = 1000
#: A blocking read must come back before the client's socket gives up on it.
_SOCKET_MARGIN_MS = 500


def read_changes(
    client: redis.Redis, after: Mapping[str, int], *, block_ms: int, limit: int
) -> dict[str, list[Change]]:
    """Changes of the galleries with base keys `after`, see GalleryStore.changes_many."""
    if not after:
        return {}
    streams: Any = {f"{base}:log": f"{sequence}-0" for base, sequence in after.items()}
    reply: Any = client.xread(streams, count=limit, block=_within_timeout(client, block_ms) if block_ms else None)
    entries = _by_gallery(reply)
    if not entries:
        return {}
    with client.pipeline(transaction=False) as pipe:
        for base, found in entries.items():
            pipe.hmget(f"{base}:payloads", [sequence for sequence, _ in found])
            # After the payloads: whatever a trim took before we read them, it has written here by now.
            pipe.hget(f"{base}:meta", "trimmed")
        replies = pipe.execute()
    changes: dict[str, list[Change]] = {}
    for (base, found), payloads, trimmed in zip(entries.items(), replies[::2], replies[1::2], strict=True):
        # The log has no holes, so a number that is missing was trimmed away, and so was a payload up to `trimmed`.
        if found[0][0] != after[base] + 1 or found[0][0] <= int(trimmed or 0):
            changes[base] = [Change(after[base], Op.RELOAD)]
        else:
            changes[base] = [_change(number, each, load) for (number, each), load in zip(found, payloads, strict=True)]
    return changes


def _by_gallery(reply: Any) -> dict[str, list[tuple[int, dict[bytes, bytes]]]]:
    # RESP3 answers with a dict of lists of lists, RESP2 with a list of pairs.
    streams = (
        [(key, batch) for key, batches in reply.items() for batch in batches] if isinstance(reply, dict) else reply
    )
    return {
        key.decode().removesuffix(":log"): [(int(entry.split(b"-")[0]), fields) for entry, fields in batch]
        for key, batch in streams or []
        if batch
    }


def _change(sequence: int, entry: dict[bytes, bytes], payload: bytes | None) -> Change:
    op, subject_id, at_ms = Op(entry[b"op"].decode()), entry[b"subject"].decode(), int(entry[b"at"])
    if op is Op.FORGET or payload is None:
        # Only a forget removes the payload of an entry that still stands. Handed out as the forget that is to come, so
        # that nobody ever sees a part of a forgotten subject.
        return Change(sequence, Op.FORGET, at_ms, subject_id, early=op is not Op.FORGET)
    header, _, vector = payload.partition(b"\n")
    values = json.loads(header)
    if op is Op.ENROL:
        subject, slot, template_id, image, quality = values
        return Change(
            *(sequence, op, at_ms, subject_id, subject, int(slot), template_id, image, float(quality)),
            vector=np.frombuffer(vector, "<f4").astype(np.float32, copy=False),
        )
    if op is Op.RENAME:
        return Change(sequence, op, at_ms, subject_id, values[0])
    return Change(sequence, op, at_ms, cutoff=float(values[0]) if values[0] else None)


def read_snapshot(client: redis.Redis, base: str, name: str) -> Snapshot:
    """The gallery at one sequence number, see GalleryStore.snapshot.

    Nobody is stopped: the parts are read one after the other while writers go on, and then the log is replayed from the
    number that was current before the first part was read. That gives exactly the state at the number it ends with:

    - What no change after the first number touched, was read as it is.
    - A slot taken after it: its enrolment is in the log and sets vector, owner and name, whatever was read.
    - A slot freed after it: the forget removes every slot of that subject we know of. Had we read an earlier owner of
      the slot, then he was forgotten after we read it, so his forget is in the log as well. Had we read a later one
      (the slot freed and taken again), then his enrolment follows in the log; or he is forgotten too, and removed so.
    - Subject ids are never used twice, so no forget hits anybody else.
    - An enrolment whose payload a forget has removed is handed out as that forget (`early`). We then read on until the
      forget itself: only from there on is the subject gone in truth.
    """
    while True:
        snapshot = _read_parts(client, base, name)
        # Read after the parts: up to here at least the log must be replayed, as the parts may know of it.
        target, epoch = _position(client, base, name)
        while epoch == snapshot.epoch and snapshot.sequence < target:
            changes = read_changes(client, {base: snapshot.sequence}, block_ms=0, limit=_SCAN).get(base, [])
            if not changes or changes[0].op is Op.RELOAD:
                break
            snapshot.apply(changes)
            if any(change.early for change in changes):
                target, epoch = _position(client, base, name)
        if epoch == snapshot.epoch and snapshot.sequence >= target:
            _blank_unowned(snapshot)
            return snapshot
        _log.warning("gallery %s changed under the load beyond what its log still tells, loading again", name)


def _blank_unowned(snapshot: Snapshot) -> None:
    # A block read before a forget and its slots read after it leave a vector that nobody owns. No search would find it,
    # but who was forgotten must not linger in our memory either.
    for number, block in enumerate(snapshot.blocks):
        first = number * BLOCK_ROWS
        block[[row for row in range(BLOCK_ROWS) if first + row not in snapshot.owners]] = 0


def _position(client: redis.Redis, base: str, name: str) -> tuple[int, str]:
    meta: Any = client.hmget(f"{base}:meta", "sequence", "epoch")
    sequence, epoch = meta
    if sequence is None or epoch is None:
        raise UnknownGallery(f"there is no gallery {name}")
    return int(sequence), epoch.decode()


def _read_parts(client: redis.Redis, base: str, name: str) -> Snapshot:
    fields = ("model_id", "dimension", "epoch", "sequence", "next_slot", "cutoff")
    meta: Any = client.hmget(f"{base}:meta", *fields)
    if meta[0] is None:
        raise UnknownGallery(f"there is no gallery {name}")
    model_id, dimension, epoch, sequence, next_slot, cutoff = ((value or b"").decode() for value in meta)
    slots = int(next_slot)
    snapshot = Snapshot(
        *(name, model_id, int(dimension), epoch, int(sequence)), cutoff=float(cutoff) if cutoff else None
    )
    blocks = range((slots + BLOCK_ROWS - 1) // BLOCK_ROWS)
    for start in blocks[::_BLOCKS_AT_ONCE]:
        some = blocks[start : start + _BLOCKS_AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for block in some:
                pipe.get(f"{base}:b:{block}")
                # Slots beyond next_slot were first taken after the number we began with: the log has them.
                pipe.hmget(f"{base}:slots", list(range(block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, slots))))
            replies = pipe.execute()
        for block, packed, records in zip(some, replies[::2], replies[1::2], strict=True):
            vectors = np.zeros((BLOCK_ROWS, snapshot.dimension), np.float32)
            flat = np.frombuffer(packed or b"", "<f4")
            vectors.reshape(-1)[: flat.size] = flat
            snapshot.blocks.append(vectors)
            for slot, record in enumerate(records, block * BLOCK_ROWS):
                if record is not None:
                    snapshot.owners[slot] = json.loads(record)[0]
    for subject, subject_id in client.hscan_iter(f"{base}:names", count=_SCAN):
        # A renaming under the scan may show both names or none: it is in the log, and the replay sets the name by id.
        snapshot.names[subject_id.decode()] = subject.decode()
    return snapshot


def _within_timeout(client: redis.Redis, block_ms: int) -> int:
    timeout_s = client.get_connection_kwargs().get("socket_timeout")
    if timeout_s is None:
        return block_ms
    return max(1, min(block_ms, int(timeout_s * 1000) - _SOCKET_MARGIN_MS))
