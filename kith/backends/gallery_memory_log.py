"""Reading a gallery in this process as followers do: its journal, and the whole of it."""

import numpy as np

from kith.backends.gallery_memory_records import Entry, Record, Template
from kith.backends.gallery_memory_state import MemoryGallery
from kith.catalogue import Catalogue
from kith.journal import Change, Op, Snapshot
from kith.subjects import GalleryInfo, HistoryEntry, SubjectDetail


def changes_after(gallery: MemoryGallery, sequence: int, limit: int) -> list[Change]:
    """See GalleryStore.changes."""
    if sequence < max(gallery.trimmed, gallery.model_since):
        return [Change(sequence, Op.RELOAD)]
    start = sequence - gallery.trimmed
    return [_change(gallery, entry) for entry in gallery.log[start : start + limit]]


def _change(gallery: MemoryGallery, entry: Entry) -> Change:
    """An entry as followers get it, from the state as it is now."""
    if entry.told is None or entry.op is Op.REMOVE:
        op = entry.op if entry.told is not None else Op.FORGET
        early = op is not entry.op
        return Change(*(entry.sequence, op, entry.at_ms, entry.number), slots=entry.slots, gone=entry.gone, early=early)
    if entry.op is Op.SETTINGS:
        return Change(entry.sequence, entry.op, entry.at_ms, settings=entry.told["after"])
    change = (entry.sequence, entry.op, entry.at_ms, entry.number, entry.told["id"], entry.told["name"])
    if entry.op not in (Op.ENROL, Op.MOVE):
        return Change(*change)
    held = {slot: gallery.templates[gallery.by_slot[slot]] for slot in entry.slots if slot in gallery.by_slot}
    there = {slot: each for slot, each in held.items() if _same(entry, each)}
    vectors = [each.vector for each in there.values()]
    return Change(
        *change,
        slots=tuple(there),
        vectors=np.stack(vectors) if vectors else np.empty((0, gallery.dimension), np.float32),
        qualities=np.array([each.info.quality for each in there.values()], np.float32),
        lost=tuple(slot for slot in entry.slots if slot not in there),
        gone=entry.gone,
    )


def _same(entry: Entry, template: Template) -> bool:
    """Whether the template now in a slot is the one the entry put or moved there."""
    since = template.info.sequence
    return since == entry.sequence if entry.op is Op.ENROL else since <= entry.sequence


def state_of(gallery: MemoryGallery) -> Snapshot:
    """See GalleryStore.snapshot."""
    state = Snapshot(gallery.name, gallery.model_id, gallery.dimension, gallery.epoch, settings=gallery.settings)
    for number, record in gallery.records.items():
        held = [gallery.templates[each] for each in record.templates]
        vectors = [each.vector for each in held]
        state.apply(
            [
                Change(
                    *(gallery.sequence, Op.ENROL, 0, number, record.id, record.name),
                    slots=tuple(each.info.slot for each in held),
                    vectors=np.stack(vectors) if vectors else np.empty((0, gallery.dimension), np.float32),
                    qualities=np.array([each.info.quality for each in held], np.float32),
                )
            ]
        )
    state.sequence = gallery.sequence
    return state


def catalogue_of(gallery: MemoryGallery, *, vectors: bool) -> Catalogue:
    """See GalleryStore.catalogue."""
    subjects = {number: detail_of(gallery, record) for number, record in sorted(gallery.records.items())}
    return Catalogue(info_of(gallery), subjects, state_of(gallery).blocks if vectors else [])


def detail_of(gallery: MemoryGallery, record: Record) -> SubjectDetail:
    """See GalleryStore.show."""
    templates = [gallery.templates[each].info for each in record.templates]
    ordered = tuple(sorted(templates, key=lambda template: (template.sequence, template.slot)))
    return SubjectDetail(
        *(record.id, record.name, record.created_ms, ordered, record.external_id), dict(record.metadata)
    )


def info_of(gallery: MemoryGallery) -> GalleryInfo:
    """See GalleryStore.info."""
    return GalleryInfo(
        *(gallery.name, gallery.model_id, gallery.dimension, gallery.sequence),
        *(len(gallery.records), len(gallery.templates), gallery.settings),
        created_ms=gallery.created_ms,
        epoch=gallery.epoch,
    )


def told_of(entry: Entry) -> HistoryEntry:
    """See GalleryStore.history."""
    place = (entry.sequence, entry.op, entry.at_ms, entry.number)
    told = entry.told
    if told is None:
        return HistoryEntry(*place, source=entry.source, gone=entry.gone, erased=entry.op is not Op.FORGET)
    before = told.get("before")
    if entry.op in (Op.MOVE, Op.REMOVE) and before is not None:
        before = (before.id, before.name)
    templates = told.get("templates", ())
    return HistoryEntry(
        *(*place, told["id"], told["name"]),
        templates=tuple(each.template_id if entry.op is Op.REMOVE else each for each in templates),
        source=entry.source,
        created=told.get("created", False),
        gone=entry.gone,
        before=before,
        after=told.get("after"),
        settings=told.get("settings"),
    )
