"""What a gallery would be after a change that nobody has made yet: people and their templates, no vectors.

Each answers with the state afterwards, or with the error that the change itself would raise.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from kith.enrolment import check_template_ids
from kith.errors import CannotUndo, NameTaken, SameSubject, UnknownSubject, UnknownTemplate
from kith.gallery_past import Past, PastSubject
from kith.gallery_settings import GallerySettings
from kith.journal import Op
from kith.names import subject_name
from kith.subjects import HistoryEntry

#: The id of somebody who would be new: ids are given out when it is done.
NOBODY_YET = ""


def merged(now: Past, subject: str, into: str) -> Past:
    """All of `subject` given to `into`. Raises UnknownSubject, SameSubject."""
    source, target = _number(now, subject), _number(now, into)
    if source == target:
        raise SameSubject(f"{subject!r} and {into!r} are the same subject")
    return _with(_moved(now, source, target, now.subjects[source].templates), gone=source)


def moved(now: Past, subject: str, template_ids: Sequence[str], to: str) -> Past:
    """Some of `subject` given to another, who is new where nobody is called `to`. Raises UnknownSubject,
    UnknownTemplate, SameSubject."""
    source, ids = _owned(now, subject, template_ids)
    name = subject_name(to)
    target = next((number for number, each in now.subjects.items() if each.name == name), None)
    if target == source:
        raise SameSubject(f"{subject!r} and {to!r} are the same subject")
    if target is None:
        target = max(now.subjects) + 1
        now = _with(now, {target: PastSubject(NOBODY_YET, name, frozenset())})
    return _moved(now, source, target, ids)


def removed(now: Past, subject: str, template_ids: Sequence[str]) -> Past:
    """Without some of `subject`, who stays. Raises UnknownSubject, UnknownTemplate."""
    number, ids = _owned(now, subject, template_ids)
    known = now.subjects[number]
    return _with(now, {number: replace(known, templates=known.templates - ids)})


def forgotten(now: Past, subject: str, template_ids: Collection[str] | None = None) -> Past:
    """Without `subject`, and without the templates that go along (GalleryStore.forgettable), such as those of whoever
    ended under that name, which others have by now; None where the store was not asked. Raises UnknownSubject."""
    if template_ids is None:
        return _with(now, gone=_number(now, subject))
    gone, name = frozenset(template_ids), subject_name(subject)
    left = {number: replace(each, templates=each.templates - gone) for number, each in now.subjects.items()}
    lives = next((number for number, each in now.subjects.items() if each.name == name), 0)
    return _with(now, left, gone=lives)


def renamed(now: Past, old: str, new: str) -> Past:
    """With another name. Raises UnknownSubject, NameTaken."""
    number, name = _number(now, old), subject_name(new)
    if any(each.name == name for other, each in now.subjects.items() if other != number):
        raise NameTaken(f"another subject is called {new!r}")
    return _with(now, {number: replace(now.subjects[number], name=name)})


def undone(now: Past, entry: HistoryEntry) -> Past:
    """Without a change. Raises CannotUndo where what it left behind has been changed since; the store knows further
    reasons to refuse."""
    if entry.erased or entry.op in (Op.FORGET, Op.MODEL):
        raise CannotUndo(f"change {entry.sequence} cannot be undone")
    known = now.subjects.get(entry.number)
    ids = frozenset(entry.templates)
    if entry.op is Op.SETTINGS and isinstance(entry.before, GallerySettings) and now.settings == entry.after:
        return replace(now, settings=entry.before)
    if entry.op is Op.REMOVE and not ids & _every(now):
        back = known or _ended(entry)
        if back is not None:
            return _with(now, {entry.number: replace(back, templates=back.templates | ids)})
    elif known is not None and entry.op is Op.RENAME and known.name == entry.subject and isinstance(entry.before, str):
        with suppress(NameTaken):
            return renamed(now, known.name, entry.before)
    elif known is not None and entry.op is Op.DESCRIBE:
        return now
    elif known is not None and entry.op is Op.ENROL and ids <= known.templates:
        left = known.templates - ids
        ends = entry.created and not left
        return _with(now, {} if ends else {entry.number: replace(known, templates=left)}, entry.number if ends else 0)
    elif known is not None and entry.op is Op.MOVE and ids <= known.templates:
        giver = now.subjects.get(entry.source) or _ended(entry)
        if giver is not None:
            ends = entry.created and ids == known.templates
            back_again = _moved(_with(now, {entry.source: giver}), entry.number, entry.source, ids)
            return _with(back_again, gone=entry.number if ends else 0)
    raise CannotUndo(f"what change {entry.sequence} left behind has been changed since; undo the later changes first")


def _ended(entry: HistoryEntry) -> PastSubject | None:
    """Who ended with a change."""
    if not entry.gone or not isinstance(entry.before, tuple):
        return None
    subject_id, name = entry.before
    return PastSubject(subject_id, str(name), frozenset())


def _moved(now: Past, source: int, target: int, ids: frozenset[str]) -> Past:
    giver, taker = now.subjects[source], now.subjects[target]
    return _with(
        now,
        {
            source: replace(giver, templates=giver.templates - ids),
            target: replace(taker, templates=taker.templates | ids),
        },
    )


def _with(now: Past, people: dict[int, PastSubject] | None = None, gone: int = 0) -> Past:
    left = {number: each for number, each in {**now.subjects, **(people or {})}.items() if number != gone}
    return replace(now, subjects=left)


def _number(now: Past, subject: str) -> int:
    name = subject_name(subject)
    for number, each in now.subjects.items():
        if each.name == name:
            return number
    raise UnknownSubject(f"nobody is called {subject!r}")


def _owned(now: Past, subject: str, template_ids: Sequence[str]) -> tuple[int, frozenset[str]]:
    number, ids = _number(now, subject), frozenset(check_template_ids(template_ids))
    if unknown := sorted(ids - now.subjects[number].templates):
        raise UnknownTemplate(f"{subject!r} has no template {unknown[0]}")
    return number, ids


def _every(now: Past) -> frozenset[str]:
    return frozenset().union(*(each.templates for each in now.subjects.values()))
