"""Signing in by a key, and out."""

from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kith.api_keys import ApiKey, parts_of
from kith.errors import UnknownApiKey
from kith.jobs import now_ms
from kith.sessions import Session
from producers.api.callers import Callers
from producers.api.doors import Doors
from producers.api.pages.page_route import PageRoute, sentence
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import COOKIE, SIGNED_OUT, Leaving, check_origin, form_of
from producers.api.problems import Problem

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/sign-in")
def sign_in(request: Request, next: str = "", why: str = "") -> Response:
    """The form."""
    pages: Pages = request.app.state.pages
    # Anybody may have written the address: a word of it chooses a sentence of ours, and none is repeated.
    return pages.outside("sign_in.html", after=own_place(next), why=SIGNED_OUT.get(why, ""))


@router.post("/sign-in")
async def begin(request: Request) -> Response:
    """Show a key; what is wrong with it is said in the form."""
    check_origin(request)
    form = await form_of(request)
    token, after = str(form.get("key") or "").strip(), own_place(str(form.get("next") or ""))
    await form.close()
    callers: Callers = request.app.state.callers
    doors: Doors = request.app.state.doors
    try:
        caller = await callers.admit(token, (), request.state.trace)
        session = await to_thread.run_sync(_begun, doors, caller.key, token)
    except Problem as refused:
        if refused.status not in (401, 429):
            raise
        pages: Pages = request.app.state.pages
        why = "Enter a key." if not token else _refused(token, refused)
        return pages.outside("sign_in.html", refused.status, after=after, why=why)
    lifetime_s = doors.settings.api.session_s
    answer = RedirectResponse(after, 303)
    # Behind a proxy that speaks TLS. Who forges the header makes only their own cookie stricter.
    safe = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    answer.set_cookie(COOKIE, session, max_age=lifetime_s, httponly=True, samesite="lax", secure=safe, path="/")
    return answer


@router.post("/sign-out")
def end(request: Request, _: Leaving) -> Response:
    """The session ends here, not only in the browser."""
    doors: Doors = request.app.state.doors
    doors.sessions.end(request.cookies[COOKIE])
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
    return answer


def _refused(token: str, why: Problem) -> str:
    if parts_of(token) is None:
        return "That is no API key: one begins with kith_ and has two more parts. Paste the whole of it."
    return f"{sentence(why.detail)} Paste it once more, or ask for another one."


def _begun(doors: Doors, admitted: ApiKey, token: str) -> str:
    parts = parts_of(token)
    assert parts is not None
    try:
        # As it stands now: what the caller was admitted by may be some seconds old.
        shown = doors.client.api_keys.get(admitted.key_id).opened_by(parts[1], now_ms())
    except UnknownApiKey:
        shown = None
    if shown is None:
        raise Problem(401, "unauthorised", "the API key was revoked or has expired")
    session = Session(admitted.key_id, shown.created_ms, now_ms())
    return doors.sessions.begin(session, doors.settings.api.session_s)


def own_place(place: str) -> str:
    """`place` when it is a page of ours, else the first page: nobody is sent elsewhere by a link to the sign-in."""
    parts = urlsplit(place)
    inside = place.startswith("/") and not place.startswith(("//", "/\\")) and not (parts.scheme or parts.netloc)
    return place if inside and "\\" not in place and place.isprintable() else "/"
