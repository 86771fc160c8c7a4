"""Strangers: people that cameras saw and nobody named."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from kith.jobs import Outcome
from kith.watching.erasing import ForgottenStranger
from kith.watching.strangers import Stranger
from producers.api.shapes import Enrolling, GalleryPath, Reading, plain
from producers.api.submissions import Flag, SubjectName, Whole

router = APIRouter(prefix="/v1/galleries/{gallery}/strangers", tags=["strangers"])

Number = Annotated[int, Path(ge=1, le=999_999_999, description="17 of stranger-17.", examples=[17])]


class Strangers(BaseModel):
    """Last seen last."""

    strangers: list[Stranger]


class Naming(BaseModel):
    """Who it is: somebody new, or enrolled already."""

    model_config = ConfigDict(extra="forbid")

    subject: SubjectName


class Named(BaseModel):
    """`templates`: made of the crops that were kept. `done`: whether past visits have been told of again by now."""

    subject: str
    templates: int
    done: bool


class Merging(BaseModel):
    """The other one."""

    model_config = ConfigDict(extra="forbid")

    other: Annotated[Whole, Field(ge=1, le=999_999_999)]


class Merged(BaseModel):
    """`kept`: the number that goes on, the lower one."""

    kept: int
    done: bool


class Ignoring(BaseModel):
    """Whether events tell of them."""

    model_config = ConfigDict(extra="forbid")

    ignored: Flag = True


class Ignored(BaseModel):
    """`done`: whether the watcher has come to it."""

    ignored: bool
    done: bool


@router.get("", response_model=Strangers)
def list_strangers(
    gallery: GalleryPath,
    caller: Reading,
    everybody: Annotated[bool, Query(alias="all", description="Also those named or merged since.")] = False,
) -> Response:
    """Who there is."""
    found = caller.client.strangers.desk.strangers(caller.gallery(gallery))
    kept = sorted((each for each in found if everybody or each.lives), key=lambda each: (each.last_ms, each.number))
    return plain(Strangers(strangers=kept))


@router.get("/{number}", response_model=Stranger)
def show(gallery: GalleryPath, number: Number, caller: Reading) -> Response:
    """One stranger: when and where, and by which pictures. Of one that was merged, the one it is part of."""
    return plain(caller.client.strangers.desk.stranger(caller.gallery(gallery), number))


@router.post("/{number}/name", response_model=Named)
def name(gallery: GalleryPath, number: Number, body: Naming, caller: Enrolling) -> Response:
    """Say who it is: enrols from the crops that are kept, and tells of past visits again, under the name."""
    where = caller.gallery(gallery)
    decisions, done = caller.client.strangers.name(where, number, body.subject)
    made = sum(each.outcome is Outcome.ENROLLED for each in decisions)
    return plain(Named(subject=body.subject, templates=made, done=done))


@router.post("/{number}/merge", response_model=Merged)
def merge(gallery: GalleryPath, number: Number, body: Merging, caller: Enrolling) -> Response:
    """Say that two are one."""
    where = caller.gallery(gallery)
    kept, done = caller.client.strangers.merge(where, number, body.other)
    return plain(Merged(kept=kept, done=done))


@router.post("/{number}/ignore", response_model=Ignored)
def ignore(gallery: GalleryPath, number: Number, body: Ignoring, caller: Enrolling) -> Response:
    """Tell of them no more, or again. They are recognised all the same, and keep their number."""
    where = caller.gallery(gallery)
    done = caller.client.strangers.ignore(where, number, body.ignored)
    return plain(Ignored(ignored=body.ignored, done=done))


@router.delete("/{number}", response_model=ForgottenStranger)
def forget(gallery: GalleryPath, number: Number, caller: Enrolling) -> Response:
    """Erase them: views, crops, visits, events, decisions. There is no way back."""
    gone = caller.client.strangers.forget(caller.gallery(gallery), number)
    return JSONResponse(
        {"done": gone.done, "events": gone.events, "decisions": gone.decisions, "pictures": gone.pictures}
    )
