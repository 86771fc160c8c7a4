"""Forgetting a subject, everywhere Kith keeps anything, with a signed receipt. There is no way back, but a way on after
an interruption: a note without names (kith.holdings.Pending) says how far it has come, and the same call goes on.

The order: vectors and journal first, so that nobody is matched any more; then every worker's copy; then what jobs under
way may still say; then what the watcher knows; then results, with the pictures they and the events of cameras are
about; then dead letters, events and calibration samples. A record goes after the picture it alone tells of, never
before.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kith.audit import Action, AuditLog, Deed
from kith.calibration_samples import SampleStore
from kith.clearing import Clearing
from kith.confirming import await_copies
from kith.erasure import Erasure
from kith.errors import UnknownSubject
from kith.free_memory import overwriting_freed
from kith.gallery import GalleryStore
from kith.holdings import Marks, Pending, Tracer
from kith.imagestore import ImageStore
from kith.jobs import now_ms
from kith.keys import SIGNING, Key, KeyStore
from kith.ledger import Ledger
from kith.names import subject_name
from kith.receipts import Erased, Kind, Receipt, ReplicaAt, SignedReceipt, sign, signing_key
from kith.watching.erasing import WatchedErasure

#: How long one waits for workers, and for jobs that they have in hand, before they are named as silent.
WAIT_S = 20.0
_LOOK_EVERY_S = 0.1

#: What no call of ours reaches.
BEYOND = (
    "snapshots, exports and backups made before, of Redis, of the image store and of keys",
    "copies that readers of the results, webhooks or whoever else took of decisions",
    "messages of the broker until a worker takes them; it finds them crossed out",
    "the append-only file of Redis until the server rewrites it (BGREWRITEAOF)",
)


class Forgetting:
    """Raises what the parts do: StateUnavailable, StoreUnavailable and the like; then the same call again goes on.

    by: who does it, for the audit log. watched: what cameras told; None where there are none.
    """

    def __init__(
        self,
        *,
        galleries: GalleryStore,
        erasure: Erasure,
        ledger: Ledger,
        store: ImageStore,
        samples: SampleStore,
        audit: AuditLog,
        keys: KeyStore,
        by: str,
        watched: WatchedErasure | None = None,
    ) -> None:
        self._galleries, self._erasure, self._ledger = galleries, erasure, ledger
        self._store, self._samples, self._audit, self._keys, self._by = store, samples, audit, keys, by
        self._watched = watched

    def forget(
        self,
        gallery: str,
        subject: str,
        *,
        wait_s: float = WAIT_S,
        save: Callable[[SignedReceipt], None] = lambda _: None,
    ) -> SignedReceipt:
        """Forget `subject`, a name. save: given the receipt before the note of what is under way goes.

        Raises UnknownGallery, UnknownSubject.
        """
        name, key = subject_name(subject), self._keys.create(SIGNING).newest
        place = Tracer(key, "place").text(f"{gallery}\0{name}")
        pending = self._erasure.pending(place)
        if pending is None or pending.epoch != self._galleries.info(gallery).epoch:
            # Nobody goes on in a gallery that was forgotten, or lost, since: who has the name now is somebody else.
            pending = self._begin(gallery, name, key)
        self._erasure.note(place, pending)
        pending = self._leave_gallery(gallery, name, pending)
        self._erasure.note(place, pending)
        replicas, silent = await_copies(self._ledger, gallery, pending.epoch, pending.sequence, wait_s)
        marks = self._marks(pending, key)
        clearing = Clearing(self._erasure, self._store, gallery)
        deadline_s = time.monotonic() + wait_s
        while clearing.jobs(marks) and time.monotonic() < deadline_s:
            time.sleep(_LOOK_EVERY_S)
        busy = clearing.jobs(marks)
        if self._watched is not None:
            # After the jobs: what is decided from now on names them no more, so the watcher hears of them last now.
            pending = self._probing(place, pending, self._watched.visiting(gallery, marks))
            if not self._watched.leave(gallery, name, marks, wait_s):
                busy.append("the watcher")
            pending = self._probing(place, pending, self._watched.pictures(gallery, marks))
            marks = self._marks(pending, key)
        pending = clearing.results(pending, marks, partial(self._erasure.note, place))
        # By now his probes are known as well: they may be asked about again, or lie in a dead letter.
        marks = self._marks(pending, key)
        clearing.jobs(marks)
        clearing.letters(marks)
        if self._watched is not None:
            gone = self._watched.erase(gallery, marks)
            clearing.done.setdefault(Kind.EVENTS, set()).update(gone.events)
            clearing.done.setdefault(Kind.NAMED_EVENTS, set()).update(gone.named)
        samples = sum(self._samples.forget_subject(each) for each in pending.subject_ids)
        samples += self._samples.forget_images(marks.images)
        clearing.images(pending)
        busy += [f"a job that asks about picture {key}" for key in sorted(clearing.left)]
        receipt = self._receipt(gallery, pending, clearing.done, samples, replicas, [*silent, *busy])
        signed = sign(receipt, signing_key(key))
        save(signed)
        self._erasure.note(place, None)
        return signed

    def _begin(self, gallery: str, name: str, key: Key) -> Pending:
        # Whoever forgets may be a server that runs for months, and reads the vectors once more for their digests.
        with overwriting_freed():
            held, tracer = self._erasure.holdings(gallery, name), Tracer.fresh(key)
            others = held.subject_ids - {held.subject_id}
            traces = tracer.traces(held.rows, held.names | held.texts | held.templates | others)
            held = replace(held, rows=())
        # Recorded first: what cannot be recorded is not done.
        begun = [Deed(self._by, Action.FORGOT, gallery, each, detail={"stage": "begun"}) for each in held.meant]
        self._audit.record_many(begun)
        return Pending(
            held.subject_id,
            meant=held.meant,
            subject_ids=tuple(sorted(held.subject_ids)),
            epoch=self._galleries.info(gallery).epoch,
            salt=traces.salt,
            rows=traces.rows,
            texts=traces.texts,
            images=tuple(sorted(held.images)),
        )

    def _probing(self, place: str, pending: Pending, pictures: set[str]) -> Pending:
        """With these pictures to be deleted as well, noted: whoever goes on after an interruption finds them nowhere
        else."""
        probes = pictures.difference(pending.images).union(pending.probes)
        pending = replace(pending, probes=tuple(sorted(probes)))
        self._erasure.note(place, pending)
        return pending

    def _marks(self, pending: Pending, key: Key) -> Marks:
        shared = self._erasure.in_use({*pending.images, *pending.probes})
        return Marks(pending, Tracer(key, pending.salt), shared)

    def _leave_gallery(self, gallery: str, name: str, pending: Pending) -> Pending:
        try:
            # Only these: should the name be somebody else's by now, who was enrolled since, he stays.
            gone = self._galleries.forget(gallery, name, only=pending.meant)
        except UnknownSubject:
            called = [each.name for each in self._galleries.subjects(gallery) if each.subject_id in pending.meant]
            if called:
                # Somebody has given him another name since it was looked up.
                return self._leave_gallery(gallery, called[0], pending)
            # Gone by an earlier attempt.
            return pending if pending.sequence else replace(pending, sequence=self._galleries.info(gallery).sequence)
        done = {Kind.VECTORS.value: gone.templates, Kind.JOURNAL_PAYLOADS.value: gone.payloads}
        images = tuple(sorted({*pending.images, *gone.images}))
        return replace(pending, sequence=gone.sequence, images=images, done=pending.done | done)

    def _receipt(
        self,
        gallery: str,
        pending: Pending,
        done: dict[Kind, set[str]],
        samples: int,
        replicas: list[ReplicaAt],
        silent: list[str],
    ) -> Receipt:
        counts = {Kind(kind): count for kind, count in pending.done.items()} | {Kind.CALIBRATION_SAMPLES: samples}
        listed = (
            *(Kind.ENROLMENT_IMAGES, Kind.PROBE_IMAGES, Kind.RESULTS, Kind.NAMED, Kind.EVENTS, Kind.NAMED_EVENTS),
            *(Kind.OPEN_JOBS, Kind.DEAD_LETTERS),
        )
        erased = [Erased(kind, count) for kind, count in counts.items()]
        erased += [Erased.of(kind, done.get(kind, ())) for kind in listed]
        # Kith keeps no crops.
        erased.append(Erased(Kind.CACHED_CROPS, 0))
        detail: dict[str, str | int] = {"stage": "done", "silent": len(silent)}
        detail |= {each.kind.value: each.count for each in erased if each.count}
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, pending.subject_id, pending.sequence, detail))
        return Receipt(
            *(gallery, pending.epoch, pending.sequence, now_ms(), self._by, tuple(erased), pending.subject_id),
            replicas=tuple(replicas),
            silent=tuple(silent),
            audit=str(self._audit.head()),
            traces=pending.traces,
            beyond=BEYOND,
        )
