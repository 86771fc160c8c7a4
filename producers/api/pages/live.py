"""Live: what cameras see, and what is decided, as it comes."""

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from kith import wire
from kith.api_keys import Scope
from kith.errors import KithError
from kith.jobs import Decision, Kind, Outcome, now_ms
from kith.watching.events import Event, EventKind
from producers.api.broadcasting import Broadcast
from producers.api.pages.newest import newest
from producers.api.pages.page_route import PageRoute
from producers.api.pages.portraits import picture_url, pictured
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import NotSignedIn, Reading, Visitor, visiting
from producers.api.problems import Problem, of_error
from producers.api.sse import PING, PING_EVERY_S, EventStream, event

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Entries that are there when the page opens, and the width of their pictures, twice what they take up.
_SHOWN, _SIDE = 25, 112

_NAME = r"^([a-z0-9][a-z0-9_-]{0,63})?$"
Source = Annotated[Literal["cameras", "decisions"], Query()]
Show = Annotated[Literal["all", "known", "strangers", "unusable"], Query()]
Named = Annotated[str, Query(pattern=_NAME)]
Place = Annotated[str | None, Query(pattern=r"^\d{1,15}-\d{1,15}$")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the stream is to be seen; '' for all."""

    source: str
    gallery: str
    camera: str
    show: str

    @property
    def query(self) -> str:
        """For addresses."""
        return urlencode({"source": self.source, "gallery": self.gallery, "camera": self.camera, "show": self.show})

    def lets(self, visitor: Visitor, gallery: str, camera: str | None) -> bool:
        """Whether an entry of that gallery and camera is wanted, and may be seen."""
        return (
            visitor.caller.key.sees(gallery) and self.gallery in ("", gallery) and self.camera in ("", camera or None)
        )

    def shows(self, thing: Event | Decision) -> bool:
        """Whether one that may be seen is of the kind that is wanted."""
        if isinstance(thing, Decision):
            if thing.kind is Kind.ENROL:
                return self.show == "all"
            unusable = thing.outcome not in (Outcome.MATCH, Outcome.UNKNOWN)
            known = thing.subject is not None
        else:
            unusable, known = thing.kind is EventKind.UNUSABLE, thing.subject is not None
        return {"all": True, "known": known, "unusable": unusable, "strangers": not known and not unusable}[self.show]


@router.get("/live")
def live(
    request: Request,
    visitor: Reading,
    source: Source = "cameras",
    gallery: Named = "",
    camera: Named = "",
    show: Show = "all",
) -> Response:
    """The newest, and a place for what comes."""
    pages: Pages = request.app.state.pages
    if gallery:
        visitor.caller.gallery(gallery)
    wanted, client = Wanted(source, gallery, camera, show), visitor.client
    if source == "cameras":
        # Before the entries are read: what comes meanwhile is told by the stream once more, not missed.
        place = client.events.position()
        entries = newest(
            lambda last, most: client.events.after(last, limit=most), now_ms(),
            lambda each: wanted.lets(visitor, each.event.gallery, each.event.camera) and wanted.shows(each.event),
            _SHOWN,
        )  # fmt: skip
        rows = [(each.entry_id, each.event) for each in entries]
    else:
        place = client.results.position()
        decided = newest(
            lambda last, most: client.results.after(last, limit=most), now_ms(),
            lambda each: wanted.lets(visitor, each.decision.gallery, _camera(each.decision))
            and wanted.shows(each.decision),
            _SHOWN,
        )  # fmt: skip
        rows = [(each.entry_id, each.decision) for each in decided]  # type: ignore[misc]
    cameras = [each.name for each in client.cameras.all() if visitor.caller.key.sees(each.gallery)]
    return pages.page(
        request, "live.html", visitor, here="live", wanted=wanted, cameras=cameras, place=place,
        rows=[(entry_id, row(pages, thing)) for entry_id, thing in rows],
    )  # fmt: skip


@router.get("/live/stream")
def follow(
    request: Request,
    visitor: Reading,
    source: Source = "cameras",
    gallery: Named = "",
    camera: Named = "",
    show: Show = "all",
    after: Place = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,15}-\d{1,15}$")] = None,
) -> EventStream:
    """Server-sent events `entry`: rows as the page has them."""
    if gallery:
        visitor.caller.gallery(gallery)
    broadcast: Broadcast[Any] = request.app.state.events if source == "cameras" else request.app.state.decisions
    broadcast.check_room()
    wanted = Wanted(source, gallery, camera, show)
    read: Callable[[str], Event | Decision] = (
        (lambda text: wire.from_json(Event, text))
        if source == "cameras"
        else lambda text: wire.from_json(Decision, text)
    )
    return EventStream(_parts(request, visitor, broadcast, last_event_id or after, wanted, read))


def row(pages: Pages, thing: Event | Decision) -> str:
    """One entry as a part of the page."""
    if isinstance(thing, Decision):
        return pages.part("_decision.html", decision=thing, picture=pictured(thing, 0, _SIDE))
    evidence = thing.evidence
    return pages.part(
        "_event.html", event=thing, picture=picture_url(thing.snapshot or "", _SIDE),
        score=evidence.score if evidence else None, cutoff=evidence.cutoff if evidence else None,
        nearest=evidence.nearest if evidence and not thing.subject else None,
    )  # fmt: skip


async def _parts(
    request: Request,
    visitor: Visitor,
    broadcast: Broadcast[Any],
    last: str | None,
    wanted: Wanted,
    read: Callable[[str], Event | Decision],
) -> AsyncIterator[bytes]:
    pages: Pages = request.app.state.pages
    admitted = visiting(Scope.READ)
    looked_s = time.monotonic()
    yield b"retry: 2000\n\n"
    try:
        async for told in broadcast.listen(last):
            if time.monotonic() - looked_s > PING_EVERY_S:
                # Streams last for hours: who has signed out meanwhile, or lost the key, hears no more.
                await admitted(request)
                looked_s = time.monotonic()
            if told is None:
                yield PING
            elif wanted.lets(visitor, told.gallery, told.camera):
                thing = await to_thread.run_sync(read, told.text)
                if wanted.shows(thing):
                    yield event(json.dumps({"html": row(pages, thing)}), name="entry", entry_id=told.entry_id)
    except NotSignedIn:
        yield event("{}", name="out")
    except (KithError, Problem) as away:
        problem = away if isinstance(away, Problem) else of_error(away)
        yield event(json.dumps({"detail": problem.detail}), name="problem")


def _camera(decision: Decision) -> str | None:
    return decision.seen.camera if decision.seen else None
