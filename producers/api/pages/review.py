"""Review: recent answers near the cutoff, for people to say whether they were right. The cutoff learns from it."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from kith.client import Client
from kith.errors import UnknownGallery, UnknownSubject
from kith.jobs import Decision, Kind, Outcome
from kith.recent import recent
from producers.api.pages import words
from producers.api.pages.page_route import PageRoute, by_script
from producers.api.pages.portraits import pictured, portrait_of
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Enrolling, Reading
from producers.api.problems import Problem
from producers.api.shapes import GalleryPath
from producers.api.v1 import decisions as v1

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: How near to the cutoff is near, and most that are shown at a time.
_BAND, _SHOWN = 0.1, 18

_DECISION = re.compile(r"[0-9a-f]{32}:\d{1,2}")


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A decision to be judged. score, cutoff: of it. asked, known: the face asked about and the nearest subject's."""

    decision: Decision
    score: float
    cutoff: float
    asked: str
    known: str


@router.get("/review")
def home(request: Request, visitor: Reading) -> Response:
    """Of the gallery that is meant when none is named."""
    pages: Pages = request.app.state.pages
    return RedirectResponse(f"/review/{pages.home(visitor)}", 303)


@router.get("/review/{gallery}")
def review(
    request: Request,
    gallery: GalleryPath,
    visitor: Reading,
    hours: Annotated[int, Query(ge=1, le=24 * 31)] = 24,
    judged: Annotated[str, Query(pattern=r"^([0-9a-f]{32}:\d{1,2})?$")] = "",
) -> Response:
    """The nearest to the cutoff first, one of each way through a camera's view."""
    pages: Pages = request.app.state.pages
    visitor.caller.gallery(gallery)
    client = visitor.client
    found = near_the_cutoff(client, gallery, hours)
    shown = [_doubtful(client, gallery, each) for each in found[:_SHOWN]]
    return pages.page(
        request, "review.html", visitor, here="review", gallery=gallery, hours=hours, cards=shown,
        found=len(found), names=pages.names(visitor, gallery), judged=judged, kept=client.samples.count(gallery),
    )  # fmt: skip


@router.post("/review/{gallery}")
def judge(request: Request, gallery: GalleryPath, posted: Enrolling) -> Response:
    """Keep what somebody says of a decision, or take it back."""
    posted.caller.gallery(gallery)
    decision_id, verdict = posted.text("decision"), posted.text("verdict")
    if not _DECISION.fullmatch(decision_id):
        raise Problem(422, "invalid_request", "the form names no decision", field="decision")
    actually = str(posted.form.get("actually") or "").strip() or None
    if verdict == "withdraw":
        v1.withdraw(decision_id, posted.caller)
    elif verdict in ("right", "wrong", "stranger"):
        if verdict == "wrong" and posted.has("other") and actually is None:
            raise Problem(422, "invalid_request", "it is not said who it was", field="actually", remedy="choose a name")
        v1.judge(decision_id, v1.Verdict(verdict=verdict, actually=actually), posted.caller)
    else:
        raise Problem(422, "invalid_request", "there is no such verdict", field="verdict")
    if by_script(request):
        return JSONResponse({"judged": decision_id, "kept": words.kept(posted.visitor.client.samples.count(gallery))})
    told = "" if verdict == "withdraw" else f"?judged={decision_id}"
    return RedirectResponse(f"/review/{gallery}{told}", 303)


def near_the_cutoff(client: Client, gallery: str, hours: float) -> list[Decision]:
    """Searches of the last hours whose score is near what a match needed, that nobody has judged yet."""
    try:
        info = client.galleries.info(gallery)
    except UnknownGallery:
        return []
    known = {each.decision_id for each in client.samples.samples(gallery)}
    # Crops of one track are one question: the nearest to the cutoff is asked.
    best: dict[str, tuple[float, Decision]] = {}
    for each in recent(client, gallery, info.model_id, hours):
        if each.kind is not Kind.IDENTIFY or each.outcome not in (Outcome.MATCH, Outcome.UNKNOWN):
            continue
        if each.face is None or each.face.score is None or each.cutoff is None:
            continue
        of = each.seen.track if each.seen else each.image
        if each.decision_id in known:
            best[of] = (-1.0, each)
            continue
        distance = abs(each.face.score - each.cutoff)
        if distance <= _BAND and (of not in best or distance < best[of][0]):
            best[of] = (distance, each)
    return [each for distance, each in sorted(best.values(), key=lambda pair: pair[0]) if distance >= 0]


def _doubtful(client: Client, gallery: str, decision: Decision) -> Doubtful:
    face = decision.face
    assert face is not None
    assert face.score is not None
    assert decision.cutoff is not None
    known = ""
    if face.nearest:
        try:
            known = portrait_of(client.galleries.show(gallery, face.nearest), 200)
        except UnknownSubject:
            # Renamed, merged or forgotten since.
            known = ""
    return Doubtful(decision, face.score, decision.cutoff, pictured(decision, 0, 200), known)
