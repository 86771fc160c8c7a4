"""What forgetting and retention need of whoever keeps the records: to find what tells of somebody, and to erase it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from kith.holdings import Holdings, Pending


class Erasure(Protocol):
    """Every method raises StateUnavailable. `amend_*` do nothing, and say so, when the record is not as it was seen; an
    empty text erases it."""

    def holdings(self, gallery: str, subject: str) -> Holdings:
        """All that a gallery holds of a subject. Raises UnknownGallery, UnknownSubject."""
        ...

    def in_use(self, images: Collection[str]) -> set[str]:
        """Which of these pictures a template of any gallery was made of, one that undoing could bring back included."""
        ...

    def results(self, after: str, gallery: str, until: str = "+") -> Iterator[tuple[str, str | None]]:
        """Decisions (JSON) of a gallery that were published after entry `after`, with their entry ids. A None instead
        of a decision says that everything up to its id was handed out."""
        ...

    def open_jobs(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Open jobs by id: payload, stage, reason, and d:0 … where decided."""
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
