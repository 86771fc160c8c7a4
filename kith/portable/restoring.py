"""A portable gallery into a store: a new gallery as the old one was, or more people for one that is there.

Who is who: a subject of the file is whoever has his id in the gallery; else whoever has his external id; else whoever
has his name, unless the two have different external ids: then he is refused. So he is when somebody else of the file is
that person: two people never become one. Somebody who is none of these is new, and keeps id, dates, external id and
notes. Whoever is there already keeps his own, and gets the templates he lacks.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from kith.audit import Action, AuditLog, Deed, Detail
from kith.enrolment import Enrolment, Introduction
from kith.errors import InvalidName, ModelMismatch, NameTaken, Rejected
from kith.gallery import GalleryStore
from kith.imagestore import ImageStore
from kith.journal import Vectors
from kith.portable.lines import ArchivedSubject, ArchivedTemplate
from kith.portable.manifest import Manifest
from kith.portable.reading import Archive
from kith.portable.telling import Tell, silent
from kith.sealing import Sealer
from kith.subjects import GalleryInfo, SubjectInfo

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
    audit: AuditLog,
    by: str,
    into_empty: bool = False,
    images: ImageStore | None = None,
    sealer: Callable[[str, int], Sealer] | None = None,
    tell: Tell = silent,
) -> Restored:
    """Bring `archive` into gallery `name` (default: its own), which is made with its settings where there is none.

    audit: is told before the first change and after the last what comes from where, by whom. into_empty: refuse a
    gallery that has anybody in it. images: where pictures of the file go. The same call again, without into_empty,
    completes one that was interrupted. Raises BrokenArchive before anything is written, ModelMismatch, Rejected, and as
    GalleryStore.enrol and the audit log.
    """
    manifest = archive.manifest
    archive.verify(tell)
    name = name or manifest.gallery
    origin: Detail = {"from": manifest.gallery, "at": manifest.sequence, "exported_ms": manifest.exported_ms}
    new = name not in {each.name for each in store.galleries()}
    if new:
        # Not before it is sure that the vectors can be opened.
        next(archive.templates(sealer), None)
    else:
        _check(store.info(name), manifest, into_empty)
    audit.record(Deed(by, Action.RESTORED, name, detail={"stage": "begun", **origin}))
    if new:
        store.create(name, model_id=manifest.model_id, dimension=manifest.dimension, settings=manifest.settings)
    info = store.info(name)
    # Once more: somebody else may have made, or filled, it meanwhile.
    _check(info, manifest, into_empty)
    done = Restored()
    if images is not None:
        for picture in archive.images():
            images.put(picture)
            done.images += 1
    people = _people(archive.subjects(), store.subjects(name), done)
    _subjects(store, name, archive, people, sealer, done, tell)
    after = store.info(name)
    done.new_subjects, done.new_templates = after.subjects - info.subjects, after.templates - info.templates
    detail: Detail = {
        "stage": "done",
        **origin,
        "subjects": done.new_subjects,
        "templates": done.new_templates,
        "refused": len(done.refused),
    }
    audit.record(Deed(by, Action.RESTORED, name, sequence=after.sequence, detail=detail))
    return done


def _check(info: GalleryInfo, manifest: Manifest, into_empty: bool) -> None:
    if (info.model_id, info.dimension) != (manifest.model_id, manifest.dimension):
        raise ModelMismatch(
            f"gallery {info.name} is of model {info.model_id}, the file of {manifest.model_id}: "
            "vectors of two models never meet"
        )
    if into_empty and info.subjects:
        raise Rejected(
            f"gallery {info.name} has {info.subjects} subjects; restore into a new one, or import to add to it, or to "
            "complete a restore that was interrupted"
        )


def _people(
    subjects: Iterable[ArchivedSubject], there: Iterable[SubjectInfo], done: Restored
) -> dict[int, tuple[str, ArchivedSubject]]:
    """number in the file → (name in the gallery, who he is)."""
    waiting, known = list(subjects), list(there)
    by_name, by_id = {each.name: each for each in known}, {each.subject_id: each for each in known}
    by_external = {each.external_id: each for each in known if each.external_id is not None}
    people: dict[int, tuple[str, ArchivedSubject]] = {}
    #: Whoever of the file somebody in the gallery is, by the latter's id.
    met: dict[str, ArchivedSubject] = {}
    # One way after the other for all of them: who is met by his id is not taken for somebody else of his name before.
    ways: tuple[Callable[[ArchivedSubject], SubjectInfo | None], ...] = (
        lambda each: by_id.get(each.subject_id),
        lambda each: by_external.get(each.external_id or ""),
        lambda each: by_name.get(each.name),
    )
    for way in ways:
        for each in waiting:
            found = way(each)
            if found is not None and each.name not in done.refused:
                why = _another(each, found, met)
                if why:
                    done.refused[each.name] = why
                else:
                    met[found.subject_id] = each
                    people[each.number] = found.name, each
        waiting = [each for each in waiting if each.number not in people and each.name not in done.refused]
    people |= {each.number: (each.name, each) for each in waiting}
    return dict(sorted(people.items()))


def _another(each: ArchivedSubject, found: SubjectInfo, met: dict[str, ArchivedSubject]) -> str:
    """Why `each` is not `found`, who has his id, external id or name; empty when he is."""
    if found.subject_id in met:
        whose = f", with the external id {found.external_id!r}," if found.external_id else ""
        return f"{found.name!r} of the gallery{whose} is {met[found.subject_id].name!r} of the file"
    if found.subject_id != each.subject_id and len({found.external_id, each.external_id} - {None}) > 1:
        return f"somebody else of that name has the external id {found.external_id!r}"
    return ""


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
        some = [_enrolment(*each, model_id, *people[each[0].subject]) for each in batch if each[0].subject in people]
        store.enrol(name, some)
        enrolled.update(each.subject for each, _ in batch)
        done.templates += len(some)
    for number, (subject, each) in people.items():
        if number not in enrolled:
            try:
                store.introduce(name, subject, _introduction(each))
            except (NameTaken, InvalidName) as refused:
                done.refused[each.name] = str(refused)
    done.subjects = sum(each.name not in done.refused for _, each in people.values())


def _enrolment(
    template: ArchivedTemplate, vector: Vectors, model_id: str, name: str, subject: ArchivedSubject
) -> Enrolment:
    return Enrolment(
        *(name, template.template_id, vector, template.image, template.quality, model_id),
        enrolled_ms=template.enrolled_ms,
        introduction=_introduction(subject),
    )


def _introduction(subject: ArchivedSubject) -> Introduction:
    return Introduction(subject.subject_id, subject.created_ms, subject.external_id, subject.metadata)
