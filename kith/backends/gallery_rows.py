"""Vectors as they stand in Redis: rows of float32, or sealed where the gallery is encrypted (kith.sealing)."""

import logging
import time
from typing import Protocol

import numpy as np

from kith.errors import Misconfigured
from kith.journal import Vectors
from kith.keys import KeyStore
from kith.sealing import Sealer, row_width

_log = logging.getLogger(__name__)

#: Seconds that keys are kept after they were used last; then they are read anew.
_KEPT_S = 60.0


class Rows(Protocol):
    """The rows of one gallery. width: bytes of each."""

    width: int

    def pack(self, vectors: Vectors) -> list[bytes]:
        """The row of each vector, float32 (n, d)."""
        ...

    def unpack(self, rows: bytes | memoryview) -> tuple[Vectors, list[int]]:
        """The vectors, float32 (n, d), perhaps read-only, zero where a slot is free; and the places of those that
        cannot be read because they were altered, which are zero too."""
        ...


class PlainRows:
    """float32, little endian."""

    def __init__(self, dimension: int) -> None:
        self.width = 4 * dimension
        self._dimension = dimension

    def pack(self, vectors: Vectors) -> list[bytes]:
        return [vector.tobytes() for vector in vectors.astype("<f4", copy=False)]

    def unpack(self, rows: bytes | memoryview) -> tuple[Vectors, list[int]]:
        return np.frombuffer(rows, "<f4").astype(np.float32, copy=False).reshape(-1, self._dimension), []


class SealedRows:
    """See kith.sealing. what: names the gallery in errors."""

    def __init__(self, sealer: Sealer, what: str) -> None:
        self.width = sealer.width
        self._sealer = sealer
        self._what = what

    @property
    def sealing_key(self) -> bytes:
        """The id of the key that seals."""
        return self._sealer.sealing_key

    def pack(self, vectors: Vectors) -> list[bytes]:
        rows = self._sealer.seal_many(vectors)
        return [rows[start : start + self.width] for start in range(0, len(rows), self.width)]

    def unpack(self, rows: bytes | memoryview) -> tuple[Vectors, list[int]]:
        # A free row is zero; a sealed one never is, it has a key's id and a nonce.
        held = np.frombuffer(rows, np.uint8).reshape(-1, self.width).max(axis=1, initial=0) > 0
        opened = self._sealer.open_many(rows, held.tolist())
        if any(fault.reason == "unknown_key" for fault in opened.faults):
            # Not this row but the key is at fault, and with it the gallery.
            opened.whole(self._what)
        for fault in opened.faults:
            _log.error("%s: a sealed template was altered in Redis and is left out (row %d)", self._what, fault.row)
        return opened.vectors, [fault.row for fault in opened.faults]


class RowFormats:
    """Which rows a gallery has. keys: of encrypted galleries; None where the process has none."""

    def __init__(self, keys: KeyStore | None = None) -> None:
        self._keys = keys
        #: A sealer holds its ciphers ready, and so the gallery's keys. With each, when it was used last (monotonic).
        self._sealed: dict[tuple[str, str, int], SealedRows] = {}
        self._used_s: dict[tuple[str, str, int], float] = {}
        self._looked_s = time.monotonic()

    def of(self, name: str, epoch: str, dimension: int, sealed: bool) -> Rows:
        """Raises Misconfigured without keys, UnknownKey when the gallery's are gone, KeysUnavailable."""
        if not sealed:
            return PlainRows(dimension)
        self._used_s[name, epoch, dimension] = time.monotonic()
        self.drop_unused()
        rows = self._sealed.get((name, epoch, dimension))
        if rows is None:
            keys = self._given(name)
            sealer = Sealer(keys.ring(name), epoch, dimension, renew=lambda: keys.ring(name))
            rows = self._sealed[name, epoch, dimension] = SealedRows(sealer, f"gallery {name}")
        return rows

    def renew(self, name: str) -> None:
        """Read the gallery's keys anew at the next use."""
        self._sealed = {known: rows for known, rows in self._sealed.items() if known[0] != name}

    def drop_unused(self) -> None:
        """Let go of keys that nobody has used for a while: those of a gallery that is no more are destroyed, and not to
        be left here. Cheap; to be called now and then."""
        now_s = time.monotonic()
        if now_s - self._looked_s <= _KEPT_S:
            return
        self._looked_s = now_s
        used = {known for known, used_s in dict(self._used_s).items() if now_s - used_s <= _KEPT_S}
        self._sealed = {known: rows for known, rows in dict(self._sealed).items() if known in used}
        self._used_s = {known: used_s for known, used_s in dict(self._used_s).items() if known in used}

    def width(self, name: str, dimension: int, sealed: bool) -> int:
        """Bytes of a row in a gallery that is to be made; its keys are made where there are none. Raises as `of`."""
        if not sealed:
            return 4 * dimension
        self._given(name).create(name)
        return row_width(dimension)

    def _given(self, name: str) -> KeyStore:
        if self._keys is None:
            raise Misconfigured(f"gallery {name} is encrypted and this process was given no keys; see [security]")
        return self._keys
