"""Templates at rest: each vector sealed on its own with AES-256-GCM, in a row of fixed width that fits a packed block.

    key id (4 bytes) · nonce (12) · ciphertext (4·d: the vector, float32 little endian) · tag (16)

A row opens only in the gallery it was sealed for, by its epoch, which is authenticated with it: nobody brings in a
vector of another gallery. It depends on nothing else, so templates move between subjects and blocks without being
sealed anew. It is not bound to its subject: who can write to Redis can write there whose it is, too. Sealing keeps
vectors from those who read; those who write are kept out by Redis.

Standard: NIST SP 800-38D. The nonces are random, 96 bits. Two equal ones under one key would give away the exclusive-or
of two vectors and the means to forge; among q seals the birthday bound puts their chance below q² / 2⁹⁷. At 2³² seals,
the limit of the standard (section 8.3), that is 2⁻³³: rotate the key before. A gallery of a million templates gets
there when each has been sealed four thousand times; docs/gallery.md says what that means in years. The limit is not
enforced, for it cannot be counted: several processes and restored backups would share the counter, and one that went
back once says less than a rotation every few years, which anybody can do at any time (`kith keys rotate`).
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kith.errors import InvalidTemplate, SealBroken
from kith.keys import KEY_ID_BYTES, KeyRing

NONCE_BYTES = 12
TAG_BYTES = 16

#: What a row has beside the vector.
OVERHEAD_BYTES = KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES

#: Sets these seals apart from whatever else the key may ever be used for.
_DOMAIN = b"kith template 1\0"

#: Faults that a message lists; the others are counted.
_MOST_NAMED = 5

Vectors = npt.NDArray[np.float32]

_BIG_ENDIAN = sys.byteorder == "big"


@dataclass(frozen=True, slots=True)
class Fault:
    """Row `row` stays shut. `unknown_key`: the ring has no key of that id. `altered`: the row is not what was sealed
    for this gallery."""

    row: int
    reason: Literal["unknown_key", "altered"]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """vectors: float32 (n, d); zero where a row is free or faulty. faults: in order of the rows."""

    vectors: Vectors
    faults: tuple[Fault, ...]

    def whole(self, what: str) -> Vectors:
        """The vectors when all rows opened. Raises SealBroken that begins with `what` and says which did not."""
        if self.faults:
            named = ", ".join(f"row {each.row} ({each.reason})" for each in self.faults[:_MOST_NAMED])
            more = f" and {len(self.faults) - _MOST_NAMED} more" if len(self.faults) > _MOST_NAMED else ""
            raise SealBroken(f"{what}: {len(self.faults)} of {len(self.vectors)} cannot be opened: {named}{more}")
        return self.vectors


class Sealer:
    """Seals and opens the templates of one gallery. Safe to call from many threads, which do not make it faster: the
    interpreter holds its lock while a row as short as these is opened.

    epoch: of the gallery (`GalleryInfo.epoch`). dimension: of its vectors. renew: asked for the ring again, once per
    call, when a row names a key that is not in it, because it was rotated elsewhere.
    """

    def __init__(
        self, ring: KeyRing, epoch: str, dimension: int, *, renew: Callable[[], KeyRing] | None = None
    ) -> None:
        self.dimension = dimension
        #: Bytes of a row.
        self.width = row_width(dimension)
        self._context = _DOMAIN + epoch.encode()
        self._renew = renew
        self._use(ring)

    def __repr__(self) -> str:
        return f"Sealer({self._held[0]!r}, dimension={self.dimension})"

    def _use(self, ring: KeyRing) -> None:
        # One assignment: another thread sees the old ring with its ciphers, or the new one with its own.
        self._held = (ring, {key.key_id: AESGCM(key.secret) for key in ring.keys})

    @property
    def sealing_key(self) -> bytes:
        """The id of the key that seals: rows that begin with another one await their resealing."""
        return self._held[0].newest.key_id

    def seal_many(self, vectors: npt.NDArray[np.floating]) -> bytes:
        """The rows of `vectors` (n, d), one behind the other: n · `width` bytes.

        Raises InvalidTemplate for another dimension.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise InvalidTemplate(f"{vectors.shape} is not the shape of templates of {self.dimension} numbers")
        count = len(vectors)
        plain = memoryview(np.asarray(vectors, "<f4").tobytes())
        ring, ciphers = self._held
        key_id = ring.newest.key_id
        encrypt_into = ciphers[key_id].encrypt_into
        nonces = os.urandom(NONCE_BYTES * count)
        rows = bytearray(self.width * count)
        view, size, context = memoryview(rows), 4 * self.dimension, self._context
        for index in range(count):
            start = index * self.width
            body = start + KEY_ID_BYTES + NONCE_BYTES
            nonce = nonces[NONCE_BYTES * index : NONCE_BYTES * (index + 1)]
            rows[start:body] = key_id + nonce
            encrypt_into(
                nonce,
                plain[size * index : size * (index + 1)],
                context,
                view[body : start + self.width],
            )
        return bytes(rows)

    def open_many(
        self,
        rows: bytes | bytearray | memoryview,
        taken: Sequence[bool] | None = None,
        out: Vectors | None = None,
    ) -> Opened:
        """The vectors of `rows` (n · `width` bytes). taken: n, False for a free slot, which is not looked at; None
        opens all.

        out: float32 (n, d), contiguous, to write to: a cold start opens block after block into its place in the
        gallery's matrix. A row that does not open spoils no other: its vector is zero, and it is named in the faults.
        Raises SealBroken when `rows` is not n rows long, InvalidTemplate when `out` does not fit.
        """
        count = len(rows) // self.width if taken is None else len(taken)
        if len(rows) != self.width * count:
            raise SealBroken(
                f"{len(rows):,} bytes are not {count:,} sealed templates of {self.width:,} bytes; "
                "the gallery is not sealed, or of another dimension"
            )
        if out is None:
            out = np.empty((count, self.dimension), np.float32)
        elif out.shape != (count, self.dimension) or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise InvalidTemplate(f"opened templates need a contiguous float32 {(count, self.dimension)}")
        if not count:
            return Opened(out, ())
        faults = self._open(memoryview(rows), taken or repeat(True, count), out.data.cast("B"))
        if self._renew is not None and any(fault.reason == "unknown_key" for fault in faults):
            self._use(self._renew())
            faults = self._open(memoryview(rows), taken or repeat(True, count), out.data.cast("B"))
        if _BIG_ENDIAN:
            out.byteswap(inplace=True)
        for fault in faults:
            # What failed its tag must not be seen; a vector of zeros is similar to nobody.
            out[fault.row] = 0
        return Opened(out, tuple(faults))

    def _open(self, rows: memoryview, taken: Iterable[bool], plain: memoryview) -> list[Fault]:
        faults: list[Fault] = []
        # Nothing is looked up twice in here: a cold start goes round this loop once for every template there is.
        width, size, context, (_, ciphers) = self.width, 4 * self.dimension, self._context, self._held
        after_id, body = KEY_ID_BYTES, KEY_ID_BYTES + NONCE_BYTES
        start = done = 0
        last_id, decrypt_into = b"", None
        for row, held in enumerate(taken):
            target = plain[done : done + size]
            if not held:
                target[:] = bytes(size)
            else:
                key_id = rows[start : start + after_id]
                if key_id != last_id:
                    last_id = bytes(key_id)
                    cipher = ciphers.get(last_id)
                    decrypt_into = None if cipher is None else cipher.decrypt_into
                if decrypt_into is None:
                    faults.append(Fault(row, "unknown_key"))
                else:
                    try:
                        decrypt_into(
                            rows[start + after_id : start + body],
                            rows[start + body : start + width],
                            context,
                            target,
                        )
                    except InvalidTag:
                        faults.append(Fault(row, "altered"))
            start += width
            done += size
        return faults


def row_width(dimension: int) -> int:
    """Bytes of a sealed template of `dimension` numbers."""
    return 4 * dimension + OVERHEAD_BYTES
