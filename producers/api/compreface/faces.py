"""Faces, as CompreFace calls the examples of subjects: add, list, look at, delete."""

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kith.errors import MissingImage, UnknownGallery, UnknownTemplate
from kith.jobs import Kind
from producers.api.callers import Caller
from producers.api.compreface.answers import Threshold
from producers.api.compreface.asking import decided, picture
from producers.api.compreface.collection import (
    Example,
    example,
    examples,
    gallery_of,
    image_id,
    remove,
)
from producers.api.problems import Problem
from producers.api.shapes import Enrolling, Reading
from producers.api.submissions import SubjectName

router = APIRouter(prefix="/recognition/faces")

Subject = Annotated[SubjectName | None, Query(description="Whose; everybody's without.")]
Page = Annotated[int, Query(ge=0, le=2**31 - 1)]
Size = Annotated[int, Query(ge=1, le=2000)]


@router.post("", status_code=201)
async def add(
    request: Request,
    caller: Enrolling,
    subject: Subject = None,
    det_prob_threshold: Threshold = 0.0,
    detect_faces: bool = True,
) -> Response:
    """One more example of somebody, who is made when nobody is called so."""
    if subject is None:
        raise Problem(400, "missing_parameter", "Required request parameter 'subject' is not present")
    data = await picture(request)
    before = await to_thread.run_sync(_sequence, caller)
    decision = await decided(
        request, caller, Kind.ENROL, data, gallery=gallery_of(caller), subject=subject, aligned=not detect_faces
    )
    face, template_id = decision.face, decision.template_id
    assert face is not None
    assert template_id is not None, "what is neither refused nor enrolled was raised as a problem"
    named = face.subject or subject
    found = 1.0 if face.detector_score is None else face.detector_score
    if found < det_prob_threshold:
        # A worker enrols what its own detector is sure of. An example that was there before was added by other rules.
        if (decision.gallery_version or 0) > before:
            gone = Example(image_id(template_id), named, template_id, decision.image)
            await to_thread.run_sync(remove, caller, [gone])
        raise Problem(400, "no_face", f"No face is found in the given image; the best scored {found:g}")
    return JSONResponse({"image_id": str(image_id(template_id)), "subject": named}, 201)


@router.get("")
def list_faces(caller: Reading, subject: Subject = None, page: Page = 0, size: Size = 20) -> Response:
    """Examples, page by page."""
    found = list(examples(caller, subject))
    return JSONResponse(
        {
            "faces": _shown(found[page * size : (page + 1) * size]),
            "page_number": page,
            "page_size": size,
            "total_pages": -(-len(found) // size),
            "total_elements": len(found),
        }
    )


@router.delete("")
def delete_all(caller: Enrolling, subject: Subject = None) -> Response:
    """All examples of somebody, or of everybody. The subjects stay."""
    return JSONResponse({"deleted": remove(caller, list(examples(caller, subject)))})


@router.post("/delete")
def delete_many(caller: Enrolling, body: list[UUID]) -> Response:
    """These examples; those that are not there are passed over."""
    wanted = set(body)
    gone = [each for each in examples(caller) if each.image_id in wanted]
    remove(caller, gone)
    return JSONResponse(_shown(gone))


@router.delete("/{wanted}")
def delete(wanted: UUID, caller: Enrolling) -> Response:
    """One example."""
    gone = example(caller, wanted)
    remove(caller, [gone])
    return JSONResponse(_shown([gone])[0])


@router.get("/{wanted}/img")
def image(wanted: UUID, caller: Reading) -> Response:
    """The picture of an example; no bytes where there is none, as CompreFace has it."""
    data = b""
    try:
        key = example(caller, wanted).key
        data = caller.client.store.get(key) if key else b""
    except (UnknownTemplate, MissingImage):
        pass
    return Response(data, media_type="application/octet-stream", headers={"cache-control": "private, max-age=86400"})


def _sequence(caller: Caller) -> int:
    try:
        return caller.client.galleries.info(gallery_of(caller)).sequence
    except UnknownGallery:
        return 0


def _shown(found: Iterable[Example]) -> list[dict[str, Any]]:
    return [{"image_id": str(each.image_id), "subject": each.subject} for each in found]
