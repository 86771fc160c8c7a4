"""What every page has in common: headers that keep browsers strict, and errors in words instead of problem details."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from kith.errors import KithError
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import SIGNED_OUT, NotSignedIn
from producers.api.problems import Problem, of_error, of_validation, unexpected

_log = logging.getLogger("kith.api")

#: Scripts and styles come from here alone, none stand in the page; nobody frames it. blob: pictures of one's own
#: camera, before they are sent.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    # Not no-referrer: forms would then come with `Origin: null`, which is nobody's.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}

#: What people can do about it who have a page before them, where the API's advice speaks of calls.
_REMEDIES = {
    "unknown_gallery": "Enrol somebody in it, and it is there.",
    "unknown_subject": "They may have been renamed, merged or forgotten. Look them up in the gallery.",
    "unknown_template": "It was removed or moved meanwhile.",
    "unknown_stranger": "They have been named, merged or forgotten meanwhile.",
    "unknown_decision": "Decisions are kept for a while only.",
    "unknown_dead_letter": "It was retried or deleted meanwhile.",
    "cannot_undo": "Undo what was changed since first, newest first: the gallery's history has it.",
    "name_taken": "Choose another name, or merge the two people.",
    "scope_missing": "Sign in with a key that has it.",
    "gallery_forbidden": "Choose another gallery, or sign in with another key.",
    "missing_image": "Pictures are erased when their time to be kept is over.",
    "not_found": "Go on from the first page.",
}


class PageRoute(APIRoute):
    """A route that answers people."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As every route's, with the errors caught."""
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                response = await handler(request)
            except NotSignedIn as stranger:
                response = _sent_away(request, stranger.why)
            except Problem as problem:
                response = _told(request, problem)
            except KithError as error:
                response = _told(request, of_error(error))
            except RequestValidationError as wrong:
                response = _told(request, _misaddressed(of_validation(wrong)))
            except Exception as fault:  # noqa: BLE001 (a bug of ours: nothing of it is told but that there is one)
                trace_id = request.state.trace.request_id
                _log.exception("request %s: %s %s failed", trace_id, request.method, request.url.path)
                response = _told(request, unexpected(fault))
            return _strict(response)

        return handled


def lost(request: Request) -> Response:
    """For a browser at an address where there is nothing, of the pages or of anything."""
    return _strict(_told(request, Problem(404, "not_found", "there is nothing at this address")))


def by_script(request: Request) -> bool:
    """Whether a script of ours asks, which wants a part of a page and no whole one."""
    return request.headers.get("x-part") == "1"


def _strict(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _sent_away(request: Request, why: str) -> Response:
    if by_script(request):
        detail = SIGNED_OUT.get(why, "You are not signed in.")
        return JSONResponse({"detail": detail, "remedy": "Sign in again.", "why": why}, 401)
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    # Only what can be asked for again: a form that was sent is lost with the session.
    after = f"?next={quote(asked)}" if request.method == "GET" and asked != "/" else ""
    said = f"{'&' if after else '?'}why={why}" if why else ""
    return RedirectResponse(f"/sign-in{after}{said}", 303)


def _misaddressed(problem: Problem) -> Problem:
    """Patterns and limits are for programs; people meet this with an address that was mistyped or is old."""
    return Problem(
        problem.status, problem.code, f"the address or the form holds what cannot be: {problem.field}",
        field=problem.field, remedy="go on from the first page",
    )  # fmt: skip


def _told(request: Request, problem: Problem) -> Response:
    remedy = _REMEDIES.get(problem.code)
    if remedy is None and "/v1" not in (problem.remedy or ""):
        remedy = sentence(problem.remedy or "")
    headers = {} if problem.retry_s is None else {"retry-after": str(max(1, round(problem.retry_s)))}
    if by_script(request):
        body = {"detail": sentence(problem.detail), "remedy": remedy or "", "code": problem.code}
        return JSONResponse(body, problem.status, headers)
    pages: Pages = request.app.state.pages
    return pages.error(request, problem.status, sentence(problem.detail), remedy or "", headers)


def sentence(words: str) -> str:
    """`words` as a sentence of its own."""
    words = words.strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words.endswith((".", "!", "?", "…")) else ".")
