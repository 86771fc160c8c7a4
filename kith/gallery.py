"""Who is known: subjects, their templates and the store that keeps them. The protocol and its pure part.

A gallery holds subjects; a subject has a stable id, a name that may change, and one or more templates (unit vectors of
one model). Every change takes the next sequence number of its gallery, is atomic, and stands in the gallery's log.
Implemented in kith.backends for Redis and for a single process; one contract suite tests both.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from kith.catalogue import Catalogue
from kith.enrolment import Enrolment, Introduction, check_enrolments, template_id
from kith.errors import Retryable
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS, Change, Op, Snapshot
from kith.keys import KeyRing, KeyStore
from kith.subjects import Dropped, Forgotten, GalleryInfo, HistoryEntry, SubjectDetail, SubjectInfo, TemplateInfo

__all__ = [
    "BLOCK_ROWS",
    "BeingForgotten",
    "Catalogue",
    "Change",
    "Dropped",
    "Enrolment",
    "Forgotten",
    "GalleryDamaged",
    "GalleryInfo",
    "GallerySettings",
    "GalleryStore",
    "HistoryEntry",
    "Introduction",
    "Op",
    "Snapshot",
    "SubjectDetail",
    "SubjectInfo",
    "TemplateInfo",
    "check_enrolments",
    "template_id",
]


class GalleryDamaged(Retryable):
    """What the store keeps of a gallery cannot be read; jobs wait until it is restored, other galleries go on."""


class BeingForgotten(Retryable):
    """A gallery of that name is being forgotten; none can be made meanwhile."""


class GalleryStore(Protocol):
    """Where galleries live. Safe to call from many threads and processes.

    Names of subjects are normalised by kith.names.subject_name wherever they enter (InvalidName). Every method may
    raise StateUnavailable; those that add something may raise StateFull and have then changed nothing.
    """

    def create(
        self, name: str, *, model_id: str, dimension: int, settings: GallerySettings | None = None
    ) -> GalleryInfo:
        """Create the gallery, or answer with the one that exists (its settings stay).

        Raises InvalidName; ModelMismatch when it exists with another model or dimension; BeingForgotten.
        """
        ...

    def info(self, name: str) -> GalleryInfo:
        """Raises UnknownGallery, GalleryDamaged."""
        ...

    def galleries(self) -> list[GalleryInfo]:
        """All galleries by name, without those that were damaged."""
        ...

    def configure(self, name: str, settings: GallerySettings, *, over: GalleryInfo | None = None) -> int:
        """Give the gallery other settings, all of them; the sequence number.

        over: what `settings` were decided on by; ChangedMeanwhile when its settings or model are others by now
        (kith.amending begins again then). Raises UnknownGallery.
        """
        ...

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        """Add templates; the sequence number of each, in order.

        What follows one another for the same subject is one change; it is atomic, a batch of several is not: another
        client's change may come between. A template whose id is already there is not added again, its first sequence
        number is the answer. Nothing is written when one of the batch is refused: InvalidTemplate, ModelMismatch,
        InvalidName, UnknownGallery. After StateUnavailable or StateFull a part may have been written, as before
        NameTaken, when somebody has the external id of an introduction; the same call again completes it.
        """
        ...

    def introduce(self, name: str, subject: str, introduction: Introduction) -> int | None:
        """Add a subject without templates; the sequence number. Where somebody is called so nothing changes: None.

        Raises UnknownGallery, InvalidName, NameTaken (another subject has that external id).
        """
        ...

    def remove(self, name: str, subject: str, template_ids: Sequence[str]) -> int:
        """Take templates from a subject, who stays even without any; the sequence number.

        Their vectors stay in the journal, for undoing, until it is trimmed: `forget` is what erases. Raises
        UnknownGallery, UnknownSubject, UnknownTemplate.
        """
        ...

    def move(self, name: str, subject: str, template_ids: Sequence[str], to: str) -> int:
        """Give templates of a subject to another, who is created when nobody is called `to` (a split).

        Raises UnknownGallery, UnknownSubject, UnknownTemplate, SameSubject.
        """
        ...

    def merge(self, name: str, subject: str, into: str) -> int:
        """Give all templates of `subject` to `into`; `subject` is no more. Raises as `move`."""
        ...

    def describe(
        self,
        name: str,
        subject: str,
        *,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        over: SubjectDetail | None = None,
    ) -> int:
        """Set both what the caller calls the subject, unique in the gallery, and his notes on him.

        over: what was decided on by; ChangedMeanwhile when either is another by now, or the name somebody else's.
        Raises UnknownGallery, UnknownSubject, NameTaken (another subject has that external id), InvalidName.
        """
        ...

    def by_external_id(self, name: str, external_id: str) -> str:
        """The name of the subject with this external id. Raises UnknownGallery, UnknownSubject."""
        ...

    def history(self, name: str, *, before: int | None = None, limit: int = 100) -> list[HistoryEntry]:
        """Changes, newest first, those below sequence number `before`; back to where the log was trimmed.

        Raises UnknownGallery.
        """
        ...

    def undo(self, name: str, sequence: int) -> int:
        """Take a change back by a change; its sequence number. An undo can be undone.

        Raises UnknownGallery; CannotUndo when the log does not reach back that far, when what the change left behind
        has been changed since, when somebody it tells of was forgotten, and for a forget itself.
        """
        ...

    def subjects(self, name: str) -> list[SubjectInfo]:
        """All subjects by name. Raises UnknownGallery."""
        ...

    def show(self, name: str, subject: str) -> SubjectDetail:
        """One subject by name. Raises UnknownGallery, UnknownSubject."""
        ...

    def catalogue(self, name: str, *, vectors: bool = False) -> Catalogue:
        """Everybody with their templates at one sequence number, without stopping anybody; with `vectors` those too, as
        much memory as the gallery has. Raises UnknownGallery."""
        ...

    def rename(self, name: str, old: str, new: str) -> int:
        """Give a subject another name, its id stays; the sequence number. The same name again changes nothing.

        Raises UnknownGallery, UnknownSubject, NameTaken.
        """
        ...

    def ids(self, name: str, subject: str) -> list[str]:
        """The ids of those whom `forget` would forget: whoever is called so, first, and those who ended under that name
        (their enrolment was undone, or they were merged into another), as far as the journal tells.

        Raises UnknownGallery, UnknownSubject.
        """
        ...

    def forgettable(self, name: str, subject: str) -> list[str]:
        """The ids of the templates that `forget` would remove, whoever has them by now; changes nothing.

        Raises UnknownGallery, UnknownSubject.
        """
        ...

    def forget(self, name: str, subject: str, *, only: Collection[str] = ()) -> Forgotten:
        """Remove whoever is called `subject`, and those who ended under that name, with their vectors, from the gallery
        and from the journal, in one change. Works when memory is full.

        Whoever was merged into another takes the templates along that were enrolled as his. only: of these ids; none
        for all. Raises UnknownGallery, UnknownSubject.
        """
        ...

    def drop(self, name: str, epoch: str) -> Dropped:
        """End the gallery `name` whose epoch this is: all of it, in one moment, its journal too. Works when memory is
        full. Which pictures it told of is kept aside until they are deleted (kith.erasure).

        Raises UnknownGallery, also where another gallery has the name by now.
        """
        ...

    def snapshot(self, name: str) -> Snapshot:
        """The whole gallery at one sequence number, without stopping anybody. Raises UnknownGallery, GalleryDamaged."""
        ...

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        """At most `limit` changes that follow sequence number `after`, in order.

        Waits up to `block_ms` for the first one; 0 does not wait. A single RELOAD when the log no longer reaches back
        to `after`: take a snapshot. Empty for an unknown gallery.
        """
        ...

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000, likely: Collection[str] = ()
    ) -> dict[str, list[Change]]:
        """`changes` of many galleries, waiting for all at once; galleries without news are left out. likely: those
        that probably have some, of which it is the quicker way; it does not wait then."""
        ...

    def trim(self, name: str, keep_s: float) -> int:
        """Drop log entries older than `keep_s` seconds, never the newest one; how many. Raises UnknownGallery."""
        ...

    def reseal(self, name: str, ring: KeyRing, keys: KeyStore) -> int:
        """Seal every vector of an encrypted gallery by the newest key of `ring`, of `keys`, while everybody goes on;
        how many were. Then nothing needs the older keys, and nobody writes by them. Interrupted, the same call goes on.

        Raises UnknownGallery, UnknownKey, KeysUnavailable.
        """
        ...

    def incarnation(self) -> str:
        """A word that changes when the store may have lost its newest changes (it was restarted, or another server
        answers now): whoever followed the log then has to load afresh."""
        ...
