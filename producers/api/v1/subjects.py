"""Subjects: who is in a gallery. They are addressed by name, as people know them."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from kith.amending import amend_description
from kith.gallery import Introduction, SubjectDetail
from kith.subjects import SubjectInfo
from producers.api.shapes import (
    Changed,
    Confirming,
    Enrolling,
    GalleryPath,
    Limit,
    Reading,
    Receipt,
    SubjectPath,
    changed,
    patience,
    plain,
    receipt_of,
)
from producers.api.submissions import SubjectName

router = APIRouter(prefix="/v1/galleries/{gallery}", tags=["subjects"])

TemplateId = Annotated[str, Field(min_length=1, max_length=100)]
ExternalId = Annotated[
    str, Field(min_length=1, max_length=200, description="Your own id, unique in the gallery.", examples=["E4711"])
]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=1000)]],
    Field(max_length=50, description="Your notes on them.", examples=[{"site": "London"}]),
]


class NewSubject(BaseModel):
    """Somebody without templates yet; those come with enrol jobs."""

    model_config = ConfigDict(extra="forbid")

    name: SubjectName
    external_id: ExternalId | None = None
    metadata: Metadata = {}


class SubjectChange(BaseModel):
    """What is to be changed; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    name: SubjectName | None = None
    external_id: ExternalId | None = None
    metadata: Metadata | None = None


class Subjects(BaseModel):
    """By name. `next`: give it as `after` for the page that follows; absent on the last one."""

    subjects: list[SubjectInfo]
    next: str | None = None


class Merge(BaseModel):
    """Two names that are one person."""

    model_config = ConfigDict(extra="forbid")

    subject: SubjectName
    into: SubjectName


class Move(BaseModel):
    """Templates that are somebody else's, who is made when nobody is called so (a split)."""

    model_config = ConfigDict(extra="forbid")

    subject: SubjectName
    templates: Annotated[list[TemplateId], Field(min_length=1, max_length=1000)]
    to: SubjectName


@router.get("/subjects", response_model=Subjects)
def list_subjects(
    gallery: GalleryPath,
    caller: Reading,
    after: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
    limit: Limit = 100,
    external_id: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> Response:
    """Who is in the gallery, by name; or the one with an external id."""
    galleries, name = caller.client.galleries, caller.gallery(gallery)
    if external_id is not None:
        meant = galleries.by_external_id(name, external_id)
        return plain(Subjects(subjects=[each for each in galleries.subjects(name) if each.name == meant]))
    found = [each for each in galleries.subjects(name) if after is None or each.name > after]
    page = found[:limit]
    return plain(Subjects(subjects=page, next=page[-1].name if len(found) > limit else None))


@router.post("/subjects", status_code=201, response_model=Changed, responses={200: {"model": Changed}})
def introduce(gallery: GalleryPath, body: NewSubject, caller: Enrolling) -> Response:
    """Add somebody without templates. Where somebody is called so already nothing changes, and the answer is `200`."""
    introduction = Introduction(external_id=body.external_id, metadata=body.metadata)
    sequence = caller.client.galleries.introduce(caller.gallery(gallery), body.name, introduction)
    return changed(sequence, 200 if sequence is None else 201)


@router.post("/merge", response_model=Changed)
def merge(gallery: GalleryPath, body: Merge, caller: Enrolling) -> Response:
    """Two names, one person: all templates of `subject` go to `into`, who stays."""
    return changed(caller.client.galleries.merge(caller.gallery(gallery), body.subject, body.into))


@router.post("/move", response_model=Changed)
def move(gallery: GalleryPath, body: Move, caller: Enrolling) -> Response:
    """One name, two people: some templates go to somebody else."""
    return changed(caller.client.galleries.move(caller.gallery(gallery), body.subject, body.templates, body.to))


@router.get("/subjects/{subject:path}", response_model=SubjectDetail)
def show(gallery: GalleryPath, subject: SubjectPath, caller: Reading) -> Response:
    """One person with all templates, oldest first. That they were looked at stands in the audit log."""
    return plain(caller.client.galleries.show(caller.gallery(gallery), subject))


@router.patch("/subjects/{subject:path}", response_model=Changed)
def change(gallery: GalleryPath, subject: SubjectPath, body: SubjectChange, caller: Enrolling) -> Response:
    """Rename somebody, set the external id or the notes (all of them at once). Null takes an external id away."""
    galleries, name, said = caller.client.galleries, caller.gallery(gallery), body.model_fields_set
    sequence = None
    if said & {"external_id", "metadata"}:

        def noted(known: SubjectDetail) -> tuple[str | None, Mapping[str, str]]:
            external_id = body.external_id if "external_id" in said else known.external_id
            return external_id, body.metadata or {} if "metadata" in said else known.metadata

        sequence = amend_description(galleries, name, subject, noted)
    elif body.name is None:
        # Nothing is to be changed, of somebody who must be there all the same.
        galleries.show(name, subject)
    if body.name is not None:
        # Last: should it be refused, because another one has the name, the notes are right all the same.
        sequence = galleries.rename(name, subject, body.name)
    return changed(sequence)


@router.delete("/subjects/{subject:path}", response_model=Receipt)
def forget(
    gallery: GalleryPath,
    subject: SubjectPath,
    caller: Enrolling,
    wait: Confirming = 20.0,
) -> Response:
    """Erase somebody everywhere: templates, pictures, decisions, events. There is no way back.

    The answer is a signed receipt, given this once: keep it. Interrupted, the same call completes it.
    """
    return receipt_of(caller.client.forget(subject, gallery=caller.gallery(gallery), wait_s=patience(caller, wait)))
