"""Gallery: who is known, one person with their templates, and what has been changed."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kith.changes_told import inverse, names_in, told
from kith.client import Client
from kith.errors import UnknownGallery, UnknownSubject
from kith.gallery import GalleryInfo, HistoryEntry, SubjectInfo
from kith.journal import Op
from kith.names import MAX_SUBJECT_NAME
from producers.api.pages.page_route import PageRoute
from producers.api.pages.portraits import picture_url, portrait_of
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Reading
from producers.api.shapes import GalleryPath

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Name = Annotated[str, Query(min_length=1, max_length=MAX_SUBJECT_NAME)]
Done = Annotated[int | None, Query(ge=1, le=2**53, description="A change that was just made.")]

#: People on one page, and changes.
_PEOPLE, _CHANGES = 24, 50
#: Changes that are read for the names of those whose templates were moved.
_NAMED = 1000


@router.get("/gallery")
def home(request: Request, visitor: Reading) -> Response:
    """The gallery that is meant when none is named."""
    pages: Pages = request.app.state.pages
    return RedirectResponse(f"/gallery/{pages.home(visitor)}", 303)


@router.get("/gallery/{gallery}")
def people(
    request: Request,
    gallery: GalleryPath,
    visitor: Reading,
    q: Annotated[str, Query(max_length=MAX_SUBJECT_NAME)] = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    done: Done = None,
) -> Response:
    """Everybody by name, with a portrait each."""
    pages: Pages = request.app.state.pages
    visitor.caller.gallery(gallery)
    client = visitor.client
    info, found = _who(client, gallery)
    wanted = [each for each in found if q.casefold() in each.name.casefold()]
    # Somebody may have been forgotten since the page was linked to.
    page = min(page, max(1, -(-len(wanted) // _PEOPLE)))
    shown = wanted[(page - 1) * _PEOPLE : page * _PEOPLE]
    return pages.page(
        request, "gallery.html", visitor, here="gallery", gallery=gallery, info=info, q=q, page=page,
        cards=[(each, _portrait(client, gallery, each)) for each in shown], found=len(wanted),
        pages=-(-len(wanted) // _PEOPLE), done=done_change(client, gallery, done),
    )  # fmt: skip


@router.get("/gallery/{gallery}/person")
def person(request: Request, gallery: GalleryPath, name: Name, visitor: Reading, done: Done = None) -> Response:
    """One person with all templates. That they were looked at stands in the audit log."""
    pages: Pages = request.app.state.pages
    visitor.caller.gallery(gallery)
    client = visitor.client
    subject = client.galleries.show(gallery, name)
    templates = sorted(subject.templates, key=lambda each: -each.enrolled_ms)
    others = [each for each in pages.names(visitor, gallery) if each != subject.name]
    return pages.page(
        request, "person.html", visitor, here="gallery", gallery=gallery, subject=subject,
        templates=[(each, picture_url(each.image, 240)) for each in templates], portrait=portrait_of(subject, 240),
        others=others, done=done_change(client, gallery, done),
    )  # fmt: skip


@router.get("/gallery/{gallery}/history")
def history(
    request: Request,
    gallery: GalleryPath,
    visitor: Reading,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    done: Done = None,
) -> Response:
    """What was changed, newest first, each with what undoing it would do."""
    pages: Pages = request.app.state.pages
    visitor.caller.gallery(gallery)
    try:
        entries = visitor.client.galleries.history(gallery, before=before, limit=_CHANGES)
        names = names_in(visitor.client.galleries.history(gallery, limit=_NAMED)) if any(map(_moved, entries)) else {}
    except UnknownGallery:
        entries, names = [], {}
    rows = [(each, told(each, names), inverse(each, names) if can_undo(each) else "") for each in entries]
    more = entries[-1].sequence if len(entries) == _CHANGES and entries[-1].sequence > 1 else None
    return pages.page(
        request, "history.html", visitor, here="gallery", gallery=gallery, rows=rows, more=more,
        done=done_change(visitor.client, gallery, done),
    )  # fmt: skip


def person_url(gallery: str, name: str, done: int | None = None) -> str:
    """Where somebody is."""
    return f"/gallery/{gallery}/person?name={quote(name, safe='')}" + (f"&done={done}" if done else "")


def can_undo(entry: HistoryEntry) -> bool:
    """Whether a change may be taken back at all; that something was changed since is found out when it is tried."""
    return not entry.erased and entry.op not in (Op.FORGET, Op.MODEL)


def done_change(client: Client, gallery: str, sequence: int | None) -> tuple[HistoryEntry, str] | None:
    """A change that was just made, in words; None where the journal does not hold it."""
    if sequence is None:
        return None
    try:
        found = client.galleries.history(gallery, before=sequence + 1, limit=1)
    except UnknownGallery:
        return None
    if not found or found[0].sequence != sequence:
        return None
    return found[0], told(found[0], names_for(client, gallery, found[0]))


def names_for(client: Client, gallery: str, entry: HistoryEntry) -> dict[int, str]:
    """Names of those a change speaks of by number. Raises UnknownGallery."""
    return names_in(client.galleries.history(gallery, limit=_NAMED)) if _moved(entry) else {}


def _moved(entry: HistoryEntry) -> bool:
    return entry.op is Op.MOVE


def _who(client: Client, gallery: str) -> tuple[GalleryInfo | None, list[SubjectInfo]]:
    """None for a gallery nobody was enrolled in yet: its page is where that is done."""
    try:
        return client.galleries.info(gallery), client.galleries.subjects(gallery)
    except UnknownGallery:
        return None, []


def _portrait(client: Client, gallery: str, subject: SubjectInfo) -> str:
    if not subject.templates:
        return ""
    try:
        return portrait_of(client.galleries.show(gallery, subject.name))
    except UnknownSubject:
        # Renamed or forgotten since the list was read.
        return ""
