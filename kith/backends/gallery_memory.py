"""Galleries in one process: for embedding Kith where there is no Redis, and for tests. Nothing survives the process."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

from kith.amending import description_changed, settings_changed
from kith.backends import gallery_memory_changes as changes
from kith.backends.gallery_memory_forget import forget, forgettable, ids
from kith.backends.gallery_memory_log import catalogue_of, changes_after, detail_of, info_of, state_of, told_of
from kith.backends.gallery_memory_state import MemoryGallery
from kith.backends.gallery_memory_undo import undo
from kith.enrolment import Introduction, check_description, check_enrolments, check_template_ids
from kith.errors import ModelMismatch, NameTaken, UnknownGallery, UnknownSubject
from kith.gallery import (
    Catalogue,
    Change,
    Dropped,
    Enrolment,
    Forgotten,
    GalleryInfo,
    HistoryEntry,
    Snapshot,
    SubjectDetail,
    SubjectInfo,
)
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.keys import KeyRing, KeyStore
from kith.names import gallery_name, subject_name


class MemoryGalleryStore:
    """GalleryStore behind one lock; whoever waits for changes waits on it."""

    def __init__(self) -> None:
        self._galleries: dict[str, MemoryGallery] = {}
        self._changed = threading.Condition()

    def create(
        self, name: str, *, model_id: str, dimension: int, settings: GallerySettings | None = None
    ) -> GalleryInfo:
        gallery_name(name)
        with self._changed:
            if name not in self._galleries:
                self._galleries[name] = MemoryGallery(name, model_id, dimension, settings or GallerySettings())
            info = info_of(self._galleries[name])
        if (info.model_id, info.dimension) != (model_id, dimension):
            raise ModelMismatch(
                f"gallery {name} is of model {info.model_id} ({info.dimension} numbers), not {model_id} ({dimension})"
            )
        return info

    def info(self, name: str) -> GalleryInfo:
        with self._changed:
            return info_of(self._gallery(name))

    def galleries(self) -> list[GalleryInfo]:
        with self._changed:
            return [info_of(self._galleries[name]) for name in sorted(self._galleries)]

    def configure(self, name: str, settings: GallerySettings, *, over: GalleryInfo | None = None) -> int:
        with self._changed:
            gallery = self._gallery(name)
            if over is not None and (gallery.settings, gallery.model_id) != (over.settings, over.model_id):
                raise settings_changed(name)
            sequence = changes.settle(gallery, settings)
            self._changed.notify_all()
            return sequence

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        subjects = [subject_name(enrolment.subject) for enrolment in enrolments]
        with self._changed:
            gallery = self._gallery(name)
            check_enrolments(name, gallery.model_id, gallery.dimension, enrolments)
            _check_introductions(gallery, subjects, enrolments)
            for subject, group in groupby(zip(subjects, enrolments, strict=True), key=lambda pair: pair[0]):
                changes.enrol(gallery, subject, [enrolment for _, enrolment in group])
            self._changed.notify_all()
            return [gallery.templates[each.template_id].info.sequence for each in enrolments]

    def introduce(self, name: str, subject: str, introduction: Introduction) -> int | None:
        check_description(introduction.external_id, introduction.metadata)
        with self._changed:
            gallery = self._gallery(name)
            if subject_name(subject) in gallery.numbers:
                return None
            _check_external(gallery, introduction.external_id)
            sequence = gallery.put(gallery.add(subject_name(subject), introduction), [], created=True)
            self._changed.notify_all()
            return sequence

    def remove(self, name: str, subject: str, template_ids: Sequence[str]) -> int:
        ids = check_template_ids(template_ids)
        with self._changed:
            gallery = self._gallery(name)
            sequence = gallery.remove(gallery.owned(subject_name(subject), ids), ids)
            self._changed.notify_all()
            return sequence

    def move(self, name: str, subject: str, template_ids: Sequence[str], to: str) -> int:
        ids = check_template_ids(template_ids)
        with self._changed:
            sequence = changes.transfer(self._gallery(name), subject_name(subject), ids, subject_name(to))
            self._changed.notify_all()
            return sequence

    def merge(self, name: str, subject: str, into: str) -> int:
        with self._changed:
            sequence = changes.merge(self._gallery(name), subject_name(subject), subject_name(into))
            self._changed.notify_all()
            return sequence

    def describe(
        self,
        name: str,
        subject: str,
        *,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        over: SubjectDetail | None = None,
    ) -> int:
        check_description(external_id, metadata)
        with self._changed:
            gallery = self._gallery(name)
            number = gallery.number(subject_name(subject))
            if over is not None and not gallery.records[number].is_noted_as(over):
                raise description_changed(name, subject)
            sequence = changes.describe(gallery, number, external_id, metadata or {})
            self._changed.notify_all()
            return sequence

    def by_external_id(self, name: str, external_id: str) -> str:
        with self._changed:
            gallery = self._gallery(name)
            if external_id not in gallery.external:
                raise UnknownSubject(f"nobody is called {external_id!r} in gallery {name}")
            return gallery.records[gallery.external[external_id]].name

    def history(self, name: str, *, before: int | None = None, limit: int = 100) -> list[HistoryEntry]:
        with self._changed:
            log = self._gallery(name).log
            older = [entry for entry in log if before is None or entry.sequence < before]
            return [told_of(entry) for entry in reversed(older[-limit:])]

    def undo(self, name: str, sequence: int) -> int:
        with self._changed:
            done = undo(self._gallery(name), sequence)
            self._changed.notify_all()
            return done

    def subjects(self, name: str) -> list[SubjectInfo]:
        with self._changed:
            found = [
                SubjectInfo(each.id, each.name, len(each.templates), each.created_ms, each.external_id)
                for each in self._gallery(name).records.values()
            ]
        return sorted(found, key=lambda subject: subject.name)

    def show(self, name: str, subject: str) -> SubjectDetail:
        with self._changed:
            gallery = self._gallery(name)
            return detail_of(gallery, gallery.records[gallery.number(subject_name(subject))])

    def catalogue(self, name: str, *, vectors: bool = False) -> Catalogue:
        with self._changed:
            return catalogue_of(self._gallery(name), vectors=vectors)

    def rename(self, name: str, old: str, new: str) -> int:
        clean = subject_name(new)
        with self._changed:
            gallery = self._gallery(name)
            sequence = changes.rename(gallery, gallery.number(subject_name(old)), clean)
            self._changed.notify_all()
            return sequence

    def ids(self, name: str, subject: str) -> list[str]:
        with self._changed:
            return ids(self._gallery(name), subject_name(subject))

    def forgettable(self, name: str, subject: str) -> list[str]:
        with self._changed:
            return forgettable(self._gallery(name), subject_name(subject))

    def forget(self, name: str, subject: str, *, only: Collection[str] = ()) -> Forgotten:
        with self._changed:
            gone = forget(self._gallery(name), subject_name(subject), only)
            self._changed.notify_all()
            return gone

    def drop(self, name: str, epoch: str) -> Dropped:
        with self._changed:
            gone = self._gallery(name)
            if gone.epoch != epoch:
                raise UnknownGallery(f"there is no gallery {name} of epoch {epoch}")
            del self._galleries[name]
            self._changed.notify_all()
        payloads = sum(entry.told is not None for entry in gone.log)
        return Dropped(gone.sequence, len(gone.records), len(gone.templates), payloads)

    def snapshot(self, name: str) -> Snapshot:
        with self._changed:
            return state_of(self._gallery(name))

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        return self.changes_many({name: after}, block_ms=block_ms, limit=limit).get(name, [])

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000, likely: Collection[str] = ()
    ) -> dict[str, list[Change]]:
        deadline = time.monotonic() + (0 if any(name in likely for name in after) else block_ms / 1000)
        with self._changed:
            while True:
                found = {
                    name: changes
                    for name, sequence in after.items()
                    if name in self._galleries and (changes := changes_after(self._galleries[name], sequence, limit))
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
            gallery.ended = {n: ending for n, ending in gallery.ended.items() if ending > gallery.trimmed}
            return old

    def reseal(self, name: str, ring: KeyRing, keys: KeyStore) -> int:  # noqa: ARG002 (nothing here is at rest)
        self.info(name)
        return 0

    def incarnation(self) -> str:
        return "one process"

    @contextmanager
    def holding(self, name: str) -> Iterator[MemoryGallery]:
        """A gallery, for what else is kept with it; nobody else sees or changes it meanwhile. Raises UnknownGallery."""
        with self._changed:
            yield self._gallery(name)
            self._changed.notify_all()

    def _gallery(self, name: str) -> MemoryGallery:
        try:
            return self._galleries[name]
        except KeyError:
            raise UnknownGallery(f"there is no gallery {name}") from None


def _check_introductions(gallery: MemoryGallery, subjects: Sequence[str], enrolments: Sequence[Enrolment]) -> None:
    begun: set[str] = set()
    taken: set[str | None] = set()
    for subject, enrolment in zip(subjects, enrolments, strict=True):
        known = subject in gallery.numbers or subject in begun or enrolment.template_id in gallery.templates
        if not known and enrolment.introduction is not None:
            _check_external(gallery, enrolment.introduction.external_id, taken)
            taken.add(enrolment.introduction.external_id)
        if not known:
            begun.add(subject)


def _check_external(gallery: MemoryGallery, external_id: str | None, taken: Collection[str | None] = ()) -> None:
    if external_id is None:
        return
    if external_id in gallery.external or external_id in taken:
        raise NameTaken(f"another subject of gallery {gallery.name} has the external id {external_id!r}")
