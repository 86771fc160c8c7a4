"""Whether anything is left of somebody forgotten: what a receipt says is compared with everything that is there.

Looked at, in small pieces and as it is stored: every value of Redis (names and ids by the receipt's digests in all
strings, JSON within JSON and messages of the broker included; vectors in blocks and journal payloads, row by row),
the pictures in the store, and what the workers say of their copies. Only the installation that made the receipt can
look: the digests need its signing key.

Of a gallery that was forgotten whole there are no digests: whatever bears its name, and is no later one's, is left.

A name alone may be somebody else's who was enrolled since; the checker then says where it stands. The audit log keeps
the subject's id, which leads nowhere; that is no leftover.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from kith.erasure import Erasure
from kith.errors import UnknownKey
from kith.gallery_jobs import GalleryJobs
from kith.gone import GoneGalleries
from kith.holdings import Tracer, Traces
from kith.imagestore import ImageStore
from kith.keys import SIGNING, KeyStore
from kith.ledger import Ledger
from kith.receipts import Kind, Receipt, SignedReceipt, key_id_of, signing_key
from kith.results import order_of
from kith.scrubbing import texts_in


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of the person or gallery: what (`vector`, `name`, `id`, `picture`, `replica`; `gallery`, `key`,
    `decision`, `event`), and where it lies."""

    what: str
    where: str


class Checker:
    """Raises StateUnavailable, StoreUnavailable, UnknownKey when the key that signed is not here."""

    def __init__(
        self, erasure: Erasure, gone: GoneGalleries, store: ImageStore, ledger: Ledger, keys: KeyStore, prefix: str
    ) -> None:
        self._erasure, self._gone, self._store, self._ledger = erasure, gone, store, ledger
        self._keys, self._prefix = keys, prefix

    def check(self, signed: SignedReceipt, names: tuple[str, ...] = ()) -> Iterator[Leftover]:
        """All that is left, as it is found. names: looked for as bytes too, within longer texts."""
        receipt = signed.receipt
        matching = [
            key for key in self._keys.ring(SIGNING).keys if key_id_of(signing_key(key).public_key()) == signed.key_id
        ]
        if not matching:
            raise UnknownKey(f"the key {signed.key_id} that signed this receipt is not here; check where it was made")
        if receipt.subject_id is None:
            yield from self._of_gallery(receipt)
            return
        if receipt.traces is not None:
            yield from self._in_redis(receipt, receipt.traces, Tracer(matching[0], receipt.traces.salt), names)
        for each in receipt.erased:
            if each.kind in (Kind.ENROLMENT_IMAGES, Kind.PROBE_IMAGES):
                yield from (
                    Leftover("picture", f"image store, {key}") for key in each.identifiers if self._store.exists(key)
                )
        for key in sorted(self._erasure.spared()):
            # Named where the receipt says for whom it waits; upkeep deletes it once nobody asks any more.
            if any(key in silent for silent in receipt.silent) and self._store.exists(key):
                yield Leftover("picture", f"image store, {key}, for a job that asks about it; upkeep deletes it then")
        for beat in self._ledger.workers():
            at = (beat.galleries or {}).get(receipt.gallery)
            # One that was made anew under this name counts from 1 again, and he was never in it.
            same = (beat.epochs or {}).get(receipt.gallery, receipt.epoch) == receipt.epoch
            if same and at is not None and at < receipt.sequence:
                yield Leftover("replica", f"worker {beat.worker_id} is at change {at} of {receipt.sequence}")

    def _of_gallery(self, receipt: Receipt) -> Iterator[Leftover]:
        """Of one that was forgotten whole. Where another has the name by now, what is later than it is its."""
        gallery, born_ms = receipt.gallery, self._gone.born_ms(receipt.gallery)
        yield from (Leftover("gallery", where) for where in self._gone.left(gallery, receipt.epoch))
        # Asked about it since, where there is none: answered that it is unknown.
        until_ms = receipt.at_ms if born_ms is None else min(receipt.at_ms, born_ms)
        jobs = GalleryJobs(self._erasure, self._ledger, self._gone, gallery, receipt.epoch)
        yield from (Leftover("picture", each) for each in jobs.left(until_ms))
        about = f'"gallery":"{gallery}"'.encode()
        named = [f"{self._prefix}:{what}:{gallery}" for what in ("g", "samples", "watch", "sightings")]
        for key, place, value in self._erasure.values():
            if key.startswith(f"{named[0]}:r:"):
                # An answer to a change, kept for some minutes; it tells of nobody.
                continue
            told = key in (f"{self._prefix}:results:told", f"{self._prefix}:events:told")
            if told and about in value and order_of(place)[0] < until_ms:
                yield Leftover("decision" if ":results:" in key else "event", f"{key} {place}")
            elif born_ms is None and any(key == each or key.startswith(f"{each}:") for each in named):
                yield Leftover("name", f"{key} {place}".rstrip())
        if born_ms is None and gallery in self._keys.galleries():
            yield Leftover("key", f"the keys of gallery {gallery}")
        for beat in self._ledger.workers():
            at, epoch = (beat.galleries or {}).get(gallery), (beat.epochs or {}).get(gallery)
            # Who holds no copy does not say of which it is: where there is another by now, of that one.
            same = epoch == receipt.epoch or (epoch is None and born_ms is None)
            if at is not None and (same or at < 0):
                yield Leftover("replica", f"worker {beat.worker_id}")

    def _in_redis(self, receipt: Receipt, traces: Traces, tracer: Tracer, names: tuple[str, ...]) -> Iterator[Leftover]:
        widths = sorted(self._erasure.widths(receipt.gallery))
        rows, texts = frozenset(traces.rows), frozenset(traces.texts)
        own, wanted = f"{self._prefix}:g:{receipt.gallery}:", [name.encode() for name in names]
        for key, place, value in self._erasure.values():
            where = f"{key} {place}".rstrip()
            if key == f"{self._prefix}:forgetting" or key.startswith(f"{self._prefix}:audit"):
                continue
            elsewhere = key.startswith(f"{self._prefix}:g:") and not key.startswith(own)
            elsewhere |= _watched_elsewhere(key.removeprefix(self._prefix), receipt.gallery)
            packed = key.removeprefix(own)[:2] in ("b:", "c:") if key.startswith(own) else False
            body = value if packed else value.partition(b"\n")[2] if key == f"{own}payloads" else b""
            if body and any(_holds_row(body, width, rows, tracer) for width in widths):
                yield Leftover("vector", where)
            if packed or elsewhere:
                continue
            found = {place, *_texts(value)}
            if receipt.subject_id in found:
                yield Leftover("id", where)
            if f'"gallery":"{receipt.gallery}"'.encode() not in value and b'"gallery":"' in value:
                # About another gallery, in which the name is somebody else's.
                continue
            if any(tracer.text(text) in texts for text in found) or any(name in value for name in wanted):
                yield Leftover("name", where)


def _watched_elsewhere(key: str, gallery: str) -> bool:
    """Whether it is what the watcher knows of another gallery."""
    parts = key.split(":")
    return len(parts) > 2 and parts[1] in ("watch", "sightings") and parts[2] != gallery


def _holds_row(body: bytes, width: int, rows: frozenset[str], tracer: Tracer) -> bool:
    nothing = bytes(width)
    parts = (body[start : start + width] for start in range(0, len(body) - width + 1, width))
    return any(part != nothing and tracer.row(part) in rows for part in parts)


def _texts(value: bytes) -> Iterator[str]:
    """All strings of a value."""
    for line in value.decode(errors="replace").split("\n"):
        for text in texts_in(line):
            yield text
            # A message of the broker carries its job in base64.
            if len(text) > 40 and text[:2] in ("W1", "ey", "W3"):
                try:
                    yield from texts_in(base64.b64decode(text, validate=True).decode())
                except (binascii.Error, ValueError):
                    continue
