"""Who is at the pages: from a cookie to the key that was shown at sign-in, with its scopes and galleries.

A request that changes something must come from a page of ours. The cookie is SameSite=Lax, so other sites' forms come
without it; `Sec-Fetch-Site` or `Origin` must say that the page was one of this address; and the form must hold a word
that follows from the session's token, which no other page can read.
"""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import Depends
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from kith.api_keys import Scope
from kith.client import Client
from kith.errors import UnknownApiKey
from kith.jobs import MAX_IMAGES_PER_JOB, now_ms
from producers.api.callers import Caller
from producers.api.doors import Doors
from producers.api.problems import Problem

COOKIE = "kith_session"
#: The word against forged requests, in forms and, for those that scripts send, in a header.
FIELD, HEADER = "csrf", "x-csrf"

#: Text fields of a form, each at most so long.
_FIELDS, _FIELD_BYTES = 200, 8192


#: Why somebody is not signed in any more, by the word that stands in the address of the sign-in.
SIGNED_OUT = {
    "time": "You were signed out because some time has passed.",
    "gone": "The key you signed in with is gone.",
    "ended": "The key you signed in with was revoked, was rotated or has expired.",
}


class NotSignedIn(Exception):
    """Whoever asks has to sign in first. why: a word of SIGNED_OUT, '' where they simply had not."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who signed in. caller: the key they showed, as the API knows it. csrf: what their forms must hold."""

    caller: Caller
    csrf: str

    @property
    def client(self) -> Client:
        """Acts as the key."""
        return self.caller.client

    def may(self, scope: str) -> bool:
        """Whether the key has a scope; for templates."""
        return self.caller.key.may(Scope(scope))


@dataclass(frozen=True, slots=True)
class Posted:
    """A form that somebody sent who may send it."""

    visitor: Visitor
    form: FormData

    @property
    def caller(self) -> Caller:
        """Who sent it."""
        return self.visitor.caller

    def text(self, name: str) -> str:
        """A field that must be there. Raises Problem."""
        value = self.form.get(name)
        if not isinstance(value, str) or not value.strip():
            raise Problem(422, "invalid_request", f"the field {name} is empty", field=name, remedy="fill it in")
        return value

    def texts(self, name: str) -> list[str]:
        """All fields of that name, such as boxes that were ticked."""
        return [each for each in self.form.getlist(name) if isinstance(each, str)]

    def has(self, name: str) -> bool:
        """Whether the field is there and says something."""
        return bool(self.form.get(name))


def visiting(*scopes: Scope) -> Callable[[Request], Awaitable[Visitor]]:
    """A dependency: who is there, with any of these scopes. Raises NotSignedIn, Problem."""

    async def visitor(request: Request) -> Visitor:
        return await _admitted(request, scopes)

    return visitor


def changing(*scopes: Scope) -> Callable[[Request], AsyncIterator[Posted]]:
    """A dependency: a form from one of our pages, by somebody with any of these scopes. Raises NotSignedIn, Problem."""

    async def posted(request: Request) -> AsyncIterator[Posted]:
        check_origin(request)
        visitor = await _admitted(request, scopes)
        form = await form_of(request)
        try:
            said = request.headers.get(HEADER) or form.get(FIELD)
            if not isinstance(said, str) or not hmac.compare_digest(said.encode(), visitor.csrf.encode()):
                raise _forged("the form is not one of this session's")
            yield Posted(visitor, form)
        finally:
            # What was uploaded lies in temporary files.
            await form.close()

    return posted


Reading = Annotated[Visitor, Depends(visiting(Scope.READ))]
Anybody = Annotated[Visitor, Depends(visiting())]
Enrolling = Annotated[Posted, Depends(changing(Scope.ENROL))]
Submitting = Annotated[Posted, Depends(changing(Scope.SUBMIT))]
Administering = Annotated[Posted, Depends(changing(Scope.ADMIN))]
Leaving = Annotated[Posted, Depends(changing())]


async def form_of(request: Request) -> FormData:
    """The form of a request, bounded. Raises Problem."""
    try:
        return await request.form(max_files=MAX_IMAGES_PER_JOB, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    except HTTPException as broken:
        raise Problem(
            413 if broken.detail.startswith(("Too many", "Part exceeded")) else 400,
            "form_refused",
            broken.detail,
            limit=f"{MAX_IMAGES_PER_JOB} files",
            remedy="send fewer pictures at a time",
        ) from None


def check_origin(request: Request) -> None:
    """Raises Problem where the form was sent from a page of somebody else's, or nobody says where from."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise _forged("the form was sent by another site")
    if origin is not None:
        # What a proxy in front was called; no other site's page can make a browser send that header.
        names = (request.headers.get("host"), request.headers.get("x-forwarded-host"))
        if urlsplit(origin).netloc not in names:
            raise _forged("the form was sent by another site")
    elif site is None:
        raise _forged("the browser does not say which page sent the form")


def csrf_of(token: str) -> str:
    """The word of a session's forms. The token cannot be told from it."""
    return sha256(b"csrf\0" + token.encode(errors="replace")).hexdigest()


async def _admitted(request: Request, scopes: tuple[Scope, ...]) -> Visitor:
    token = request.cookies.get(COOKIE)
    if not token:
        raise NotSignedIn
    doors: Doors = request.app.state.doors
    return await to_thread.run_sync(_visitor, doors, token, scopes, request)


def _visitor(doors: Doors, token: str, scopes: tuple[Scope, ...], request: Request) -> Visitor:
    session = doors.sessions.get(token)
    if session is None:
        raise NotSignedIn("time")
    try:
        key = doors.client.api_keys.get(session.key_id)
    except UnknownApiKey:
        raise NotSignedIn("gone") from None
    if not session.goes_on(key, now_ms()):
        # The session stays till its time is up, and opens nothing: a page asks for many things at once, and each of
        # them is to be told why.
        raise NotSignedIn("ended")
    knobs = doors.settings.api
    # Of their own: a page asks for forty pictures at once, and a key for a machine may be held to one call a second.
    wait_s = doors.rates.take(f"pages:{key.key_id}", knobs.rate_per_s, knobs.burst)
    if wait_s > 0:
        raise Problem(429, "rate_exceeded", "too many pages are asked for with this key", retry_s=wait_s)
    caller = Caller(key, doors.client.acting_as(key.actor), request.state.trace)
    if scopes and not any(key.may(scope) for scope in scopes):
        caller.must(scopes[0])
    return Visitor(caller, csrf_of(token))


def _forged(why: str) -> Problem:
    return Problem(403, "forged_request", why, remedy="open the page anew and do it there")
