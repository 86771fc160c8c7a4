"""Subjects: list, add, rename, delete."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from kith.enrolment import Introduction
from kith.errors import NameTaken
from kith.names import subject_name
from producers.api.compreface.collection import gallery_of, opened, subjects
from producers.api.problems import Problem
from producers.api.shapes import Enrolling, Reading, SubjectPath
from producers.api.submissions import SubjectName

router = APIRouter(prefix="/recognition/subjects")

#: Seconds for workers to confirm that they search for somebody no more.
_CONFIRM_S = 5.0


class Named(BaseModel):
    """A name. Clients send more than that with it."""

    subject: SubjectName


@router.get("/", include_in_schema=False)
@router.get("")
def list_subjects(caller: Reading) -> Response:
    """Their names."""
    return JSONResponse({"subjects": subjects(caller)})


@router.post("", status_code=201)
def add(body: Named, caller: Enrolling) -> Response:
    """Somebody without examples yet."""
    name = opened(caller).name
    if caller.client.galleries.introduce(name, body.subject, Introduction()) is None:
        raise Problem(400, "name_taken", "Subject already exists")
    return JSONResponse({"subject": body.subject}, 201)


@router.put("/{subject:path}")
def rename(subject: SubjectPath, body: Named, caller: Enrolling) -> Response:
    """Another name; that of somebody else makes the two one."""
    galleries, gallery = caller.client.galleries, gallery_of(caller)
    if subject_name(subject) == subject_name(body.subject):
        return JSONResponse({"updated": False})
    try:
        galleries.rename(gallery, subject, body.subject)
    except NameTaken:
        galleries.merge(gallery, subject, body.subject)
    return JSONResponse({"updated": True})


@router.delete("/{subject:path}")
def delete(subject: SubjectPath, caller: Enrolling) -> Response:
    """Erase somebody everywhere (kith.forgetting). There is no way back."""
    caller.client.forget(subject, gallery=gallery_of(caller), wait_s=_CONFIRM_S)
    return JSONResponse({"subject": subject_name(subject)})


@router.delete("")
def delete_all(caller: Enrolling) -> Response:
    """Erase everybody, one after the other; interrupted, the same call goes on."""
    gallery, names = gallery_of(caller), subjects(caller)
    for name in names:
        caller.client.forget(name, gallery=gallery, wait_s=_CONFIRM_S)
    return JSONResponse({"deleted": len(names)})
