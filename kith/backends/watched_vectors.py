"""Vectors of faces that cameras saw, in Redis: under the gallery's protection, as its templates are.

Sealed where the gallery is, by its newest key, and of no use in any other gallery. A vector whose key is gone, or which
was altered, is left out and said so in the log: who is before a camera shows a new one in a moment.
"""

import base64
import binascii
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import redis

from kith.backends.gallery_rows import PlainRows, RowFormats, Rows, SealedRows
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import KeysUnavailable, Misconfigured, Rejected, UnknownGallery
from kith.keys import KEY_ID_BYTES, KeyStore
from kith.sealing import OVERHEAD_BYTES
from kith.watching.evidence import Vector

_log = logging.getLogger(__name__)


class WatchedVectors:
    """Packs and opens them. keys: of encrypted galleries. formats: shared with others of this process. Safe to call
    from many threads."""

    def __init__(
        self, client: "redis.Redis", prefix: str, keys: KeyStore | None, formats: RowFormats | None = None
    ) -> None:
        self._redis: Any = client
        self._prefix = prefix
        self._formats = formats or RowFormats(keys)

    def drop_unused(self) -> None:
        """See RowFormats."""
        self._formats.drop_unused()

    def as_text(self, gallery: str, vector: Vector) -> str:
        """One vector, float32 (d,), for a piece of news. Raises UnknownGallery, StateUnavailable, KeysUnavailable,
        Misconfigured."""
        rows, _ = self._rows(gallery, len(vector))
        return base64.b64encode(rows.pack(vector[np.newaxis])[0]).decode()

    def of_text(self, gallery: str, text: str) -> Vector | None:
        """The vector again; None where it cannot be read. Raises StateUnavailable, KeysUnavailable, Misconfigured."""
        try:
            row = base64.b64decode(text, validate=True)
        except binascii.Error:
            return None
        epoch, sealed = self._kind(gallery)[:2]
        size = len(row) - (OVERHEAD_BYTES if sealed else 0)
        # How it was sealed is not known any more once the gallery is gone.
        found = None if not epoch or size <= 0 or size % 4 else self._open(gallery, epoch, sealed, size // 4, row)
        return None if found is None else found[0]

    def packed(self, gallery: str, vectors: Mapping[str, Vector]) -> dict[str, bytes]:
        """Some vectors each, float32 (n, d), as they are kept; none of a gallery that is gone. Raises as `as_text`."""
        found: dict[str, bytes] = {}
        dimensions = {each.shape[1] for each in vectors.values()}
        try:
            rows = {dimension: self._rows(gallery, dimension) for dimension in dimensions}
        except UnknownGallery:
            return found
        for key, each in vectors.items():
            form, epoch = rows[each.shape[1]]
            found[key] = f"{epoch}:{each.shape[1]}:".encode() + b"".join(form.pack(each))
        return found

    def unpacked(self, gallery: str, kept: Mapping[str, bytes]) -> dict[str, Vector]:
        """The vectors again, without those of which any cannot be read. Raises as `as_text`."""
        now, sealed, _ = self._kind(gallery) if kept else ("", False, b"")
        found = {}
        for key, value in kept.items():
            epoch, dimension, row = value.split(b":", 2)
            # Else it is of a gallery that was lost and made anew.
            opened = self._open(gallery, now, sealed, int(dimension), row) if epoch.decode() == now else None
            if opened is not None:
                found[key] = opened
        return found

    def _open(self, gallery: str, epoch: str, sealed: bool, dimension: int, row: bytes) -> Vector | None:
        rows = self._formats.of(gallery, epoch, dimension, sealed)
        if len(row) % rows.width:
            return None
        try:
            vectors, altered = rows.unpack(row)
        except (KeysUnavailable, Misconfigured):
            raise
        except Rejected as shut:
            _log.error("a face that a camera of gallery %s saw cannot be opened and is left out: %s", gallery, shut)
            return None
        return None if altered else np.array(vectors, np.float32)

    def _kind(self, gallery: str) -> tuple[str, bool, set[bytes]]:
        """Its epoch, whether it is sealed, and which keys may seal no more."""
        with mapped_redis_errors(f"reading gallery {gallery}"):
            meta = self._redis.hmget(f"{self._prefix}:g:{gallery}:meta", "epoch", "sealed", "old_keys")
        ids: bytes = meta[2] or b""
        old = {ids[start : start + KEY_ID_BYTES] for start in range(0, len(ids), KEY_ID_BYTES)}
        return (meta[0] or b"").decode(), meta[1] == b"1", old

    def _rows(self, gallery: str, dimension: int) -> tuple[Rows, str]:
        epoch, sealed, old = self._kind(gallery)
        if not epoch:
            raise UnknownGallery(f"there is no gallery {gallery}")
        if not sealed:
            return PlainRows(dimension), epoch
        rows = self._formats.of(gallery, epoch, dimension, sealed)
        if isinstance(rows, SealedRows) and rows.sealing_key in old:
            # The gallery was sealed anew since: nothing may be written by an older key.
            self._formats.renew(gallery)
            rows = self._formats.of(gallery, epoch, dimension, sealed)
        return rows, epoch
