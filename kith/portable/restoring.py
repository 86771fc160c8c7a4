"""A portable gallery into a store: a new gallery as the old one was, or more people for one that is there.

Who is who: a subject of the file is whoever has his id in the gallery; else whoever has his external id; else whoever
has his name, unless the two have different external ids: then he is refused. Somebody who is none of these is new, and
keeps id, dates, external id and notes. Whoever is there already keeps his own, and gets the templates he lacks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from kith.enrolment import Enrolment, Introduction
from kith.errors import InvalidName, ModelMismatch, NameTaken, Rejected
from kith.gallery import GalleryStore
from kith.imagestore import ImageStore
from kith.portable.reading import Archive, ArchivedSubject, ArchivedTemplate
from kith.portable.telling import Tell, silent
from kith.sealing import Sealer
from kith.subjects import SubjectInfo

#: Templates handed to the store at once.
_BATCH = 2048


@dataclass(slots=True)
class Restored:
    """subjects, templates: of the file that are in the gallery now. new: of them those that were not before.
    refused: name in the file → why he is not."""

    subjects: int = 0
    templates: int = 0
    new_subjects: int = 0
    new_templates: int = 0
    images: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def restore(
    store: GalleryStore,
    archive: Archive,
    name: str | None = None,
    *,
    into_empty: bool = False,
    images: ImageStore | None = None,
    sealer: Callable[[str, int], Sealer] | None = None,
    tell: Tell = silent,
) -> Restored:
    """Bring `archive` into gallery `name` (default: its own), which is made with its settings where there is none.

    into_empty: refuse a gallery that has anybody in it. images: where pictures of the file go. The same call again
    after an interruption completes it. Raises BrokenArchive before anything is written, ModelMismatch, Rejected, and as
    GalleryStore.enrol.
    """
    manifest = archive.manifest
    archive.verify(tell)
    name = name or manifest.gallery
    if name not in {each.name for each in store.galleries()}:
        # Not before it is sure that the vectors can be opened.
        next(archive.templates(sealer), None)
        store.create(name, model_id=manifest.model_id, dimension=manifest.dimension, settings=manifest.settings)
    info = store.info(name)
    if (info.model_id, info.dimension) != (manifest.model_id, manifest.dimension):
        raise ModelMismatch(
            f"gallery {name} is of model {info.model_id}, the file of {manifest.model_id}: "
            "vectors of two models never meet"
        )
    if into_empty and info.subjects:
        raise Rejected(f"gallery {name} has {info.subjects} subjects; restore into a new one, or import to add to it")
    done = Restored()
    if images is not None:
        for picture in archive.images():
            images.put(picture)
            done.images += 1
    people = _people(archive.subjects(), store.subjects(name), done)
    _subjects(store, name, archive, people, sealer, done, tell)
    after = store.info(name)
    done.new_subjects, done.new_templates = after.subjects - info.subjects, after.templates - info.templates
    return done


def _people(
    subjects: Iterable[ArchivedSubject], there: Iterable[SubjectInfo], done: Restored
) -> dict[int, tuple[str, ArchivedSubject]]:
    """number in the file → (name in the gallery, who he is)."""
    known = list(there)
    by_id, by_name = {each.subject_id: each for each in known}, {each.name: each for each in known}
    by_external = {each.external_id: each for each in known if each.external_id is not None}
    people = {}
    for each in subjects:
        found = by_id.get(each.subject_id) or by_external.get(each.external_id or "") or by_name.get(each.name)
        ids = {found.external_id, each.external_id} - {None} if found else set()
        if found and found.subject_id != each.subject_id and len(ids) > 1:
            done.refused[each.name] = f"somebody else of that name has the external id {found.external_id!r}"
            continue
        people[each.number] = (found.name if found else each.name), each
    return people


def _subjects(
    store: GalleryStore,
    name: str,
    archive: Archive,
    people: dict[int, tuple[str, ArchivedSubject]],
    sealer: Callable[[str, int], Sealer] | None,
    done: Restored,
    tell: Tell,
) -> None:
    model_id, of = archive.manifest.model_id, archive.manifest.templates
    waiting = archive.templates(sealer)
    enrolled: set[int] = set()
    while batch := list(islice(waiting, _BATCH)):
        tell("templates", done.templates, of)
        some = [_enrolment(each, model_id, *people[each.subject]) for each in batch if each.subject in people]
        store.enrol(name, some)
        enrolled.update(each.subject for each in batch)
        done.templates += len(some)
    for number, (subject, each) in people.items():
        if number not in enrolled:
            try:
                store.introduce(name, subject, _introduction(each))
            except (NameTaken, InvalidName) as refused:
                done.refused[each.name] = str(refused)
    done.subjects = len(people)


def _enrolment(template: ArchivedTemplate, model_id: str, name: str, subject: ArchivedSubject) -> Enrolment:
    return Enrolment(
        *(name, template.template_id, template.vector, template.image, template.quality, model_id),
        enrolled_ms=template.enrolled_ms,
        introduction=_introduction(subject),
    )


def _introduction(subject: ArchivedSubject) -> Introduction:
    return Introduction(subject.subject_id, subject.created_ms, subject.external_id, subject.metadata)
