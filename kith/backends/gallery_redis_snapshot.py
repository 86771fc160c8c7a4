"""Reading whole galleries out of Redis, while others write. gallery.lua documents the keys."""

import json
import logging
from contextlib import suppress
from itertools import cycle
from typing import Any

import numpy as np

from kith.backends.gallery_redis_log import OWNER, read_changes
from kith.backends.gallery_rows import Rows
from kith.backends.gallery_script import GalleryScript
from kith.backends.straight_values import Value, read_values
from kith.collecting import not_collecting
from kith.errors import UnknownGallery
from kith.free_memory import overwriting_freed
from kith.gallery import GalleryDamaged
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS, FREE, Op, Snapshot
from kith.wire import from_json

_log = logging.getLogger(__name__)

#: Bytes of blocks read in one round trip, about; the server holds as many for us meanwhile.
_BYTES_AT_ONCE = 8 << 20
#: Chunks of names read in one round trip, and subjects in each.
_NAMES_AT_ONCE = 64
_NAMES_CHUNK = 1024
_REPLAY = 1000

#: The set of vectors of a gallery that never changed its model.
OWN_SET = b"b"


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
        with overwriting_freed():
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
        # Of the model read above, also should the gallery change its model now: it then writes another set.
        keys = [script.key(name, part) for at in blocks[start : start + at_once] for part in (f"{own}:{at}", f"o:{at}")]
        values = read_values(script.client, keys)
        for key, value, width in zip(keys, values, cycle((packed_as.width, OWNER.itemsize)), strict=False):
            if len(value) % width:
                raise _unreadable(name, key, f"{len(value):,} bytes are no rows of {width:,}")
        for packed, owned in zip(values[::2], values[1::2], strict=True):
            _add_block(snapshot, packed_as, packed, owned)
    chunks = range(int(subjects) // _NAMES_CHUNK + 1)
    for start in chunks[::_NAMES_AT_ONCE]:
        keys = [script.key(name, f"n:{chunk}") for chunk in chunks[start : start + _NAMES_AT_ONCE]]
        lines = b"".join(value.data for value in read_values(script.client, keys))
        with not_collecting(), suppress(ValueError, TypeError):
            listed = json.loads(b"[" + lines.replace(b"\n", b",").removesuffix(b",") + b"]")
            snapshot.names.update({number: (subject_id, subject) for number, subject_id, subject in listed})
            continue
        # Not from within: the error of the JSON module holds all of the names.
        raise _unreadable(name, f"{keys[0]} or one of the {len(keys) - 1} after it", "what is there are no names")
    return snapshot


def _unreadable(name: str, key: str, why: str) -> GalleryDamaged:
    return GalleryDamaged(f"gallery {name} was damaged in Redis, at {key}: {why}; kith gallery restore an export of it")


def _add_block(snapshot: Snapshot, packed_as: Rows, packed: Value, owned: Value) -> None:
    vectors, altered = packed_as.unpack(packed.data)
    owners = np.frombuffer(owned, OWNER)
    # The two are read one after the other, and grow together: what one has more of, the log tells of.
    rows = min(len(vectors), len(owners))
    snapshot.blocks.append(vectors[:rows])
    snapshot.owners.append(owners["number"][:rows].astype(np.int32))
    snapshot.owners[-1][[row for row in altered if row < rows]] = FREE
    snapshot.qualities.append(owners["quality"][:rows].astype(np.float32))
