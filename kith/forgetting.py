"""Forgetting a subject, everywhere Kith keeps anything, with a signed receipt. There is no way back, but a way on after
an interruption: a note without names (kith.holdings.Pending) says how far it has come, and the same call goes on.

The order: vectors and journal first, so that nobody is matched any more; then every worker's copy; then what jobs under
way may still say; then results, with the pictures they are about; then dead letters and calibration samples. A record
goes after the picture it alone tells of, never before.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from kith import wire
from kith.audit import Action, AuditLog, Deed
from kith.calibration_samples import SampleStore
from kith.erasure import Erasure
from kith.errors import JobRejected, UnknownSubject
from kith.gallery import GalleryStore
from kith.holdings import Marks, Pending, Tracer
from kith.imagestore import ImageStore
from kith.jobs import Decision, EmbedJob, now_ms
from kith.keys import SIGNING, Key, KeyStore
from kith.ledger import DeadLetter, Ledger, Stage
from kith.names import subject_name
from kith.receipts import Erased, Kind, Receipt, ReplicaAt, SignedReceipt, sign, signing_key
from kith.scrubbing import is_of, scrubbed, scrubbed_job, scrubbed_letter

#: How long one waits for workers, and for jobs that they have in hand, before they are named as silent.
WAIT_S = 20.0
_LOOK_EVERY_S = 0.1
#: The role of workers that hold copies of galleries.
_HOLDS_COPIES = "embed"

#: What no call of ours reaches.
BEYOND = (
    "snapshots, exports and backups made before, of Redis, of the image store and of keys",
    "copies that readers of the results, webhooks or whoever else took of decisions",
    "messages of the broker until a worker takes them; it finds them crossed out",
    "the append-only file of Redis until the server rewrites it (BGREWRITEAOF)",
)


class Forgetting:
    """Raises what the parts do: StateUnavailable, StoreUnavailable and the like; then the same call again goes on.

    by: who does it, for the audit log.
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
    ) -> None:
        self._galleries, self._erasure, self._ledger = galleries, erasure, ledger
        self._store, self._samples, self._audit, self._keys, self._by = store, samples, audit, keys, by

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
        pending = self._erasure.pending(place) or self._begin(gallery, name, key)
        self._erasure.note(place, pending)
        pending = self._leave_gallery(gallery, name, pending)
        self._erasure.note(place, pending)
        replicas, silent = self._await_workers(gallery, pending.sequence, wait_s)
        marks = self._marks(pending, key)
        done: dict[Kind, set[str]] = {}
        deadline_s = time.monotonic() + wait_s
        while self._clear_jobs(gallery, marks, done) and time.monotonic() < deadline_s:
            time.sleep(_LOOK_EVERY_S)
        busy = self._clear_jobs(gallery, marks, done)
        pending = self._clear_results(gallery, pending, marks, place, done)
        # By now his probes are known as well: they may be asked about again, or lie in a dead letter.
        marks = self._marks(pending, key)
        self._clear_jobs(gallery, marks, done)
        self._clear_letters(gallery, marks, done)
        samples = sum(self._samples.forget_subject(each) for each in pending.subject_ids)
        samples += self._samples.forget_images(marks.images)
        self._delete_images(pending, done)
        receipt = self._receipt(gallery, pending, done, samples, replicas, [*silent, *busy])
        signed = sign(receipt, signing_key(key))
        save(signed)
        self._erasure.note(place, None)
        return signed

    def _begin(self, gallery: str, name: str, key: Key) -> Pending:
        held, tracer = self._erasure.holdings(gallery, name), Tracer.fresh(key)
        traces = tracer.traces(held.rows, held.names | held.texts | held.templates)
        # Recorded first: what cannot be recorded is not done.
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, held.subject_id, detail={"stage": "begun"}))
        return Pending(
            held.subject_id,
            subject_ids=tuple(sorted(held.subject_ids)),
            epoch=self._galleries.info(gallery).epoch,
            salt=traces.salt,
            rows=traces.rows,
            texts=traces.texts,
            images=tuple(sorted(held.images)),
        )

    def _marks(self, pending: Pending, key: Key) -> Marks:
        shared = self._erasure.in_use({*pending.images, *pending.probes})
        return Marks(pending, Tracer(key, pending.salt), shared)

    def _leave_gallery(self, gallery: str, name: str, pending: Pending) -> Pending:
        try:
            if self._galleries.show(gallery, name).subject_id == pending.subject_id:
                gone = self._galleries.forget(gallery, name)
                done = {Kind.VECTORS.value: gone.templates, Kind.JOURNAL_PAYLOADS.value: gone.payloads}
                images = tuple(sorted({*pending.images, *gone.images}))
                return replace(pending, sequence=gone.sequence, images=images, done=pending.done | done)
        except UnknownSubject:
            # Gone by an earlier attempt.
            pass
        return pending if pending.sequence else replace(pending, sequence=self._galleries.info(gallery).sequence)

    def _await_workers(self, gallery: str, sequence: int, wait_s: float) -> tuple[list[ReplicaAt], list[str]]:
        """Workers whose copies have applied the change, and those that have not said so.

        A beat from before the change may not know of a copy made just then: who names none must be heard once more.
        """
        deadline_s = time.monotonic() + wait_s
        first, reached, silent = dict[str, int](), dict[str, int](), set[str]()
        while True:
            for beat in self._ledger.workers():
                if beat.role != _HOLDS_COPIES:
                    continue
                who, at = beat.worker_id, (beat.galleries or {}).get(gallery)
                silent.add(who)
                if at is not None and at >= sequence:
                    reached[who] = at
                elif at is None and first.setdefault(who, beat.seen_ms) != beat.seen_ms:
                    silent.discard(who)
            silent -= set(reached)
            # One that stopped beating may be cut off and go on with its copy: it stays among the silent.
            if not silent or time.monotonic() > deadline_s:
                return [ReplicaAt(who, at) for who, at in sorted(reached.items())], sorted(silent)
            time.sleep(_LOOK_EVERY_S)

    def _clear_jobs(self, gallery: str, marks: Marks, done: dict[Kind, set[str]]) -> list[str]:
        """Cross the person out of open jobs; those that a worker has in hand, whose decisions are yet to come."""
        busy = []
        for job_id, fields in self._erasure.open_jobs():
            try:
                job = wire.from_json(EmbedJob, fields.get("payload", ""))
            except JobRejected:
                # No worker can read it either: it becomes a dead letter.
                continue
            if job.gallery != gallery:
                continue
            changes = {}
            if (clean := scrubbed_job(job, marks)) != job:
                changes["payload"] = (fields["payload"], wire.to_json(clean))
                if fields.get("reason"):
                    changes["reason"] = (fields["reason"], "")
            for field, text in fields.items():
                if field.startswith("d:"):
                    decision = wire.from_json(Decision, text)
                    if is_of(decision, marks):
                        changes[field] = (text, wire.to_json(replace(decision.expire(), label=None, image="forgotten")))
                    elif (blotted := scrubbed(decision, marks)) != decision:
                        changes[field] = (text, wire.to_json(blotted))
            if changes and self._erasure.amend_job(job_id, changes):
                done.setdefault(Kind.OPEN_JOBS, set()).add(job_id)
            if fields.get("stage") == Stage.STARTED:
                busy.append(f"job {job_id}")
        return busy

    def _clear_results(
        self, gallery: str, pending: Pending, marks: Marks, place: str, done: dict[Kind, set[str]]
    ) -> Pending:
        # Twice over: first which pictures are meant, then the pictures, and only then what tells of them.
        probes = set(pending.probes)
        for _, text in self._erasure.results("0-0", gallery):
            decision = _read(text)
            if decision is not None and is_of(decision, marks):
                probes.add(decision.image)
        pending = replace(pending, probes=tuple(sorted(probes - set(pending.images))))
        self._erasure.note(place, pending)
        self._delete_images(pending, done)
        for entry_id, text in self._erasure.results("0-0", gallery):
            decision = _read(text)
            if text is None or decision is None:
                continue
            if is_of(decision, marks):
                if self._erasure.amend_result(entry_id, text, ""):
                    done.setdefault(Kind.RESULTS, set()).add(entry_id)
                continue
            blotted = scrubbed(decision, marks)
            if blotted != decision and self._erasure.amend_result(entry_id, text, wire.to_json(blotted)):
                done.setdefault(Kind.NAMED, set()).add(entry_id)
        return pending

    def _clear_letters(self, gallery: str, marks: Marks, done: dict[Kind, set[str]]) -> None:
        for dead_id, text in self._erasure.dead_letters():
            try:
                letter = wire.from_json(DeadLetter, text)
            except JobRejected:
                continue
            clean = scrubbed_letter(letter, gallery, marks)
            if clean != letter and self._erasure.amend_letter(dead_id, text, wire.to_json(clean) if clean else ""):
                done.setdefault(Kind.DEAD_LETTERS, set()).add(dead_id)

    def _delete_images(self, pending: Pending, done: dict[Kind, set[str]]) -> None:
        # A picture that somebody else was enrolled from is his too, and stays.
        used = self._erasure.in_use({*pending.images, *pending.probes})
        for kind, keys in ((Kind.ENROLMENT_IMAGES, pending.images), (Kind.PROBE_IMAGES, pending.probes)):
            for each in keys:
                if each not in used:
                    self._store.delete(each)
                    done.setdefault(kind, set()).add(each)

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
        listed = (Kind.ENROLMENT_IMAGES, Kind.PROBE_IMAGES, Kind.RESULTS, Kind.NAMED, Kind.OPEN_JOBS, Kind.DEAD_LETTERS)
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


def _read(text: str | None) -> Decision | None:
    try:
        return None if text is None else wire.from_json(Decision, text)
    except JobRejected:
        # Of a newer version: not ours to judge. The checker names it if it tells of the person.
        return None
