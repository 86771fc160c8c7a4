"""The first visit: enrol yourself, look into the camera, see your name. And where the menu's first page is."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kith.api_keys import Scope
from producers.api.pages.page_route import PageRoute
from producers.api.pages.rendering import Pages, galleries_of
from producers.api.pages.visitors import Anybody

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
def first(visitor: Anybody) -> Response:
    """Live; as long as nobody is known, the guided start for whoever may enrol; else what the key may see."""
    if visitor.may("read"):
        nobody = not any(each.subjects for each in galleries_of(visitor))
        return RedirectResponse("/start" if nobody and visitor.may("enrol") else "/live", 303)
    return RedirectResponse("/start", 303)


@router.get("/start")
def start(request: Request, visitor: Anybody) -> Response:
    """In three steps."""
    pages: Pages = request.app.state.pages
    # Either half can be done with; without both there is nothing to start.
    if not (visitor.may("enrol") or visitor.may("submit")):
        visitor.caller.must(Scope.ENROL)
    return pages.page(request, "start.html", visitor, here="start")
