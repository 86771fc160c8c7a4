"""Cutoff: how strangers and people who are known score, where the cutoff stands, and what another would change."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kith.client import Client
from kith.decision import Rule
from kith.default_cutoff import default_cutoff
from kith.errors import UnknownGallery
from kith.gallery_cutoff import is_stale, rate_now
from kith.jobs import Decision
from kith.preview import WouldChange, would_change
from kith.recent import recent, rule_of
from kith.subjects import GalleryInfo
from producers.api.pages.distributions import Distributions, Rate, Remembered
from producers.api.pages.histogram import Series, histogram
from producers.api.pages.page_route import PageRoute, by_script
from producers.api.pages.rendering import Pages
from producers.api.pages.visitors import Administering, Posted, Reading
from producers.api.problems import Problem
from producers.api.shapes import GalleryPath
from producers.api.v1 import calibration as v1

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: How far back decisions are looked at, and most changed ones that are shown.
_HOURS, _LISTED = 24.0, 12


@dataclass(frozen=True, slots=True)
class Tried:
    """What a cutoff would make of the scores and of recent decisions."""

    cutoff: float
    fpir: Rate
    fnir: Rate
    found: WouldChange


@router.get("/cutoff")
def home(request: Request, visitor: Reading) -> Response:
    """Of the gallery that is meant when none is named."""
    pages: Pages = request.app.state.pages
    return RedirectResponse(f"/cutoff/{pages.home(visitor)}", 303)


@router.get("/cutoff/{gallery}")
def show(
    request: Request,
    gallery: GalleryPath,
    visitor: Reading,
    at: Annotated[float | None, Query(ge=-1, le=1)] = None,
    was_set: Annotated[bool, Query(alias="set")] = False,
) -> Response:
    """Where it stands. at: another one to try; a script asks for that part alone."""
    pages: Pages = request.app.state.pages
    visitor.caller.gallery(gallery)
    client = visitor.client
    try:
        info = client.galleries.info(gallery)
    except UnknownGallery:
        if by_script(request):
            raise
        return pages.page(request, "cutoff_empty.html", visitor, here="cutoff", gallery=gallery)
    decisions = recent(client, gallery, info.model_id, _HOURS)
    now = rule_of(client, info.settings, info.model_id, decisions)
    remembered: Remembered = request.app.state.distributions
    scores = remembered.of(client, info)
    tried = _tried(scores, decisions, now, now.cutoff if at is None else at)
    may_set = visitor.may("admin")
    if by_script(request):
        part = pages.part("_tried.html", tried=tried, now=now, hours=_HOURS, listed=_LISTED)
        return HTMLResponse(part)
    return pages.page(
        request, "cutoff.html", visitor, here="cutoff", gallery=gallery, info=info, now=now, scores=scores,
        tried=tried, drawing=_drawing(scores, info, tried.cutoff), hours=_HOURS, listed=_LISTED,
        default=default_cutoff(client.settings, info.model_id), may_set=may_set, was_set=was_set,
        **_record(client, info),
    )  # fmt: skip


@router.post("/cutoff/{gallery}")
def put(gallery: GalleryPath, posted: Administering) -> Response:
    """Set it by hand, aim at a rate, or go back to the model's. As PUT /v1/galleries/{gallery}/cutoff."""
    match posted.text("how"):
        case "cutoff":
            wanted = v1.Wanted(cutoff=_number(posted, "cutoff", -1, 1))
        case "fpir":
            wanted = v1.Wanted(fpir=_number(posted, "percent", 1e-4, 50) / 100)
        case "clear":
            wanted = v1.Wanted(clear=True)
        case _:
            raise Problem(422, "invalid_request", "the form does not say what is wanted", field="how")
    v1.put(gallery, wanted, posted.caller)
    return RedirectResponse(f"/cutoff/{gallery}?set=true", 303)


def _tried(scores: Distributions, decisions: list[Decision], now: Rule, cutoff: float) -> Tried:
    found = would_change(decisions, now, replace(now, cutoff=cutoff))
    return Tried(cutoff, scores.fpir(cutoff), scores.fnir(cutoff), found)


def _drawing(scores: Distributions, info: GalleryInfo, cutoff: float) -> str:
    record = info.settings.record
    known = record is not None and record.low is not None and record.high is not None
    interval = (record.low, record.high) if known else None  # type: ignore[union-attr]
    words = (
        f"Scores of {scores.strangers.count} searches of strangers and {scores.known.count} of people who are known, "
        f"with the cutoff at {cutoff:.2f}"
    )
    series = [
        Series("strangers", "strangers", scores.strangers.scores, scores.strangers.weights),
        Series("known", "people who are known", scores.known.scores, scores.known.weights),
    ]
    return histogram(series, cutoff, interval, words)  # type: ignore[arg-type]


def _record(client: Client, info: GalleryInfo) -> dict[str, Any]:
    record = info.settings.record
    derived = record is not None and record.how != "default"
    return {
        "record": record,
        "stale": record is not None
        and is_stale(record, info.subjects, info.templates, info.model_id, info.settings.scoring),
        "rate": rate_now(record, info.subjects, info.templates) if record is not None and derived else None,
        "judged": client.samples.count(info.name),
    }


def _number(posted: Posted, name: str, low: float, high: float) -> float:
    try:
        value = float(posted.text(name).replace(",", "."))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise Problem(
            422,
            "invalid_request",
            f"this is no number from {low:g} to {high:g}",
            field=name,
            limit=f"{low:g}..{high:g}",
            remedy="correct it",
        )
    return value
