"""Taking back changes of a gallery in this process. See gallery_undo.lua, which does the same in Redis."""

from typing import Any

from kith.backends.gallery_memory_changes import describe, rename, settle
from kith.backends.gallery_memory_records import Entry, Incoming
from kith.backends.gallery_memory_state import MemoryGallery
from kith.errors import CannotUndo
from kith.journal import Op


def undo(gallery: MemoryGallery, sequence: int) -> int:
    """The sequence number of the change that takes `sequence` back. Raises CannotUndo."""
    entry = gallery.entry(sequence)
    if entry is None:
        raise CannotUndo(
            f"the journal of gallery {gallery.name} holds no change {sequence}: it was trimmed, or is yet to come"
        )
    if entry.op is Op.MODEL:
        raise CannotUndo(f"change {sequence} of gallery {gallery.name} is of its model: kith migrate --rollback")
    if entry.op in (Op.REMOVE, Op.SETTINGS) and sequence < gallery.model_since:
        raise CannotUndo(f"what change {sequence} of gallery {gallery.name} took away is of its former model")
    if entry.told is None or entry.told.get("stripped"):
        raise CannotUndo(
            f"change {sequence} of gallery {gallery.name} is about somebody forgotten; that cannot be undone"
        )
    done = _UNDO[entry.op](gallery, entry, entry.told)
    if done is None:
        raise CannotUndo(
            f"what change {sequence} of gallery {gallery.name} left behind has been changed since; "
            "undo the later changes first"
        )
    return done


def _enrol(gallery: MemoryGallery, entry: Entry, told: dict[str, Any]) -> int | None:
    ids = told["templates"]
    if any(
        each not in gallery.templates
        or gallery.templates[each].number != entry.number
        or gallery.templates[each].info.sequence != entry.sequence
        for each in ids
    ):
        return None
    all_there_is = len(gallery.records[entry.number].templates) == len(ids)
    return gallery.remove(entry.number, ids, gone=told.get("created", False) and all_there_is)


def _remove(gallery: MemoryGallery, entry: Entry, told: dict[str, Any]) -> int | None:
    details = told["templates"]
    if any(each.template_id in gallery.templates for each in details):
        return None
    before = told["before"]
    if before is not None:
        if told.get("undone") or gallery.bring_back(entry.number, before, entry.sequence) is None:
            return None
        told["undone"] = True
    elif entry.number not in gallery.records:
        return None
    incoming = [
        Incoming(
            *(each.template_id, each.vector, each.info.image, each.info.quality, each.info.enrolled_ms),
            told=[*each.told, entry.sequence],
        )
        for each in details
    ]
    return gallery.put(entry.number, incoming, created=before is not None)


def _move(gallery: MemoryGallery, entry: Entry, told: dict[str, Any]) -> int | None:
    ids, before = told["templates"], told["before"]
    if entry.number not in gallery.records or any(
        each not in gallery.templates or gallery.templates[each].number != entry.number for each in ids
    ):
        return None
    if before is None:
        theirs: list[int] = []
        if entry.source not in gallery.records:
            return None
    else:
        if told.get("undone") or gallery.bring_back(entry.source, before, -entry.sequence) is None:
            return None
        told["undone"] = True
        theirs = list(before.changes)
    all_there_is = len(gallery.records[entry.number].templates) == len(ids)
    return gallery.move(
        entry.number,
        entry.source,
        ids,
        drop=told["created"] and all_there_is,
        created=before is not None,
        forget_changes=theirs,
    )


def _rename(gallery: MemoryGallery, entry: Entry, told: dict[str, Any]) -> int | None:
    record = gallery.records.get(entry.number)
    if record is None or record.name != told["name"] or told["before"] in gallery.numbers:
        return None
    return rename(gallery, entry.number, told["before"])


def _describe(gallery: MemoryGallery, entry: Entry, told: dict[str, Any]) -> int | None:
    record = gallery.records.get(entry.number)
    external_id, metadata = told["before"]
    if record is None or record.described != entry.sequence:
        return None
    if gallery.external.get(external_id, entry.number) != entry.number:
        return None
    return describe(gallery, entry.number, external_id or None, metadata)


def _settle(gallery: MemoryGallery, _: Entry, told: dict[str, Any]) -> int | None:
    return settle(gallery, told["before"]) if gallery.settings == told["after"] else None


_UNDO = {
    Op.ENROL: _enrol,
    Op.REMOVE: _remove,
    Op.MOVE: _move,
    Op.RENAME: _rename,
    Op.DESCRIBE: _describe,
    Op.SETTINGS: _settle,
}
