"""Seals an encrypted gallery anew by its newest key, while everybody goes on; then the older keys can be destroyed."""

import time
from collections.abc import Iterator
from typing import Any

import redis

from kith.backends.gallery_rows import RowFormats, SealedRows
from kith.backends.gallery_script import GalleryScript
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import Misconfigured, StateUnavailable
from kith.jobs import now_ms
from kith.journal import BLOCK_ROWS
from kith.keys import KEY_ID_BYTES, KeyRing, KeyStore

_ROWS_AT_ONCE = 64
_SETS = ("b", "c")
#: How long the server may take to write to its disk, and how much of that in one request (below redis.timeout_s).
_SETTLE_S, _WAITAOF_MS = 60, 1000


def reseal(script: GalleryScript, name: str, ring: KeyRing, keys: KeyStore) -> int:
    """How many templates were sealed anew: those in use, those of another model, and those in the journal that an undo
    would bring back. Interrupted, the same call again goes on. Nothing for a gallery that is not encrypted.

    ring: with the key that seals as the newest. A template that was altered in Redis stays shut. Raises UnknownKey,
    SealBroken, StateUnavailable, Misconfigured when the server cannot say that all of it is on its disk (only then may
    the older keys go), and KeysUnavailable when somebody else has rotated once more: then do so again.
    """
    older, done = [key.key_id for key in ring.keys[:-1]], 0
    with mapped_redis_errors(f"sealing gallery {name} anew"):
        if not _dimensions(script, name):
            return 0
        script.ask(name, "reseal_by", ring.newest.key_id, *older)
        # A fresh format: an older one would seal by the key it knew.
        formats = RowFormats(keys)
        for kind, dimension in _dimensions(script, name):
            rows = formats.of(name, _epoch(script, name), dimension, sealed=True)
            assert isinstance(rows, SealedRows)
            for slots, old in _sealed_before(script, name, kind, rows.width, older):
                parts = [part for trio in zip(slots, old, _anew(rows, old), strict=True) for part in trio]
                script.ask(name, "reseal_rows", kind, rows.width, *parts)
                done += len(old)
            if kind == _own(script, name):
                done += _payloads(script, name, rows, older)
        _settled(script, name)
    return done


def _settled(script: GalleryScript, name: str) -> None:
    """Until all of it stands on the server's disk. A crash that took back the last second would else bring back rows
    whose key is destroyed by then."""
    client, deadline_s = script.client, time.monotonic() + _SETTLE_S
    while True:
        with client.pipeline(transaction=False) as pipe:
            # Together, as WAITAOF waits for what its own connection wrote; all that was written before comes first.
            pipe.hset(script.key(name, "meta"), "resealed_ms", now_ms())
            pipe.execute_command("WAITAOF", 1, 0, _WAITAOF_MS)  # type: ignore[no-untyped-call]
            try:
                synced = pipe.execute()[1]
            except redis.exceptions.ResponseError as fault:
                raise Misconfigured(
                    f"gallery {name} is sealed anew, but its Redis does not say whether that is on its disk ({fault}), "
                    "so the older keys stay: it takes appendonly yes, and Redis 7.2 or Valkey 8 or later"
                ) from fault
        if synced[0] >= 1:
            return
        if time.monotonic() > deadline_s:
            raise StateUnavailable(
                f"gallery {name} is sealed anew, but its Redis has not written that to its disk within {_SETTLE_S} s, "
                "so the older keys stay; run the same command again"
            )


def _anew(rows: SealedRows, old: list[bytes]) -> list[bytes]:
    vectors, altered = rows.unpack(b"".join(old))
    fresh = rows.pack(vectors)
    for place in altered:
        # What does not open must not become a vector that does: under the new key it is as broken as under the old.
        fresh[place] = rows.sealing_key + old[place][KEY_ID_BYTES:]
    return fresh


def _meta(script: GalleryScript, name: str, *fields: str) -> list[Any]:
    found: Any = script.client.hmget(script.key(name, "meta"), *fields)
    return [None if value is None else value.decode() for value in found]


def _epoch(script: GalleryScript, name: str) -> str:
    return str(_meta(script, name, "epoch")[0])


def _own(script: GalleryScript, name: str) -> str:
    return str(_meta(script, name, "vectors")[0] or "b")


def _dimensions(script: GalleryScript, name: str) -> list[tuple[str, int]]:
    """The sets of vectors there are, and the dimension of each."""
    dimension, sealed = _meta(script, name, "dimension", "sealed")
    if sealed != "1":
        return []
    own = _own(script, name)
    other: Any = script.client.hget(script.key(name, "migration"), "dimension")
    return [(kind, int(dimension if kind == own else other)) for kind in _SETS if kind == own or other is not None]


def _sealed_before(
    script: GalleryScript, name: str, kind: str, width: int, older: list[bytes]
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Slots and rows that one of these keys sealed, some at a time."""
    slots = int(_meta(script, name, "next_slot")[0])
    for block in range((slots + BLOCK_ROWS - 1) // BLOCK_ROWS):
        packed: Any = script.client.get(script.key(name, f"{kind}:{block}")) or b""
        found = [start for start in range(0, len(packed), width) if packed[start : start + KEY_ID_BYTES] in older]
        for first in range(0, len(found), _ROWS_AT_ONCE):
            some = found[first : first + _ROWS_AT_ONCE]
            yield (
                [block * BLOCK_ROWS + start // width for start in some],
                [packed[start : start + width] for start in some],
            )


def _payloads(script: GalleryScript, name: str, rows: SealedRows, older: list[bytes]) -> int:
    payloads, done = script.key(name, "payloads"), 0
    for sequence, found in script.client.hscan_iter(payloads, count=100):
        payload: Any = found
        while (parts := _rows_of(payload, rows.width, older)) is not None:
            header, old = parts
            fresh = b"".join(_anew(rows, old))
            if script.ask(name, "reseal_payload", sequence, rows.width, payload, header, fresh)[0]:
                done += len(old)
                break
            payload = script.client.hget(payloads, sequence) or b""
    return done


def _rows_of(payload: bytes, width: int, older: list[bytes]) -> tuple[bytes, list[bytes]] | None:
    """The header and the rows of a payload; None where none of them is to be sealed anew."""
    header, _, body = payload.partition(b"\n")
    # Of another model: these cannot be brought back, and open under no key of this width.
    if len(body) % width:
        return None
    rows = [body[start : start + width] for start in range(0, len(body), width)]
    return (header, rows) if any(row[:KEY_ID_BYTES] in older for row in rows) else None
