"""Calibration: where a gallery's cutoff stands, what it rests on, and what another one would change."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from starlette.responses import JSONResponse, Response

from kith import wire
from kith.amending import amend_settings
from kith.client import Client
from kith.default_cutoff import default_cutoff
from kith.deriving import aiming_at, derived
from kith.gallery_cutoff import LEAST_FPIR, Derived, is_stale, rate_now
from kith.gallery_settings import CutoffRecord, GallerySettings
from kith.preview import Changed, would_change
from kith.recent import recent, rule_of
from kith.subjects import GalleryInfo
from producers.api.shapes import Administering, GalleryPath, Reading
from producers.api.submissions import Number

router = APIRouter(prefix="/v1/galleries/{gallery}/cutoff", tags=["calibration"])

#: Changed decisions that a preview lists, of each sort.
_MOST_CHANGES = 200


#: One of the three, with or without a margin, or that alone.
_EITHER: dict[str, Any] = {
    "anyOf": [{"required": [way]} for way in ("cutoff", "fpir", "clear", "margin")],
    "not": {"anyOf": [{"required": two} for two in (["cutoff", "fpir"], ["cutoff", "clear"], ["fpir", "clear"])]},
}


class Wanted(BaseModel):
    """One of: `cutoff`, kept until somebody changes it; `fpir`, a rate to aim at now and as the gallery grows; `clear`,
    back to the installation's or the model's. And a `margin`, or that alone."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=_EITHER,
    )

    cutoff: Annotated[Number, Field(ge=-1, le=1, examples=[0.42])] | SkipJsonSchema[None] = None
    #: Nobody can show a rate below the last: it would take millions of judged searches.
    fpir: Annotated[Number, Field(ge=LEAST_FPIR, le=0.5, examples=[0.01])] | SkipJsonSchema[None] = None
    clear: Literal[True] | SkipJsonSchema[None] = None
    margin: Annotated[Number, Field(ge=0, le=2)] | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Wanted":
        given = self.model_fields_set
        if len(given - {"margin"}) > 1:
            raise ValueError("give at most one of cutoff, fpir and clear")
        if not given or any(getattr(self, each) is None for each in given):
            raise ValueError("give cutoff, fpir, clear or margin, each with a value")
        return self


class Standing(BaseModel):
    """`cutoff`: the gallery's own; absent where `default` applies. `fpir`: the rate it aims at. `record`: what it was
    derived from, with its 95 % interval; absent when it was set by hand. `stale`: whether it has to be derived anew.
    `fpir_now`: the rate by rule at today's size. `judged`: searches that people judged."""

    gallery: str
    cutoff: float | None = None
    default: float
    fpir: float | None = None
    margin: float | None = None
    subjects: int
    templates: int
    record: CutoffRecord | None = None
    stale: bool | None = None
    fpir_now: float | None = None
    judged: int


class ChangedDecision(BaseModel):
    """A recent decision that would be another one."""

    decision_id: str
    face: int
    nearest: str | None = None


class Preview(BaseModel):
    """`looked_at`: faces judged in the last `hours`. `named`, `unnamed`: how many more would be named, and would not be
    named any more; `changes` lists the newest of both."""

    cutoff: float
    margin: float
    hours: float
    looked_at: int
    named: int
    unnamed: int
    changes: dict[str, list[ChangedDecision]]


@router.get("", response_model=Standing)
def standing(gallery: GalleryPath, caller: Reading) -> Response:
    """Where it stands."""
    client = caller.client
    return JSONResponse(_standing(client, client.galleries.info(caller.gallery(gallery))))


@router.put("", response_model=Standing)
def put(gallery: GalleryPath, body: Wanted, caller: Administering) -> Response:
    """Set, derive or clear the cutoff. Deriving reads the whole gallery: seconds, for a large one."""
    client, name = caller.client, caller.gallery(gallery)
    found = _found(client, name, body)
    amend_settings(client.galleries, name, lambda info: _wanted(info, body, found))
    return JSONResponse(_standing(client, client.galleries.info(name)))


@router.post("/preview", response_model=Preview)
def preview(
    gallery: GalleryPath,
    body: Wanted,
    caller: Reading,
    hours: Annotated[float, Query(gt=0, le=24 * 31, description="How far back.")] = 24.0,
) -> Response:
    """Which recent decisions it would change; nothing is changed."""
    client = caller.client
    info = client.galleries.info(caller.gallery(gallery))
    wanted = _wanted(info, body, _found(client, info.name, body))
    decisions = recent(client, info.name, info.model_id, hours)
    now = rule_of(client, info.settings, info.model_id, decisions)
    # What workers used so far says nothing of a gallery whose own cutoff is taken away.
    new = rule_of(client, wanted, info.model_id, decisions if wanted.cutoff == info.settings.cutoff else [])
    found = would_change(decisions, now, new)
    told = {
        "cutoff": new.cutoff,
        "margin": new.margin,
        "hours": hours,
        "looked_at": found.looked_at,
        "named": len(found.named),
        "unnamed": len(found.unnamed),
        "changes": {"named": _plain(found.named), "unnamed": _plain(found.unnamed)},
    }
    return JSONResponse(told)


def _found(client: Client, name: str, body: Wanted) -> Derived | None:
    return None if body.fpir is None else derived(client, name, body.fpir, 0)


def _wanted(info: GalleryInfo, body: Wanted, found: Derived | None) -> GallerySettings:
    settings = info.settings if body.margin is None else replace(info.settings, margin=body.margin)
    if body.clear:
        return replace(settings, cutoff=None, record=None, fpir=None)
    if body.cutoff is not None:
        # By hand: without a target, or upkeep would derive another one.
        return replace(settings, cutoff=body.cutoff, record=None, fpir=None)
    return settings if found is None else aiming_at(replace(info, settings=settings), found)


def _standing(client: Client, info: GalleryInfo) -> dict[str, Any]:
    settings, record = info.settings, info.settings.record
    shown = {
        "gallery": info.name,
        "cutoff": settings.cutoff,
        "default": default_cutoff(client.settings, info.model_id),
        "fpir": settings.fpir,
        "margin": settings.margin,
        "subjects": info.subjects,
        "templates": info.templates,
        "record": None if record is None else wire.to_dict(record),
        "stale": None
        if record is None
        else is_stale(record, info.subjects, info.templates, info.model_id, settings.scoring),
        "fpir_now": None
        if record is None or record.how == "default"
        else rate_now(record, info.subjects, info.templates),
        "judged": client.samples.count(info.name),
    }
    return {key: value for key, value in shown.items() if value is not None}


def _plain(changes: Iterable[Changed]) -> list[dict[str, Any]]:
    newest = list(changes)[-_MOST_CHANGES:]
    return [{"decision_id": each.decision.decision_id, "face": each.face, "nearest": each.nearest} for each in newest]
