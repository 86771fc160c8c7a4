"""One picture, one question, one answer: a job that is waited for, as CompreFace's clients do."""

import base64
import binascii
from typing import Annotated

from anyio import to_thread
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from kith.jobs import Content, Decision, Kind, Outcome
from producers.api.accepting import Accepting
from producers.api.callers import Caller
from producers.api.completions import ENDED, Completions
from producers.api.problems import Problem
from producers.api.submissions import Shown, Submission, Wishes

#: Parts of a form besides the picture, and how long each may be.
_FIELDS, _FIELD_BYTES = 20, 4096


class Base64File(BaseModel):
    """A picture as JSON carries it."""

    file: Annotated[str, Field(min_length=1)]


async def picture(request: Request) -> bytes:
    """The picture of a request: the part `file` of a form, or base64 as JSON. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _decoded(await request.body())
    if kind != "multipart/form-data":
        raise Problem(
            415, "unsupported_media_type", f"the body is {kind or 'of no stated type'}", field="Content-Type",
            remedy="send a form with the part `file` (multipart/form-data), or JSON with the member `file` in base64",
        )  # fmt: skip
    try:
        async with request.form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES) as form:
            found = form.get("file")
            if not isinstance(found, UploadFile):
                raise Problem(
                    400, "missing_part", "Required part 'file' is not present", remedy="add it, with a file name"
                )
            return await found.read()
    except HTTPException as broken:
        # So the framework tells of a form that it cannot read.
        raise Problem(400, "form_refused", broken.detail, field="body") from None


async def decided(
    request: Request,
    caller: Caller,
    kind: Kind,
    data: bytes,
    *,
    gallery: str,
    subject: str | None = None,
    aligned: bool = False,
    min_sequence: int = 0,
) -> Decision:
    """What is decided about a picture, once it is. Raises Problem: for what a caller must be told otherwise (no face in
    it, not a picture), and 504 when nobody answers in time. What nobody has begun on by then is cancelled."""
    wishes = Wishes(
        kind=kind,
        gallery=gallery,
        subject=subject,
        content=Content.ALIGNED if aligned else Content.PHOTO,
        min_sequence=min_sequence,
    )
    submission = Submission(wishes, (Shown(data, subject=subject),))
    accepting: Accepting = request.app.state.accepting
    [receipt] = await accepting.accept(caller, [submission])
    completions: Completions = request.app.state.completions
    patience_s = caller.settings.api.max_wait_s
    state = await completions.wait(receipt.job_id, patience_s)
    if state.state == "done":
        entries = await to_thread.run_sync(caller.client.results.fetch, state.entries)
        if entries:
            return _usable(entries[0].decision)
    if state.state not in ENDED:
        # Or somebody would be enrolled, or asked about, after the caller was told that nothing came of it.
        await to_thread.run_sync(caller.client.ledger.cancel, receipt.job_id)
        raise Problem(
            504,
            "no_answer_yet",
            f"nobody answered within {patience_s:g} s (api.max_wait_s)",
            remedy="see that an embed worker is up (kith status), and ask again",
        )
    reason = f": {state.reason}" if state.reason else ""
    raise Problem(500, "job_dead", f"the job ended as {state.state}{reason}", remedy="kith dead show has the rest")


def _usable(decision: Decision) -> Decision:
    code, _, why = (decision.reason or "").partition(": ")
    if decision.outcome is Outcome.NO_FACE:
        raise Problem(400, "no_face", "No face is found in the given image")
    if code == "several_faces":
        raise Problem(400, code, "More than one face in the given image", remedy="crop it to the one to add")
    if decision.kind is Kind.ENROL and decision.outcome is Outcome.LOW_QUALITY:
        raise Problem(400, "low_quality", f"No face is found in the given image that is good enough: {why}")
    if decision.outcome in (Outcome.REJECTED, Outcome.EXPIRED):
        raise Problem(400, code or "rejected", why or "the picture was refused")
    return decision


def _decoded(body: bytes) -> bytes:
    try:
        # Line breaks are common in base64 and mean nothing.
        text = "".join(Base64File.model_validate_json(body).file.split())
        return base64.b64decode(text, validate=True)
    except (ValidationError, binascii.Error, ValueError):
        raise Problem(
            400, "invalid_request", "the picture cannot be read", field="file", remedy='send {"file": BASE64}'
        ) from None
