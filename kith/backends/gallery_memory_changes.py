"""Changes as callers ask for them, in a gallery in this process. See gallery_change.lua, which makes them in Redis."""

from collections.abc import Mapping, Sequence

from kith.backends.gallery_memory_records import Incoming
from kith.backends.gallery_memory_state import MemoryGallery
from kith.errors import NameTaken, SameSubject
from kith.gallery import Enrolment
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.journal import Op


def enrol(gallery: MemoryGallery, subject: str, enrolments: Sequence[Enrolment]) -> None:
    """Add those templates that are new."""
    # The first of two with the same id.
    new = {each.template_id: each for each in reversed(enrolments) if each.template_id not in gallery.templates}
    if not new:
        return
    created = subject not in gallery.numbers
    number = gallery.add(subject, enrolments[0].introduction) if created else gallery.numbers[subject]
    at_ms = now_ms()
    incoming = [
        Incoming(i, new[i].vector.copy(), new[i].image, float(new[i].quality), new[i].enrolled_ms or at_ms)
        for i in dict.fromkeys(each.template_id for each in enrolments)
        if i in new
    ]
    gallery.put(number, incoming, created=created)


def transfer(gallery: MemoryGallery, subject: str, ids: Sequence[str], to: str) -> int:
    """Templates of `subject` to `to`, who is added where there is nobody. Raises SameSubject and as `owned`."""
    source = gallery.owned(subject, ids)
    if gallery.numbers.get(to) == source:
        raise SameSubject(f"{subject!r} and {to!r} are the same subject of gallery {gallery.name}")
    created = to not in gallery.numbers
    return gallery.move(source, gallery.add(to) if created else gallery.numbers[to], ids, created=created)


def merge(gallery: MemoryGallery, subject: str, into: str) -> int:
    """All of `subject` to `into`. Raises SameSubject, UnknownSubject."""
    source, target = gallery.number(subject), gallery.number(into)
    if source == target:
        raise SameSubject(f"{subject!r} and {into!r} are the same subject of gallery {gallery.name}")
    return gallery.move(source, target, list(gallery.records[source].templates), drop=True)


def rename(gallery: MemoryGallery, number: int, new: str) -> int:
    """The same name again changes nothing. Raises NameTaken."""
    record = gallery.records[number]
    if new == record.name:
        return gallery.sequence
    if new in gallery.numbers:
        raise NameTaken(f"another subject of gallery {gallery.name} is called {new!r}")
    before = record.name
    del gallery.numbers[before]
    gallery.numbers[new], record.name = number, new
    return gallery.tell(Op.RENAME, number, before=before)


def describe(gallery: MemoryGallery, number: int, external_id: str | None, metadata: Mapping[str, str]) -> int:
    """Another external id and other notes. Raises NameTaken."""
    record = gallery.records[number]
    if external_id is not None and gallery.external.get(external_id, number) != number:
        raise NameTaken(f"another subject of gallery {gallery.name} has the external id {external_id!r}")
    before = (record.external_id or "", dict(record.metadata))
    gallery.external.pop(record.external_id or "", None)
    if external_id is not None:
        gallery.external[external_id] = number
    record.external_id, record.metadata, record.described = external_id, dict(metadata), gallery.sequence + 1
    return gallery.tell(Op.DESCRIBE, number, before=before, after=(external_id or "", dict(metadata)))


def settle(gallery: MemoryGallery, settings: GallerySettings) -> int:
    """Other settings."""
    before, gallery.settings = gallery.settings, settings
    return gallery.tell(Op.SETTINGS, 0, before=before, after=settings)
