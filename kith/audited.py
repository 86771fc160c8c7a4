"""A gallery store whose changes stand in the audit log, with who made them.

A change is recorded when it is made and its sequence number known; what shows people to somebody, and what cannot be
undone, before it is done. A call is one entry, however many templates it enrols. What workers read all the time
(snapshots for their copies, changes) goes by the store itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from kith.audit import Action, AuditLog, Deed, Detail
from kith.enrolment import Enrolment, Introduction
from kith.errors import UnknownGallery
from kith.gallery import Dropped, Forgotten, GalleryInfo, GallerySettings, GalleryStore, Snapshot, SubjectDetail
from kith.jobs import now_ms


class AuditedGalleryStore:
    """A GalleryStore. by: the actor. Every verb that records may raise what the audit log does; a change may then have
    been made already."""

    def __init__(self, store: GalleryStore, audit: AuditLog, by: str) -> None:
        self._store, self._audit, self._by = store, audit, by
        #: Galleries that are there, and their epochs.
        self._known: dict[str, str] = {}

    def __getattr__(self, verb: str) -> Any:
        # What changes nothing and shows nobody.
        return getattr(self._store, verb)

    def create(
        self, name: str, *, model_id: str, dimension: int, settings: GallerySettings | None = None
    ) -> GalleryInfo:
        # Workers ask for their gallery with every job.
        if name not in self._known:
            with suppress(UnknownGallery):
                self._known[name] = self._store.info(name).epoch
        known, began_ms = self._known.get(name), now_ms()
        info = self._store.create(name, model_id=model_id, dimension=dimension, settings=settings)
        self._known[name] = info.epoch
        # One that was known and dropped since may have been made anew by somebody else: this clock tells.
        if known is None or (known != info.epoch and info.created_ms >= began_ms):
            self._record(Action.CREATED, name, detail={"model": model_id})
        return info

    def configure(self, name: str, settings: GallerySettings, *, over: GalleryInfo | None = None) -> int:
        return self._change(Action.CONFIGURED, name, lambda: self._store.configure(name, settings, over=over))

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        sequences = self._store.enrol(name, enrolments)
        if sequences:
            people = len({enrolment.subject for enrolment in enrolments})
            # Of several people the journal tells, from the first number to the last.
            subject_id = self._about(name, max(sequences)) if people == 1 else None
            detail = {"templates": len(sequences), "subjects": people, "first": min(sequences)}
            self._record(Action.ENROLLED, name, subject_id, max(sequences), detail)
        return sequences

    def introduce(self, name: str, subject: str, introduction: Introduction) -> int | None:
        sequence = self._store.introduce(name, subject, introduction)
        if sequence is not None:
            detail = {"templates": 0, "subjects": 1}
            self._record(Action.ENROLLED, name, self._about(name, sequence), sequence, detail)
        return sequence

    def remove(self, name: str, subject: str, template_ids: Sequence[str]) -> int:
        count = {"templates": len(template_ids)}
        return self._change(Action.REMOVED, name, lambda: self._store.remove(name, subject, template_ids), count)

    def move(self, name: str, subject: str, template_ids: Sequence[str], to: str) -> int:
        count = {"templates": len(template_ids)}
        return self._change(Action.MOVED, name, lambda: self._store.move(name, subject, template_ids, to), count)

    def merge(self, name: str, subject: str, into: str) -> int:
        return self._change(Action.MOVED, name, lambda: self._store.merge(name, subject, into), {"merge": True})

    def rename(self, name: str, old: str, new: str) -> int:
        return self._change(Action.RENAMED, name, lambda: self._store.rename(name, old, new))

    def describe(
        self,
        name: str,
        subject: str,
        *,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        over: SubjectDetail | None = None,
    ) -> int:
        return self._change(
            Action.DESCRIBED,
            name,
            lambda: self._store.describe(name, subject, external_id=external_id, metadata=metadata, over=over),
        )

    def undo(self, name: str, sequence: int) -> int:
        return self._change(Action.UNDONE, name, lambda: self._store.undo(name, sequence), {"undone": sequence})

    def show(self, name: str, subject: str) -> SubjectDetail:
        detail = self._store.show(name, subject)
        # Before it is handed out: what cannot be recorded is not shown.
        self._record(Action.LOOKED, name, detail.subject_id, detail={"verb": "show"})
        return detail

    def catalogue(self, name: str, *, vectors: bool = False) -> Any:
        self._record(Action.LOOKED, name, detail={"verb": "export", "vectors": vectors})
        return self._store.catalogue(name, vectors=vectors)

    def snapshot(self, name: str) -> Snapshot:
        self._store.info(name)
        self._record(Action.LOOKED, name, detail={"verb": "snapshot"})
        return self._store.snapshot(name)

    def forget(self, name: str, subject: str, *, only: Collection[str] = ()) -> Forgotten:
        about = [each for each in self._store.ids(name, subject) if not only or each in only]
        for each in about:
            self._record(Action.FORGOT, name, each, detail={"stage": "begun"})
        # No more than is recorded, whoever may have got the name meanwhile.
        gone = self._store.forget(name, subject, only=about or only)
        for each in about:
            vectors = gone.templates if each == gone.subject_id else 0
            self._record(Action.FORGOT, name, each, gone.sequence, {"stage": "done", "vectors": vectors})
        return gone

    def drop(self, name: str, epoch: str) -> Dropped:
        if self._store.info(name).epoch == epoch:
            self._record(Action.FORGOT, name, detail={"stage": "begun", "gallery": epoch})
        gone = self._store.drop(name, epoch)
        self._record(Action.FORGOT, name, None, gone.sequence, {"stage": "done", "gallery": epoch, **asdict(gone)})
        return gone

    def _change(self, action: Action, name: str, make: Callable[[], int], detail: Detail | None = None) -> int:
        sequence = make()
        self._record(action, name, self._about(name, sequence), sequence, detail)
        return sequence

    def _about(self, name: str, sequence: int) -> str | None:
        """The id of whom a change is about; None for nobody, or when it was trimmed or forgotten meanwhile."""
        found = self._store.history(name, before=sequence + 1, limit=1)
        return (found[0].subject_id or None) if found and found[0].sequence == sequence else None

    def _record(
        self,
        action: Action,
        name: str,
        subject_id: str | None = None,
        sequence: int | None = None,
        detail: Detail | None = None,
    ) -> None:
        self._audit.record(Deed(self._by, action, name, subject_id, sequence, dict(detail or {})))
