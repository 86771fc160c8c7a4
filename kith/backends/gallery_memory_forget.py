"""Forgetting in a gallery in this process. See gallery_forget.lua, which does the same in Redis."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kith.backends.gallery_memory_records import Entry, Record, Removed
from kith.backends.gallery_memory_state import MemoryGallery
from kith.errors import UnknownSubject
from kith.jobs import now_ms
from kith.journal import Op
from kith.subjects import Forgotten


@dataclass(slots=True)
class _Person:
    """ending: the entry that ended him, 0 where he lives. his, others: entries that tell of him, alone or beside
    another whose they are. templates: that are there. removed: (entry, template) that others took out since."""

    number: int
    record: Record
    ending: int = 0
    his: set[int] = field(default_factory=set)
    others: set[int] = field(default_factory=set)
    templates: list[str] = field(default_factory=list)
    removed: list[tuple[int, Removed]] = field(default_factory=list)


def ids(gallery: MemoryGallery, subject: str) -> list[str]:
    """See GalleryStore.ids."""
    return [each.record.id for each in _meant(gallery, subject, ())]


def forgettable(gallery: MemoryGallery, subject: str) -> list[str]:
    """See GalleryStore.forgettable."""
    people = [_look_up(gallery, each) for each in _meant(gallery, subject, ())]
    return sorted({template_id for each in people for template_id in each.templates})


def forget(gallery: MemoryGallery, subject: str, only: Collection[str]) -> Forgotten:
    """See GalleryStore.forget."""
    people = [_look_up(gallery, each) for each in _meant(gallery, subject, only)]
    names: dict[int, set[str]] = {}
    for each in people:
        for sequence, template_id in _tellers(gallery, each):
            names.setdefault(sequence, set()).add(template_id)
    slots: list[int] = []
    images: set[str] = set()
    erased = 0
    for each in people:
        for entry in _entries(gallery, each.his):
            erased += entry.told is not None
            entry.told = None
        for entry in _entries(gallery, each.others):
            if entry.told is not None:
                entry.told |= {"before": None, "stripped": True}
        # Two of the same name may have had the same template, one after the other.
        there = [template_id for template_id in each.templates if template_id in gallery.templates]
        images |= {gallery.templates[template_id].info.image for template_id in there}
        images |= {removed.info.image for _, removed in each.removed}
        _let_go(gallery, each.number, there)
        slots += gallery.free(there)
        if each.ending:
            del gallery.ended[each.number]
        else:
            gallery.drop(each.number)
    named = {sequence: _still_named(gallery, sequence, names) for sequence in names}
    for entry in _entries(gallery, names):
        _strip(entry, names[entry.sequence], names[entry.sequence] - named[entry.sequence])
    gallery.sequence += 1
    first = people[0]
    gallery.log.append(
        Entry(gallery.sequence, Op.FORGET, now_ms(), first.number, tuple(slots), gone=first.number),
    )
    keys = tuple(sorted(images - {""}))
    return Forgotten(gallery.sequence, first.record.id, subject, len(slots), keys, erased)


def _meant(gallery: MemoryGallery, subject: str, only: Collection[str]) -> list[_Person]:
    """Who is called so, and who ended so. Raises UnknownSubject."""
    people = []
    if subject in gallery.numbers:
        number = gallery.numbers[subject]
        people.append(_Person(number, gallery.records[number]))
    for number, ending in gallery.ended.items():
        entry = gallery.entry(ending)
        before = entry.told["before"] if entry is not None and entry.told is not None else None
        if before is not None and before.name == subject:
            people.append(_Person(number, before, ending))
    people = [each for each in people if not only or each.record.id in only]
    if not people:
        raise UnknownSubject(f"nobody is called {subject!r} in gallery {gallery.name}")
    return people


def _look_up(gallery: MemoryGallery, person: _Person) -> _Person:
    for sequence in person.record.changes:
        (person.his if sequence > 0 else person.others).add(abs(sequence))
    if not person.ending:
        person.templates = list(person.record.templates)
        return person
    [ending] = _entries(gallery, [person.ending])
    (person.his if ending.number == person.number else person.others).add(person.ending)
    gone = set()
    for template_id in person.record.templates:
        known = gallery.templates.get(template_id)
        his, given = (False, False) if known is None else _stays_his(gallery, known.tellers, person)
        if his:
            person.templates.append(template_id)
        if not given:
            gone.add(template_id)
    for entry in gallery.log:
        if entry.op is Op.REMOVE and entry.told is not None and entry.sequence > person.ending:
            person.removed += [
                (entry.sequence, each)
                for each in entry.told["templates"]
                if each.template_id in gone and _stays_his(gallery, each.told, person)[0]
            ]
    return person


def _stays_his(gallery: MemoryGallery, told: Sequence[int], person: _Person) -> tuple[bool, bool]:
    """Of a template that he had when he ended: whether it is his still (what was his before the journal begins is), and
    whether it is that one at all, and not a later enrolment of the same id."""
    before = [entry for entry in _entries(gallery, told) if entry.sequence < person.ending]
    enrolled = any(each.op is Op.ENROL and each.told is not None and each.sequence in person.his for each in before)
    given = person.ending in told
    return given and (enrolled or not before), given


def _tellers(gallery: MemoryGallery, person: _Person) -> list[tuple[int, str]]:
    """(entry, template) for each entry that names a template of his."""
    found = [
        (sequence, template_id)
        for template_id in person.templates
        for sequence in gallery.templates[template_id].tellers
    ]
    removed = [each for _, each in person.removed]
    for entry in _entries(gallery, person.his):
        if entry.op is Op.REMOVE and entry.told is not None:
            removed += entry.told["templates"]
    found += [(sequence, each.template_id) for sequence, each in person.removed]
    return found + [(sequence, each.template_id) for each in removed for sequence in each.told]


def _let_go(gallery: MemoryGallery, number: int, ids: Sequence[str]) -> None:
    """Whoever has templates of his has them no more."""
    for template_id in ids:
        holder = gallery.templates[template_id].number
        if holder != number:
            gallery.records[holder].templates.remove(template_id)


def _still_named(gallery: MemoryGallery, sequence: int, names: Mapping[int, Collection[str]]) -> set[str]:
    """Templates that an entry named and that are there still, living or where another took them out. names: which are
    being taken out of what is told, by entry."""
    living = {each for each in names[sequence] if each in gallery.templates}
    found = {each for each in living if sequence in gallery.templates[each].tellers}
    for entry in gallery.log:
        if entry.op is Op.REMOVE and entry.told is not None:
            cleared = names.get(entry.sequence, ())
            found |= {
                each.template_id
                for each in entry.told["templates"]
                if sequence in each.told and each.template_id not in cleared
            }
    return found


def _strip(entry: Entry, ids: Collection[str], gone: Collection[str]) -> None:
    """Take templates out of what an entry tells; it cannot be undone any more. gone: those that nothing brings back."""
    if entry.told is None:
        return
    named = entry.told["templates"]
    entry.told["templates"] = [
        each for each in named if (each.template_id if isinstance(each, Removed) else each) not in ids
    ]
    entry.told["stripped"] = True
    if entry.told.get("before") is not None:
        before = entry.told["before"]
        # One that was taken out and brought back lives on, or lies where another took it out since: whoever ended with
        # it is found by it when he is forgotten.
        before.templates = [each for each in before.templates if each not in gone]


def _entries(gallery: MemoryGallery, sequences: Collection[int]) -> list[Entry]:
    """Those of the entries that the journal has."""
    return [entry for entry in map(gallery.entry, sequences) if entry is not None]
