"""What forgetting and retention need of whoever keeps the records: to find what tells of somebody, and to erase it."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from kith import wire
from kith.errors import JobRejected, UnknownWireVersion
from kith.holdings import Holdings, Pending
from kith.imagestore import key_of
from kith.jobs import EmbedJob

#: What a picture's key ends in, in the text of any job.
DIGEST = re.compile("/([0-9a-f]{64})")


class Erasure(Protocol):
    """Every method raises StateUnavailable. `amend_*` do nothing, and say so, when the record is not as it was seen; an
    empty text erases it."""

    def holdings(self, gallery: str, subject: str) -> Holdings:
        """All that a gallery holds of a subject. Raises UnknownGallery, UnknownSubject."""
        ...

    def in_use(self, images: Collection[str]) -> set[str]:
        """Which of these pictures a template of any gallery was made of, one that undoing could bring back included."""
        ...

    def mentioned(self, images: Collection[str]) -> set[str]:
        """Which of these pictures anything that is kept tells of: galleries and their journals, jobs, dead letters,
        decisions, events, what is known of cameras. Judged searches do not count: they do without the picture. Reads
        everything."""
        ...

    def results(self, after: str, gallery: str, until: str = "+") -> Iterator[tuple[str, str | None]]:
        """Decisions (JSON) of a gallery that were published after entry `after`, with their entry ids. A None instead
        of a decision says that everything up to its id was handed out."""
        ...

    def open_jobs(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Open jobs by id: payload, stage, reason, and d:0 … where decided."""
        ...

    def open_job_ids(self) -> set[str]:
        """Of all open jobs, at one moment."""
        ...

    def open_job(self, job_id: str) -> dict[str, str]:
        """One of them, as `open_jobs`; empty when it is no more."""
        ...

    def dead_letters(self) -> Iterator[tuple[str, str]]:
        """Dead letters (JSON) by id."""
        ...

    def amend_job(self, job_id: str, changes: Mapping[str, tuple[str, str]]) -> bool:
        """Field → (text as seen, text to be)."""
        ...

    def amend_letter(self, dead_id: str, seen: str, text: str) -> bool:
        """A dead letter."""
        ...

    def amend_result(self, entry_id: str, seen: str, text: str) -> bool:
        """A decision among the results. Readers and groups go on as if nothing had happened."""
        ...

    def pending(self, place: str) -> Pending | None:
        """A forgetting that was interrupted."""
        ...

    def note(self, place: str, pending: Pending | None) -> None:
        """How far a forgetting has come; None when it is done."""
        ...

    def forget_pending(self, epoch: str) -> None:
        """Drop the notes of forgettings in the gallery of that epoch: it is no more."""
        ...

    def spare(self, images: Collection[str]) -> None:
        """Note pictures of somebody forgotten that stay only for open jobs: retention deletes them after those."""
        ...

    def spared(self) -> set[str]:
        """The pictures noted so."""
        ...

    def spare_no_more(self, images: Collection[str]) -> None:
        """They are deleted, or somebody else's by now."""
        ...

    def reached(self, what: str) -> str:
        """The entry up to which retention has looked."""
        ...

    def reach(self, what: str, entry_id: str) -> None:
        """Note it."""
        ...

    def values(self) -> Iterator[tuple[str, str, bytes]]:
        """Everything there is, in small pieces: key, place in it, value."""
        ...

    def widths(self, gallery: str) -> set[int]:
        """Bytes of a stored vector."""
        ...


def asked_about(erasure: Erasure) -> set[str]:
    """Pictures that open jobs have yet to be answered about. Ask before `in_use`: a job that ends in between has left
    its template by then. Raises StateUnavailable."""
    return {key for _, fields in erasure.open_jobs() for key in pictures_of(fields.get("payload", ""))}


def pictures_of(payload: str) -> set[str]:
    """Which pictures a job asks about that a worker can read."""
    try:
        return {image.key for image in wire.from_json(EmbedJob, payload).images}
    except UnknownWireVersion:
        # Newer workers can, while an installation moves to another version.
        return {key_of(digest) for digest in DIGEST.findall(payload)}
    except JobRejected:
        # No worker can: it becomes a dead letter.
        return set()
