"""Takes all that a gallery had asked for out of open jobs and dead letters: `CrossingOut`.

Jobs stay, for whoever waits for them: each of their pictures is answered with `missing_image`, what was decided already
with `expired`. Dead letters, which nobody waits for, go.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from kith import wire
from kith.erasure import DIGEST, Erasure
from kith.errors import JobRejected
from kith.imagestore import key_of
from kith.jobs import Decision, EmbedJob
from kith.ledger import DeadLetter, Stage
from kith.scrubbing import FORGOTTEN, crossed_out


class CrossingOut:
    """Of one gallery. crossed_out, letters_gone: how many by now. Raises StateUnavailable."""

    def __init__(self, erasure: Erasure, gallery: str) -> None:
        self._erasure, self._gallery = erasure, gallery
        self.crossed_out = self.letters_gone = 0

    def in_hand(self, until_ms: int) -> list[str]:
        """Jobs that a worker is at, handed in by then: their decisions are yet to come."""
        return [f"job {job_id}" for job_id, fields, _ in self._jobs(until_ms) if fields.get("stage") == Stage.STARTED]

    def jobs(self, until_ms: int) -> set[str]:
        """Cross out open jobs that were handed in by then. The pictures they asked about, noted as Erasure.spare does:
        should nobody come to delete them, retention will."""
        pictures: set[str] = set()
        for job_id, fields, job in self._jobs(until_ms):
            asked = {image.key for image in job.images} - {FORGOTTEN}
            self._erasure.spare(asked)
            changes = dict(_crossed_out(fields, job))
            self.crossed_out += bool(changes) and self._erasure.amend_job(job_id, changes)
            pictures |= asked
        return pictures

    def letters(self, until_ms: int) -> Iterator[set[str]]:
        """The pictures of dead letters of jobs that were handed in by then, a letter at a time. It is dropped when the
        next is asked for: delete them first."""
        for dead_id, text, letter in self._letters(until_ms):
            yield {key_of(digest) for digest in DIGEST.findall(letter.payload)}
            self.letters_gone += self._erasure.amend_letter(dead_id, text, "")

    def left(self, until_ms: int) -> Iterator[str]:
        """Open jobs and dead letters of jobs handed in by then that tell of pictures still."""
        for job_id, _, job in self._jobs(until_ms):
            if any(image.key != FORGOTTEN for image in job.images):
                yield f"job {job_id}"
        for dead_id, _, _ in self._letters(until_ms):
            yield f"dead letter {dead_id}"

    def _letters(self, until_ms: int) -> Iterator[tuple[str, str, DeadLetter]]:
        for dead_id, text in self._erasure.dead_letters():
            try:
                letter = wire.from_json(DeadLetter, text)
            except JobRejected:
                continue
            gallery, created_ms = _about(letter.payload)
            if gallery == self._gallery and created_ms <= until_ms:
                yield dead_id, text, letter

    def _jobs(self, until_ms: int) -> Iterator[tuple[str, dict[str, str], EmbedJob]]:
        for job_id, fields in self._erasure.open_jobs():
            try:
                job = wire.from_json(EmbedJob, fields.get("payload", ""))
            except JobRejected:
                # No worker can read it either: it becomes a dead letter.
                continue
            if job.gallery == self._gallery and job.created_ms <= until_ms:
                yield job_id, fields, job


def _crossed_out(fields: Mapping[str, str], job: EmbedJob) -> Iterator[tuple[str, tuple[str, str]]]:
    """Field → as it is, as it is to be."""
    clean = replace(job, images=tuple(crossed_out(image) for image in job.images))
    if clean != job:
        yield "payload", (fields["payload"], wire.to_json(clean))
    if fields.get("reason"):
        yield "reason", (fields["reason"], "")
    for field, text in fields.items():
        if field.startswith("d:"):
            decision = wire.from_json(Decision, text)
            nothing = replace(decision.expire(), label=None, image=FORGOTTEN)
            if nothing != decision:
                yield field, (text, wire.to_json(nothing))


def _about(payload: str) -> tuple[str, int]:
    """The gallery of a job and when it was handed in, also where no worker could read the job."""
    try:
        told = json.loads(payload)
        return str(told["gallery"]), int(told.get("created_ms", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", 0
