"""The open jobs and dead letters of a gallery that is being forgotten: `GalleryJobs`.

They end, rather than be crossed out: a job to enrol that went on would make a gallery of the name anew.
"""

import json
from collections.abc import Iterator
from contextlib import suppress

from kith import wire
from kith.erasure import DIGEST, Erasure
from kith.errors import JobRejected, TooLate
from kith.gone import GoneGalleries
from kith.imagestore import key_of
from kith.ledger import DeadLetter, Ledger, Stage


class GalleryJobs:
    """Raises StateUnavailable."""

    def __init__(self, erasure: Erasure, ledger: Ledger, gone: GoneGalleries, gallery: str, epoch: str) -> None:
        self._erasure, self._ledger, self._gone = erasure, ledger, gone
        self._gallery, self._epoch = gallery, epoch
        self._ended = 0

    def end(self, *, force: bool = False) -> list[str]:
        """End all that nobody has in hand; those that somebody has, unless with `force` these end too: what is decided
        about them is then published nowhere. Their pictures are noted before (GoneGalleries.ask)."""
        busy = []
        for job_id, fields in self._erasure.open_jobs():
            payload = fields.get("payload", "")
            if _about(payload)[0] != self._gallery:
                continue
            self._gone.ask(self._epoch, {key_of(digest) for digest in DIGEST.findall(payload)})
            try:
                self._ended += self._ledger.cancel(job_id, force=force or fields.get("stage") == Stage.SAVED)
            except TooLate:
                busy.append(f"job {job_id}")
        return busy

    def counted(self) -> int:
        """How many have ended since this was last asked."""
        ended, self._ended = self._ended, 0
        return ended

    def letters(self) -> Iterator[tuple[str, str, set[str]]]:
        """Its dead letters: id, text as it stands, pictures."""
        for dead_id, text, letter in self._letters():
            yield dead_id, text, {key_of(digest) for digest in DIGEST.findall(letter.payload)}

    def left(self, until_ms: int) -> Iterator[str]:
        """Open jobs and dead letters of jobs handed in by then."""
        for job_id, fields in self._erasure.open_jobs():
            gallery, created_ms = _about(fields.get("payload", ""))
            if gallery == self._gallery and created_ms <= until_ms:
                yield f"job {job_id}"
        for dead_id, _, letter in self._letters():
            if _about(letter.payload)[1] <= until_ms:
                yield f"dead letter {dead_id}"

    def _letters(self) -> Iterator[tuple[str, str, DeadLetter]]:
        for dead_id, text in self._erasure.dead_letters():
            with suppress(JobRejected):
                letter = wire.from_json(DeadLetter, text)
                if _about(letter.payload)[0] == self._gallery:
                    yield dead_id, text, letter


def _about(payload: str) -> tuple[str, int]:
    """The gallery of a job and when it was handed in, also of one that no worker can read."""
    try:
        told = json.loads(payload)
        return str(told["gallery"]), int(told.get("created_ms", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", 0
