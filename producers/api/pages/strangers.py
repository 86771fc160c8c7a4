"""Strangers: people cameras saw and nobody named; to name, merge, ignore or forget. What is done is what /v1 does."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kith.names import subject_name
from kith.watching.strangers import Stranger
from producers.api.pages.gallery import person_url
from producers.api.pages.page_route import PageRoute
from producers.api.pages.portraits import picture_url
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Enrolling, Reading
from producers.api.problems import Problem
from producers.api.shapes import GalleryPath
from producers.api.v1 import strangers as v1

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Number = Annotated[int, Path(ge=1, le=999_999_999)]

#: Strangers on one page.
_SHOWN = 24

_SAID = {
    "merged": "They are one stranger now.",
    "ignored": "They are told of no more. They keep their number, and are shown here with the ignored ones.",
    "told": "They are told of again.",
    "forgotten": "They are forgotten: pictures, visits, events and decisions.",
}


@router.get("/strangers")
def home(request: Request, visitor: Reading) -> Response:
    """Of the gallery that is meant when none is named."""
    pages: Pages = request.app.state.pages
    return RedirectResponse(f"/strangers/{pages.home(visitor)}", 303)


@router.get("/strangers/{gallery}")
def strangers(
    request: Request,
    gallery: GalleryPath,
    visitor: Reading,
    ignored: bool = False,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Who there is, last seen first."""
    pages: Pages = request.app.state.pages
    visitor.caller.gallery(gallery)
    client = visitor.client
    living = [each for each in client.strangers.desk.strangers(gallery) if each.lives]
    wanted = sorted((each for each in living if each.ignored is ignored), key=lambda each: (-each.last_ms, each.number))
    known = pages.names(visitor, gallery)
    page = min(page, max(1, -(-len(wanted) // _SHOWN)))
    return pages.page(
        request, "strangers.html", visitor, here="strangers", gallery=gallery, ignored=ignored, page=page,
        cards=[(each, _crops(each)) for each in wanted[(page - 1) * _SHOWN : page * _SHOWN]],
        pages=-(-len(wanted) // _SHOWN), found=len(wanted), hidden=sum(each.ignored for each in living),
        others=[each.number for each in wanted], known=known, said=_SAID.get(said, ""),
    )  # fmt: skip


@router.post("/strangers/{gallery}/{number}/name")
def name(gallery: GalleryPath, number: Number, posted: Enrolling) -> Response:
    """Say who it is: they are enrolled from the crops that were kept, which the next page says, and can take back."""
    called = subject_name(posted.text("subject"))
    decisions, _ = posted.caller.client.strangers.name(posted.caller.gallery(gallery), number, called)
    done = max((each.gallery_version or 0 for each in decisions), default=0)
    return RedirectResponse(person_url(gallery, called, done), 303)


@router.post("/strangers/{gallery}/{number}/merge")
def merge(gallery: GalleryPath, number: Number, posted: Enrolling) -> Response:
    """Say that two are one."""
    other = posted.text("other").strip()
    if not other.isdecimal() or not 1 <= len(other) <= 9 or other.startswith("0"):
        raise Problem(422, "invalid_request", "that is no stranger's number", field="other", remedy="choose one")
    v1.merge(gallery, number, v1.Merging(other=int(other)), posted.caller)
    return _back(gallery, "merged")


@router.post("/strangers/{gallery}/{number}/ignore")
def ignore(gallery: GalleryPath, number: Number, posted: Enrolling) -> Response:
    """Tell of them no more, or again."""
    ignored = posted.text("ignored") == "yes"
    v1.ignore(gallery, number, v1.Ignoring(ignored=ignored), posted.caller)
    return _back(gallery, "ignored" if ignored else "told")


@router.post("/strangers/{gallery}/{number}/forget")
def forget(gallery: GalleryPath, number: Number, posted: Enrolling) -> Response:
    """Erase them, where that was ticked."""
    if not posted.has("sure"):
        raise Problem(422, "invalid_request", "the box was not ticked, so nobody was erased", remedy="tick it")
    v1.forget(gallery, number, posted.caller)
    return _back(gallery, "forgotten")


def _crops(stranger: Stranger) -> list[str]:
    return [picture_url(each.image, 112) for each in stranger.crops]


def _back(gallery: str, said: str) -> Response:
    return RedirectResponse(f"/strangers/{gallery}?said={said}", 303)
