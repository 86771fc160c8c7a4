"""Who is it, is it the one in that image, and where are faces?"""

from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kith.api_keys import Scope
from kith.images import inspect
from kith.jobs import Decision, Kind
from producers.api.callers import Caller, needs
from producers.api.compreface.answers import (
    Asked,
    Count,
    Limit,
    Plugins,
    Threshold,
    detected,
    recognised,
    verified,
)
from producers.api.compreface.asking import decided, picture
from producers.api.compreface.collection import example, gallery_of, opened
from producers.api.problems import Problem

router = APIRouter()

Submitting = Annotated[Caller, Depends(needs(Scope.SUBMIT))]


@router.post("/recognition/recognize")
async def recognize(
    request: Request,
    caller: Submitting,
    limit: Limit = 0,
    det_prob_threshold: Threshold = 0.0,
    prediction_count: Count = 1,
    face_plugins: Plugins = "",
    status: bool = False,
    detect_faces: bool = True,
) -> Response:
    """Who the faces are."""
    asked = Asked(
        limit=limit,
        det_prob_threshold=det_prob_threshold,
        face_plugins=face_plugins,
        status=status,
        prediction_count=prediction_count,
    )
    decision, size = await _looked_at(request, caller, aligned=not detect_faces)
    return _told(recognised(decision, asked, size))


@router.post("/recognition/faces/{wanted}/verify")
async def verify(
    request: Request,
    wanted: UUID,
    caller: Submitting,
    limit: Limit = 0,
    det_prob_threshold: Threshold = 0.0,
    face_plugins: Plugins = "",
    status: bool = False,
    detect_faces: bool = True,
) -> Response:
    """How similar the faces are to the subject of an image that was added. (Kith compares with all its examples.)"""
    asked = Asked(limit=limit, det_prob_threshold=det_prob_threshold, face_plugins=face_plugins, status=status)
    data = await picture(request)
    claimed = await to_thread.run_sync(example, caller, wanted)
    decision = await decided(
        request, caller, Kind.VERIFY, data,
        gallery=gallery_of(caller), subject=claimed.subject, aligned=not detect_faces,
    )  # fmt: skip
    return _told(verified(decision, asked, _size(caller, data)))


@router.post("/detection/detect")
async def detect(
    request: Request,
    caller: Submitting,
    limit: Limit = 0,
    det_prob_threshold: Threshold = 0.0,
    face_plugins: Plugins = "",
    status: bool = False,
) -> Response:
    """Where faces are."""
    asked = Asked(limit=limit, det_prob_threshold=det_prob_threshold, face_plugins=face_plugins, status=status)
    decision, size = await _looked_at(request, caller, aligned=False)
    return _told(detected(decision, asked, size))


async def _looked_at(request: Request, caller: Caller, aligned: bool) -> tuple[Decision, tuple[int, int]]:
    data = await picture(request)
    info = await to_thread.run_sync(opened, caller)
    # Its own number: an example that was just added counts, whichever worker answers.
    decision = await decided(
        request, caller, Kind.IDENTIFY, data, gallery=info.name, aligned=aligned, min_sequence=info.sequence
    )
    return decision, _size(caller, data)


def _size(caller: Caller, data: bytes) -> tuple[int, int]:
    return inspect(data, caller.settings.limits)


def _told(answer: dict[str, Any]) -> Response:
    if not answer["result"]:
        # Those that were found were too poor to compare, or scored below the threshold.
        raise Problem(400, "no_face", "No face is found in the given image")
    return JSONResponse(answer)
