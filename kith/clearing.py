"""Takes a person who is forgotten out of what is recorded: open jobs, results, dead letters, pictures. Each may be done
again, and is: what is recorded meanwhile may tell of the person too."""

from collections.abc import Callable
from dataclasses import replace

from kith import wire
from kith.erasure import Erasure, asked_about
from kith.errors import JobRejected
from kith.holdings import Marks, Pending
from kith.imagestore import ImageStore
from kith.jobs import Decision, EmbedJob
from kith.ledger import DeadLetter, Stage
from kith.receipts import Kind
from kith.scrubbing import is_of, scrubbed, scrubbed_job, scrubbed_letter


class Clearing:
    """Of one gallery. done: kind → what was erased or rewritten. left: pictures that stay only until open jobs that ask
    about them are done. Raises StateUnavailable, StoreUnavailable."""

    def __init__(self, erasure: Erasure, store: ImageStore, gallery: str) -> None:
        self._erasure, self._store, self._gallery = erasure, store, gallery
        self.done: dict[Kind, set[str]] = {}
        self.left: set[str] = set()

    def jobs(self, marks: Marks) -> list[str]:
        """Cross the person out of open jobs; those that a worker has in hand, whose decisions are yet to come."""
        busy = []
        for job_id, fields in self._erasure.open_jobs():
            try:
                job = wire.from_json(EmbedJob, fields.get("payload", ""))
            except JobRejected:
                # No worker can read it either: it becomes a dead letter.
                continue
            if job.gallery != self._gallery:
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
                self.done.setdefault(Kind.OPEN_JOBS, set()).add(job_id)
            if fields.get("stage") == Stage.STARTED:
                busy.append(f"job {job_id}")
        return busy

    def results(self, pending: Pending, marks: Marks, note: Callable[[Pending], None]) -> Pending:
        """Erase decisions about the person with the pictures that were asked about; take the name out of others. note:
        keeps how far it has come; what it was told last is the answer."""
        # Twice over: first which pictures are meant, then the pictures, and only then what tells of them.
        probes = set(pending.probes)
        for _, text in self._erasure.results("0-0", self._gallery):
            decision = _read(text)
            if decision is not None and is_of(decision, marks):
                probes.add(decision.image)
        pending = replace(pending, probes=tuple(sorted(probes - set(pending.images))))
        note(pending)
        self.images(pending)
        for entry_id, text in self._erasure.results("0-0", self._gallery):
            decision = _read(text)
            if text is None or decision is None:
                continue
            if is_of(decision, marks):
                if self._erasure.amend_result(entry_id, text, ""):
                    self.done.setdefault(Kind.RESULTS, set()).add(entry_id)
                continue
            blotted = scrubbed(decision, marks)
            if blotted != decision and self._erasure.amend_result(entry_id, text, wire.to_json(blotted)):
                self.done.setdefault(Kind.NAMED, set()).add(entry_id)
        return pending

    def letters(self, marks: Marks) -> None:
        """Rewrite dead letters, or drop them."""
        for dead_id, text in self._erasure.dead_letters():
            try:
                letter = wire.from_json(DeadLetter, text)
            except JobRejected:
                continue
            clean = scrubbed_letter(letter, self._gallery, marks)
            if clean != letter and self._erasure.amend_letter(dead_id, text, wire.to_json(clean) if clean else ""):
                self.done.setdefault(Kind.DEAD_LETTERS, set()).add(dead_id)

    def images(self, pending: Pending) -> None:
        """Delete pictures."""
        # He is crossed out of the jobs of his gallery. One that still asks about a picture is another gallery's, or was
        # handed in since, with the picture: it would fail without.
        asked = asked_about(self._erasure)
        # A picture that somebody else was enrolled from is his too, and stays.
        used = self._erasure.in_use({*pending.images, *pending.probes})
        self.left = asked.intersection((*pending.images, *pending.probes)) - used
        self._erasure.spare(self.left)
        used |= asked
        for kind, keys in ((Kind.ENROLMENT_IMAGES, pending.images), (Kind.PROBE_IMAGES, pending.probes)):
            for each in keys:
                if each not in used:
                    self._store.delete(each)
                    self.done.setdefault(kind, set()).add(each)


def _read(text: str | None) -> Decision | None:
    try:
        return None if text is None else wire.from_json(Decision, text)
    except JobRejected:
        # Of a newer version: not ours to judge. The checker names it if it tells of the person.
        return None
