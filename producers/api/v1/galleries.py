"""Galleries: which there are, their settings, their history."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from kith.amending import amend_settings
from kith.gallery import GalleryInfo, GallerySettings, HistoryEntry
from kith.gallery_settings import Scoring
from producers.api.problems import Problem
from producers.api.shapes import (
    Administering,
    Changed,
    Confirming,
    Enrolling,
    GalleryPath,
    Limit,
    Reading,
    Receipt,
    changed,
    patience,
    plain,
    receipt_of,
)
from producers.api.submissions import MAX_INTEGER, Number, Whole

router = APIRouter(prefix="/v1/galleries", tags=["galleries"])

Margin = Annotated[Number, Field(ge=0, le=2, description="Lead over the second subject that a match needs.")]
Keep = Annotated[Whole, Field(ge=1, le=MAX_INTEGER, description="Seconds.")]


class NewGallery(BaseModel):
    """A gallery to be made. Whoever enrols first makes one too, for the model that workers have."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", examples=["staff"])]
    model_id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[!-~]+$", examples=["3969c67fa580f8e9"])]
    dimension: Annotated[Whole, Field(ge=1, le=4096, examples=[512])]
    margin: Margin | None = None
    scoring: Scoring = Scoring.BEST


class Settings(BaseModel):
    """Settings to change; what is not named stays, null takes the gallery's own away. (The cutoff: /cutoff.)"""

    model_config = ConfigDict(extra="forbid")

    margin: Margin | None = None
    scoring: Scoring = Scoring.BEST
    keep_probes_s: Keep | None = None
    keep_decisions_s: Keep | None = None
    keep_strangers_s: Keep | None = None


class Galleries(BaseModel):
    """By name."""

    galleries: list[GalleryInfo]


class History(BaseModel):
    """Newest first. `next`: give it as `before` for the page that follows; absent on the last one."""

    entries: list[HistoryEntry]
    next: int | None = None


class Undo(BaseModel):
    """Which change to take back."""

    model_config = ConfigDict(extra="forbid")

    sequence: Annotated[Whole, Field(ge=1, le=MAX_INTEGER)]


@router.get("", response_model=Galleries)
def list_galleries(caller: Reading) -> Response:
    """The galleries that the key may see."""
    found = [each for each in caller.client.galleries.galleries() if caller.key.sees(each.name)]
    return plain(Galleries(galleries=found))


@router.post("", status_code=201, response_model=GalleryInfo)
def create(body: NewGallery, caller: Administering) -> Response:
    """Make an empty gallery. One that is there already, of the same model, is answered as it is."""
    name = caller.gallery(body.name)
    settings = GallerySettings(margin=body.margin, scoring=body.scoring)
    info = caller.client.galleries.create(name, model_id=body.model_id, dimension=body.dimension, settings=settings)
    return plain(info, 201, location=f"/v1/galleries/{name}")


@router.get("/{gallery}", response_model=GalleryInfo)
def show(gallery: GalleryPath, caller: Reading) -> Response:
    """One gallery: its model, how many people, its settings."""
    return plain(caller.client.galleries.info(caller.gallery(gallery)))


@router.delete("/{gallery}", response_model=Receipt)
def forget(
    gallery: GalleryPath,
    caller: Administering,
    confirm: Annotated[str, Query(max_length=64, description="The gallery's name once more.", examples=["staff"])],
    wait: Confirming = 20.0,
) -> Response:
    """Erase a whole gallery everywhere: people, journal, keys, pictures, decisions, events. There is no way back.

    The answer is a signed receipt, given this once: keep it. Interrupted, the same call completes it. With very many
    pictures it takes longer than callers wait: `kith gallery forget` shows how far it has come.
    """
    name = caller.gallery(gallery)
    if confirm != name:
        said = "to erase a gallery, its name is given twice"
        raise Problem(422, "not_confirmed", said, field="confirm", remedy=f"confirm={name}, if that is what you want")
    return receipt_of(caller.client.forget_gallery(name, wait_s=patience(caller, wait)))


@router.patch("/{gallery}/settings", response_model=Changed)
def configure(gallery: GalleryPath, body: Settings, caller: Administering) -> Response:
    """Change settings; an entry of the gallery's history, which can be undone."""
    name = caller.gallery(gallery)
    said = {field: getattr(body, field) for field in body.model_fields_set}
    _, sequence = amend_settings(caller.client.galleries, name, lambda info: replace(info.settings, **said))
    return changed(sequence)


@router.get("/{gallery}/history", response_model=History)
def history(
    gallery: GalleryPath,
    caller: Reading,
    before: Annotated[int | None, Query(ge=1, le=MAX_INTEGER, description="`next` of the page before.")] = None,
    limit: Limit = 100,
) -> Response:
    """What changed, newest first, back to where the journal was trimmed."""
    entries = caller.client.galleries.history(caller.gallery(gallery), before=before, limit=limit)
    more = len(entries) == limit and entries[-1].sequence > 1
    return plain(History(entries=entries, next=entries[-1].sequence if more else None))


@router.post("/{gallery}/undo", response_model=Changed)
def undo(gallery: GalleryPath, body: Undo, caller: Enrolling) -> Response:
    """Take a change back, by a change that can be undone itself. 409 when what it left behind was changed since."""
    return changed(caller.client.galleries.undo(caller.gallery(gallery), body.sequence))
