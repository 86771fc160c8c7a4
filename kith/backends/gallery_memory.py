"""Galleries in one process: for embedding Kith where there is no Redis, and for tests. Nothing survives the process."""

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kith.errors import ModelMismatch, NameTaken, UnknownGallery, UnknownSubject
from kith.gallery import (
    Change,
    Enrolment,
    Forgotten,
    GalleryInfo,
    Op,
    Snapshot,
    SubjectDetail,
    SubjectInfo,
    TemplateInfo,
    check_cutoff,
    check_enrolments,
)
from kith.jobs import now_ms
from kith.names import gallery_name, subject_name


@dataclass(slots=True)
class _Subject:
    name: str
    created_ms: int
    templates: list[TemplateInfo] = field(default_factory=list)


@dataclass(slots=True)
class _Gallery:
    state: Snapshot
    created_ms: int
    log: list[Change] = field(default_factory=list)
    trimmed: int = 0
    next_slot: int = 0
    free: list[int] = field(default_factory=list)
    subjects: dict[str, _Subject] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)

    def add(self, change: Change) -> int:
        self.log.append(change)
        self.state.apply([change])
        return change.sequence

    @property
    def next_sequence(self) -> int:
        return self.state.sequence + 1

    def after(self, sequence: int, limit: int) -> list[Change]:
        if sequence < self.trimmed:
            return [Change(sequence, Op.RELOAD)]
        # The log has no holes, so a sequence number is a position.
        start = sequence - self.trimmed
        return self.log[start : start + limit]


class MemoryGalleryStore:
    """GalleryStore behind one lock; whoever waits for changes waits on it."""

    def __init__(self) -> None:
        self._galleries: dict[str, _Gallery] = {}
        self._changed = threading.Condition()

    def create(self, name: str, *, model_id: str, dimension: int, cutoff: float | None = None) -> GalleryInfo:
        gallery_name(name)
        check_cutoff(cutoff)
        with self._changed:
            if name not in self._galleries:
                state = Snapshot(name, model_id, dimension, uuid.uuid4().hex, cutoff=cutoff)
                self._galleries[name] = _Gallery(state, now_ms())
            info = self._info(name)
        if (info.model_id, info.dimension) != (model_id, dimension):
            raise ModelMismatch(
                f"gallery {name} is of model {info.model_id} ({info.dimension} numbers), not {model_id} ({dimension})"
            )
        return info

    def info(self, name: str) -> GalleryInfo:
        with self._changed:
            return self._info(name)

    def galleries(self) -> list[GalleryInfo]:
        with self._changed:
            return [self._info(name) for name in sorted(self._galleries)]

    def set_cutoff(self, name: str, cutoff: float | None) -> int:
        check_cutoff(cutoff)
        with self._changed:
            gallery = self._gallery(name)
            sequence = gallery.add(Change(gallery.next_sequence, Op.CUTOFF, now_ms(), cutoff=cutoff))
            self._changed.notify_all()
            return sequence

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        subjects = [subject_name(enrolment.subject) for enrolment in enrolments]
        with self._changed:
            gallery = self._gallery(name)
            check_enrolments(name, gallery.state.model_id, gallery.state.dimension, enrolments)
            sequences = [self._enrol(gallery, *pair) for pair in zip(subjects, enrolments, strict=True)]
            self._changed.notify_all()
            return sequences

    def subjects(self, name: str) -> list[SubjectInfo]:
        with self._changed:
            found = [
                SubjectInfo(subject_id, subject.name, len(subject.templates), subject.created_ms)
                for subject_id, subject in self._gallery(name).subjects.items()
            ]
        return sorted(found, key=lambda subject: subject.name)

    def show(self, name: str, subject: str) -> SubjectDetail:
        with self._changed:
            gallery = self._gallery(name)
            subject_id = _id_of(name, gallery, subject)
            known = gallery.subjects[subject_id]
            return SubjectDetail(subject_id, known.name, known.created_ms, tuple(known.templates))

    def rename(self, name: str, old: str, new: str) -> int:
        clean = subject_name(new)
        with self._changed:
            gallery = self._gallery(name)
            subject_id = _id_of(name, gallery, old)
            known = gallery.subjects[subject_id]
            if clean == known.name:
                return gallery.state.sequence
            if clean in gallery.ids:
                raise NameTaken(f"another subject of gallery {name} is called {new!r}")
            del gallery.ids[known.name]
            gallery.ids[clean], known.name = subject_id, clean
            sequence = gallery.add(Change(gallery.next_sequence, Op.RENAME, now_ms(), subject_id, clean))
            self._changed.notify_all()
            return sequence

    def forget(self, name: str, subject: str) -> Forgotten:
        with self._changed:
            gallery = self._gallery(name)
            subject_id = _id_of(name, gallery, subject)
            known = gallery.subjects.pop(subject_id)
            del gallery.ids[known.name]
            for template in known.templates:
                del gallery.sequences[template.template_id]
                gallery.free.append(template.slot)
            gallery.log = [
                Change(change.sequence, Op.FORGET, change.at_ms, subject_id, early=True)
                if change.subject_id == subject_id
                else change
                for change in gallery.log
            ]
            sequence = gallery.add(Change(gallery.next_sequence, Op.FORGET, now_ms(), subject_id))
            self._changed.notify_all()
        images = tuple(sorted({template.image for template in known.templates}))
        return Forgotten(sequence, subject_id, known.name, len(known.templates), images)

    def snapshot(self, name: str) -> Snapshot:
        with self._changed:
            state = self._gallery(name).state
            return replace(
                state,
                blocks=[block.copy() for block in state.blocks],
                owners=dict(state.owners),
                names=dict(state.names),
            )

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        return self.changes_many({name: after}, block_ms=block_ms, limit=limit).get(name, [])

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000
    ) -> dict[str, list[Change]]:
        deadline = time.monotonic() + block_ms / 1000
        with self._changed:
            while True:
                found = {
                    name: changes
                    for name, sequence in after.items()
                    if name in self._galleries and (changes := self._galleries[name].after(sequence, limit))
                }
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                self._changed.wait(left)

    def trim(self, name: str, keep_s: float) -> int:
        before_ms = now_ms() - int(keep_s * 1000)
        with self._changed:
            gallery = self._gallery(name)
            # The newest entry stays, so that whoever is behind is always told.
            old = 0
            while old < len(gallery.log) - 1 and gallery.log[old].at_ms < before_ms:
                old += 1
            del gallery.log[:old]
            gallery.trimmed += old
            return old

    def incarnation(self) -> str:
        return "one process"

    def _gallery(self, name: str) -> _Gallery:
        try:
            return self._galleries[name]
        except KeyError:
            raise UnknownGallery(f"there is no gallery {name}") from None

    def _info(self, name: str) -> GalleryInfo:
        gallery = self._gallery(name)
        state = gallery.state
        counts = (len(gallery.subjects), len(state.owners))
        return GalleryInfo(
            *(name, state.model_id, state.dimension, state.sequence, *counts, state.cutoff),
            created_ms=gallery.created_ms,
            epoch=state.epoch,
        )

    def _enrol(self, gallery: _Gallery, subject: str, enrolment: Enrolment) -> int:
        known = gallery.sequences.get(enrolment.template_id)
        if known is not None:
            return known
        at_ms, sequence = now_ms(), gallery.next_sequence
        subject_id = gallery.ids.setdefault(subject, uuid.uuid4().hex[:16])
        slot = gallery.free.pop() if gallery.free else gallery.next_slot
        gallery.next_slot = max(gallery.next_slot, slot + 1)
        template = TemplateInfo(enrolment.template_id, slot, enrolment.image, float(enrolment.quality), at_ms, sequence)
        gallery.subjects.setdefault(subject_id, _Subject(subject, at_ms)).templates.append(template)
        gallery.sequences[enrolment.template_id] = sequence
        return gallery.add(
            Change(
                *(sequence, Op.ENROL, at_ms, subject_id, subject),
                *(slot, template.template_id, template.image, template.quality),
                # A copy: the caller may go on to use his array for the next face.
                vector=enrolment.vector.copy(),
            )
        )


def _id_of(name: str, gallery: _Gallery, subject: str) -> str:
    try:
        return gallery.ids[subject_name(subject)]
    except KeyError:
        raise UnknownSubject(f"nobody is called {subject!r} in gallery {name}") from None
