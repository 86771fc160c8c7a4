"""Seals an encrypted gallery anew by its newest key, while everybody goes on; then the older keys can be destroyed."""

from collections.abc import Iterator
from typing import Any

from kith.backends.gallery_rows import RowFormats, SealedRows
from kith.backends.gallery_script import GalleryScript
from kith.backends.redis_errors import mapped_redis_errors
from kith.journal import BLOCK_ROWS
from kith.keys import KEY_ID_BYTES, KeyRing, KeyStore

_ROWS_AT_ONCE = 64
_SETS = ("b", "c")


def reseal(script: GalleryScript, name: str, ring: KeyRing, keys: KeyStore) -> int:
    """How many templates were sealed anew: those in use, those of another model, and those in the journal that an undo
    would bring back. Interrupted, the same call again goes on. Nothing for a gallery that is not encrypted.

    ring: with the key that seals as the newest. Raises UnknownKey, SealBroken, StateUnavailable.
    """
    newest, done = ring.newest.key_id, 0
    with mapped_redis_errors(f"sealing gallery {name} anew"):
        script.ask(name, "reseal_by", newest)
        # A fresh format: an older one would seal by the key it knew.
        formats = RowFormats(keys)
        for kind, dimension in _dimensions(script, name):
            rows = formats.of(name, _epoch(script, name), dimension, sealed=True)
            assert isinstance(rows, SealedRows)
            for slots, old in _sealed_before(script, name, kind, rows.width, newest):
                fresh = rows.pack(rows.unpack(b"".join(old))[0])
                parts = [part for trio in zip(slots, old, fresh, strict=True) for part in trio]
                script.ask(name, "reseal_rows", kind, rows.width, *parts)
                done += len(old)
            if kind == _own(script, name):
                done += _payloads(script, name, rows, newest)
    return done


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
    script: GalleryScript, name: str, kind: str, width: int, newest: bytes
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Slots and rows that another key sealed, some at a time."""
    free, slots = bytes(KEY_ID_BYTES), int(_meta(script, name, "next_slot")[0])
    for block in range((slots + BLOCK_ROWS - 1) // BLOCK_ROWS):
        packed: Any = script.client.get(script.key(name, f"{kind}:{block}")) or b""
        older = [
            start
            for start in range(0, len(packed), width)
            if packed[start : start + KEY_ID_BYTES] not in (free, newest)
        ]
        for first in range(0, len(older), _ROWS_AT_ONCE):
            some = older[first : first + _ROWS_AT_ONCE]
            yield (
                [block * BLOCK_ROWS + start // width for start in some],
                [packed[start : start + width] for start in some],
            )


def _payloads(script: GalleryScript, name: str, rows: SealedRows, newest: bytes) -> int:
    done = 0
    for sequence, payload in script.client.hscan_iter(script.key(name, "payloads"), count=100):
        header, line, old = payload.partition(b"\n")
        # Of another model: these cannot be brought back, and open under no key of this width.
        if not old or len(old) % rows.width or old[:KEY_ID_BYTES] == newest:
            continue
        fresh = b"".join(rows.pack(rows.unpack(old)[0]))
        script.ask(name, "reseal_payloads", sequence, payload, header + line + fresh)
        done += len(old) // rows.width
    return done
