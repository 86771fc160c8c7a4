"""From stranger to subject, or to nobody: the verbs that need more than the watcher.

Naming enrols from crops that are kept, so it needs the embed workers; forgetting reaches events, decisions, pictures.
"""

from collections.abc import Callable, Sequence

from kith.audit import Action, AuditLog, Deed
from kith.erasure import Erasure
from kith.errors import Rejected
from kith.gallery import GalleryStore
from kith.imagestore import ImageStore
from kith.jobs import Decision, ImageRef, Outcome
from kith.watching.desk import Desk
from kith.watching.erasing import ForgottenStranger, WatchedErasure
from kith.watching.events import stranger_name

#: Gallery, subject and aligned crops that are stored → the decisions of an enrolment.
Enrol = Callable[[str, str, Sequence[ImageRef]], list[Decision]]


class Acquaintance:
    """desk: has the verbs that the watcher does alone. by: who acts, for the audit log."""

    def __init__(
        self,
        desk: Desk,
        watched: WatchedErasure,
        *,
        enrol: Enrol,
        galleries: GalleryStore,
        erasure: Erasure,
        store: ImageStore,
        audit: AuditLog,
        by: str,
    ) -> None:
        self.desk = desk
        self._watched, self._enrol, self._galleries = watched, enrol, galleries
        self._erasure, self._store, self._audit, self._by = erasure, store, audit, by

    def name(self, gallery: str, number: int, subject: str) -> tuple[list[Decision], bool]:
        """Enrol a stranger from the crops that were kept, and have their visits told of again under the name.

        The decisions about the crops; and whether the watcher has done its part by now, else it will. Interrupted, the
        same call again completes it. Raises UnknownStranger, Rejected where no crop became a template, and what the
        enrolment does.
        """
        crops = self.desk.stranger(gallery, number).crops
        decisions = self._enrol(gallery, subject, [ImageRef(crop.image) for crop in crops])
        if not any(decision.outcome is Outcome.ENROLLED for decision in decisions):
            why = decisions[0].reason if decisions else "none of their crops is kept"
            raise Rejected(f"{stranger_name(number)} cannot be enrolled: {why}")
        known = self._galleries.show(gallery, subject)
        self._record(gallery, number, "named", known.subject_id)
        return decisions, self.desk.name(gallery, number, known.name, known.subject_id)

    def merge(self, gallery: str, one: int, other: int) -> tuple[int, bool]:
        """Two are one; the number that goes on, and whether it is done by now. Raises UnknownStranger."""
        kept, done = self.desk.merge(gallery, one, other)
        self._record(gallery, kept, "merged")
        return kept, done

    def ignore(self, gallery: str, number: int, ignored: bool) -> bool:
        """Tell of them no more, or again; whether it is done by now. Raises UnknownStranger."""
        done = self.desk.ignore(gallery, number, ignored)
        self._record(gallery, number, "ignored" if ignored else "told of again")
        return done

    def forget(self, gallery: str, number: int, wait_s: float = 20.0) -> ForgottenStranger:
        """Erase a stranger: views, crops, visits, events, decisions. Raises UnknownStranger."""
        self.desk.stranger(gallery, number)
        # Recorded first: what cannot be recorded is not done.
        self._audit.record(Deed(self._by, Action.FORGOT, gallery, detail={"stranger": number}))
        return self._watched.forget_stranger(gallery, number, self._erasure, self._store, wait_s)

    def _record(self, gallery: str, number: int, what: str, subject_id: str | None = None) -> None:
        detail: dict[str, str | int] = {"stranger": number, "what": what}
        self._audit.record(Deed(self._by, Action.STRANGER_CHANGED, gallery, subject_id, detail=detail))
