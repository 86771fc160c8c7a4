"""What went wrong, in CompreFace's words: `{"message": …, "code": …}`, with its numbers, by which its clients go.

Made of the same problems as everywhere here (producers.api.problems); what CompreFace has no number for is 0.
"""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from producers.api.problems import Problem

#: All addresses of this API begin so.
PREFIX = "/api/v1/"

# com.exadel.frs.commonservice.handler.CommonExceptionCode
NO_SERVICE, MISSING_HEADER, NOT_A_PICTURE, INVALID, NO_FACE = 10, 20, 21, 26, 28
SEVERAL_FACES, MISSING_PARAMETER, MISSING_PART, FACES_SERVICE = 31, 33, 34, 41
NO_SUBJECT, SUBJECT_EXISTS, NO_EXAMPLE, UNDEFINED = 42, 43, 44, 0

#: Status and number of each problem; those that are not here keep their status.
_TABLE: Mapping[str, tuple[int, int]] = {
    # CompreFace says 400 and 404. What watches a network for wrong keys looks for 401.
    "unauthorised": (401, NO_SERVICE),
    "unknown_gallery": (404, NO_SERVICE),
    "unknown_subject": (404, NO_SUBJECT),
    "unknown_template": (404, NO_EXAMPLE),
    "name_taken": (400, SUBJECT_EXISTS),
    "no_face": (400, NO_FACE),
    "low_quality": (400, NO_FACE),
    "several_faces": (400, SEVERAL_FACES),
    **dict.fromkeys(("not_an_image", "animated_image", "empty_image", "truncated_image"), (400, NOT_A_PICTURE)),
    "missing_parameter": (400, MISSING_PARAMETER),
    "missing_part": (400, MISSING_PART),
    **dict.fromkeys(("invalid_request", "invalid_name", "form_refused", "bad_request"), (400, INVALID)),
}


class Refusal(BaseModel):
    """As CompreFace has it."""

    message: str
    code: int


def response(problem: Problem, request: Request) -> JSONResponse:
    """The problem as a client of CompreFace expects it; its headers stay, Retry-After among them."""
    status, code = _TABLE.get(problem.code, (problem.status, FACES_SERVICE if problem.status >= 500 else UNDEFINED))
    if problem.code == "unauthorised" and "x-api-key" not in request.headers:
        code = MISSING_HEADER
    body = Refusal(message=_message(problem), code=code)
    # Of the problem only the headers are asked for: what else it would send is in the message.
    headers = problem.response("", "").headers
    kept = {name: headers[name] for name in ("retry-after", "www-authenticate", "allow") if name in headers}
    return JSONResponse(body.model_dump(), status, kept)


def _message(problem: Problem) -> str:
    named = f"{problem.field}: " if problem.field and not problem.detail.startswith(problem.field) else ""
    limit = "" if problem.limit is None else f" (limit: {problem.limit})"
    # What to do about something that is not there names addresses of /v1.
    remedy = f"; {problem.remedy}" if problem.remedy and problem.status != 404 else ""
    return f"{named}{problem.detail}{limit}{remedy}"
