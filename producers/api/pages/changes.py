"""Changes of a gallery: shown with what they would do to recent decisions, then made, and taken back again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kith.changes_told import inverse, told
from kith.client import Client
from kith.errors import CannotUndo, StateUnavailable
from kith.foreseen import foreseen
from kith.gallery import GalleryStore
from kith.gallery_past import Past
from kith.proposed_changes import forgotten, merged, moved, removed, renamed, undone
from kith.redeciding import Effect
from producers.api.pages.gallery import names_for, person_url
from producers.api.pages.page_route import PageRoute
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Enrolling, Reading
from producers.api.pages.words import count
from producers.api.problems import Problem
from producers.api.shapes import GalleryPath

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: How far back decisions are looked at, and most that are listed.
_HOURS, _LISTED = 24.0, 12
#: What a form may lack, and what to do then.
_MISSING = {
    "who": ("the form does not say whom it is about", "go to their page, and do it there"),
    "to": ("the other name is missing", "go back and type it"),
    "templates": ("no picture is ticked", "go back and tick those that are meant"),
}
#: How long workers are waited for, to confirm that they forgot.
_CONFIRM_S = 20.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that somebody may make. title: what it is; means: what it means; verb: on the button. fields: what the
    form repeats. propose: what the gallery would be. make: does it, the sequence number. after: whose page comes next.
    """

    title: str
    means: str
    verb: str
    fields: tuple[tuple[str, str], ...]
    propose: Callable[[Past], Past]
    make: Callable[[GalleryStore, str], int]
    after: str = ""


@router.get("/gallery/{gallery}/change")
def show(request: Request, gallery: GalleryPath, visitor: Reading) -> Response:
    """What would come of it."""
    visitor.caller.gallery(gallery)
    pages: Pages = request.app.state.pages
    proposal = proposal_of(visitor.client, gallery, request.query_params)
    return pages.page(
        request, "change.html", visitor, here="gallery", gallery=gallery, proposal=proposal,
        effect=_effect(visitor.client, gallery, proposal), hours=_HOURS, listed=_LISTED,
    )  # fmt: skip


@router.post("/gallery/{gallery}/change")
def make(gallery: GalleryPath, posted: Enrolling) -> Response:
    """Do it."""
    posted.caller.gallery(gallery)
    client = posted.visitor.client
    proposal = proposal_of(client, gallery, posted.form)
    done = proposal.make(client.galleries, gallery)
    place = person_url(gallery, proposal.after, done) if proposal.after else f"/gallery/{gallery}?done={done}"
    return RedirectResponse(place, 303)


@router.post("/gallery/{gallery}/undo")
def undo(gallery: GalleryPath, posted: Enrolling) -> Response:
    """Take the change back that was just made, without asking: it can be made again."""
    posted.caller.gallery(gallery)
    done = posted.visitor.client.galleries.undo(gallery, _number(posted.text("sequence")))
    return RedirectResponse(f"/gallery/{gallery}?done={done}", 303)


@router.get("/gallery/{gallery}/forget")
def ask(
    request: Request, gallery: GalleryPath, visitor: Reading, name: Annotated[str, Query(min_length=1)]
) -> Response:
    """What forgetting somebody means, and what would come of it."""
    visitor.caller.gallery(gallery)
    pages: Pages = request.app.state.pages
    subject = visitor.client.galleries.show(gallery, name)
    return pages.page(
        request, "forget.html", visitor, here="gallery", gallery=gallery, subject=subject, wrong="",
        effect=_foreseen(visitor.client, gallery, lambda now: forgotten(now, subject.name)), hours=_HOURS,
        listed=_LISTED,
    )  # fmt: skip


@router.post("/gallery/{gallery}/forget")
def forget(request: Request, gallery: GalleryPath, posted: Enrolling) -> Response:
    """Erase them everywhere; the receipt is shown this once."""
    posted.caller.gallery(gallery)
    pages: Pages = request.app.state.pages
    client, name = posted.visitor.client, posted.text("name")
    subject = client.galleries.show(gallery, name)
    if posted.form.get("typed") != subject.name:
        return pages.page(
            request, "forget.html", posted.visitor, here="gallery", gallery=gallery, subject=subject, code=422,
            wrong="That is not the name. Nothing was erased.", effect=None, hours=_HOURS, listed=_LISTED,
        )  # fmt: skip
    from kith.receipts import to_text  # noqa: PLC0415 (it loads the library of signatures, which hardly anybody needs)

    receipt = client.forget(subject.name, gallery=gallery, wait_s=_CONFIRM_S)
    return pages.page(
        request, "forgotten.html", posted.visitor, here="gallery", gallery=gallery, name=subject.name,
        receipt=to_text(receipt), silent=receipt.receipt.silent,
    )  # fmt: skip


def proposal_of(client: Client, gallery: str, asked: QueryParams | FormData) -> Proposal:
    """The change that a form asks for. Raises Problem for one that says too little, CannotUndo."""
    do, who, to = (_said(asked, name) for name in ("do", "name", "to"))
    templates = [each for each in asked.getlist("t") if isinstance(each, str)][:1000]
    some = count(len(templates), "template")
    fields = (("do", do), ("name", who), ("to", to), *(("t", each) for each in templates))
    match do:
        case "rename":
            _needs(who=who, to=to)
            means = "Their pictures, their id and what is known of them stay."
            return Proposal(
                f"Rename {who} to {to}", means, "Rename", fields, lambda now: renamed(now, who, to),
                lambda store, name: store.rename(name, who, to), to.strip(),
            )  # fmt: skip
        case "merge":
            _needs(who=who, to=to)
            means = f"All pictures of {who} become pictures of {to}. The name {who} ends."
            return Proposal(
                f"Merge {who} into {to}", means, "Merge", fields, lambda now: merged(now, who, to),
                lambda store, name: store.merge(name, who, to), to.strip(),
            )  # fmt: skip
        case "move":
            _needs(who=who, to=to, templates=some if templates else "")
            means = f"Whoever is called {to} gets them; if nobody is, they are somebody new."
            return Proposal(
                f"Give {some} of {who} to {to}", means, "Move", fields, lambda now: moved(now, who, templates, to),
                lambda store, name: store.move(name, who, templates, to), who,
            )  # fmt: skip
        case "remove":
            _needs(who=who, templates=some if templates else "")
            means = "They are not compared with any more. The vectors are kept a while for undoing; forgetting erases."
            return Proposal(
                f"Remove {some} of {who}", means, "Remove", fields, lambda now: removed(now, who, templates),
                lambda store, name: store.remove(name, who, templates), who,
            )  # fmt: skip
        case "undo":
            sequence = _number(_said(asked, "sequence"))
            found = client.galleries.history(gallery, before=sequence + 1, limit=1)
            if not found or found[0].sequence != sequence:
                raise CannotUndo(f"the history does not reach back to change {sequence} any more")
            entry = found[0]
            names = names_for(client, gallery, entry)
            return Proposal(
                f"Undo change {sequence}", f"It was: {told(entry, names)}. Undone: {inverse(entry, names)}.", "Undo",
                (("do", do), ("sequence", str(sequence))), lambda now: undone(now, entry),
                lambda store, name: store.undo(name, sequence),
            )  # fmt: skip
    raise Problem(422, "invalid_request", "the page does not say which change is meant", remedy="open the page anew")


def _effect(client: Client, gallery: str, proposal: Proposal) -> Effect | None:
    return _foreseen(client, gallery, proposal.propose)


def _foreseen(client: Client, gallery: str, propose: Callable[[Past], Past]) -> Effect | None:
    """None where it cannot be told just now; what is wrong with the change itself is raised."""
    try:
        return foreseen(client, gallery, propose, _HOURS)[1]
    except StateUnavailable:
        return None


def _said(asked: QueryParams | FormData, name: str) -> str:
    value = asked.get(name, "")
    return value if isinstance(value, str) else ""


def _needs(**fields: str) -> None:
    for name, value in fields.items():
        if not value.strip():
            detail, remedy = _MISSING[name]
            raise Problem(422, "invalid_request", detail, field=name, remedy=remedy)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise Problem(422, "invalid_request", "the form names no change", field="sequence")
    return int(text)
