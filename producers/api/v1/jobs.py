"""Jobs: hand in images, learn what became of them."""

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kith.api_keys import Scope
from kith.audit import Action, Deed
from kith.intake import Receipt
from kith.jobs import Kind
from kith.ledger import Accepted
from producers.api.accepting import Accepting
from producers.api.callers import Caller, needs
from producers.api.completions import ENDED, Completions
from producers.api.fetching import Fetching
from producers.api.job_views import Job, check_gallery, job_view, unknown_job
from producers.api.problems import Problem
from producers.api.shapes import Wait, patience
from producers.api.sse import PING, PING_EVERY_S, EventStream, event
from producers.api.submissions import JobRequest, Submission, Wishes, of_request, submission_in

router = APIRouter(prefix="/v1", tags=["jobs"])

Submitting = Annotated[Caller, Depends(needs(Scope.SUBMIT, Scope.ENROL))]
Asking = Annotated[Caller, Depends(needs(Scope.SUBMIT, Scope.ENROL, Scope.READ))]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="A job's id.")]
Prefer = Annotated[
    str | None, Header(description="`wait=SECONDS` (RFC 7240): answer when the job has ended.", examples=["wait=10"])
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="The same key in the same gallery is the same job, however often it is sent. With another body it "
        "is refused (422, `idempotency_key_reused`).",
        examples=["order-4711"],
    ),
]

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])")

#: What is known already of a job that was handed in before, and will not change.
_KNOWN_ENDS = (Accepted.DONE, Accepted.DEAD)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "JSON; a form with one file part for each image; or the bytes of one image, and all else in the "
        "query.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/JobRequest"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        **Wishes.model_json_schema(ref_template="#/components/schemas/{model}")["properties"],
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 64,
                            "items": {"type": "string", "format": "binary", "contentMediaType": "image/jpeg"},
                        },
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}},
        },
    }
}


class JobList(BaseModel):
    """Several jobs, in the order in which they were sent."""

    jobs: list[Job]


class BulkRequest(BaseModel):
    """1..100 jobs, whose messages are sent together."""

    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[JobRequest], Field(min_length=1, max_length=100)]


@router.post("/jobs", status_code=202, response_model=Job, responses={200: {"model": Job}}, openapi_extra=_BODY)
async def submit(
    request: Request,
    caller: Submitting,
    wait: Wait = None,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Hand in 1..64 images: `identify` (who is it?), `enrol` (remember this person) or `verify` (is it this person?).

    Answers at once with `202` and the job. It answers `200` with the decisions where they are there in the time of
    `Prefer: wait=…`, and where the `Idempotency-Key` is that of a job that has ended. From the answer on the job is
    accepted: it will be decided, or be a dead letter with a reason.
    """
    submission = await submission_in(request)
    [receipt] = await _accepted(request, caller, [submission], idempotency_key)
    wait_s = _patience(caller, wait, prefer)
    if wait_s > 0 or receipt.accepted in _KNOWN_ENDS:
        view = await _looked_up(request, caller, receipt, wait_s)
        return _answer(view, 200 if view["state"] in ENDED else 202, prefer)
    return _answer(_sent(receipt, submission, caller), 202, None)


@router.post("/bulk", status_code=202, response_model=JobList)
async def submit_many(
    request: Request, body: BulkRequest, caller: Submitting, idempotency_key: IdempotencyKey = None
) -> Response:
    """Hand in up to 100 jobs at the price of few. One that is refused is named, and none of them is accepted. With an
    `Idempotency-Key`, each job's is that and its place."""
    submissions = [of_request(each, f"jobs.{index}.") for index, each in enumerate(body.jobs)]
    receipts = await _accepted(request, caller, submissions, idempotency_key)
    views = [
        await _looked_up(request, caller, receipt) if receipt.accepted in _KNOWN_ENDS else _sent(receipt, each, caller)
        for receipt, each in zip(receipts, submissions, strict=True)
    ]
    return JSONResponse({"jobs": views}, 202)


@router.get("/jobs/{job_id}", response_model=Job)
async def show(request: Request, job_id: JobId, caller: Asking, wait: Wait = None, prefer: Prefer = None) -> Response:
    """Where a job stands, and its decisions when it is done. With `wait` it answers when the job has ended, or the time
    is up (long polling)."""
    completions: Completions = request.app.state.completions
    wait_s = _patience(caller, wait, prefer)
    state = await (completions.wait(job_id, wait_s) if wait_s > 0 else completions.state(job_id))
    view = check_gallery(caller, await to_thread.run_sync(job_view, caller.client, job_id, state))
    return _answer(view, 200, prefer)


@router.delete("/jobs/{job_id}", response_model=Job)
def cancel(job_id: JobId, caller: Submitting) -> Response:
    """Cancel a job that nobody has begun to work on. 409 for one that is being worked on, or has ended."""
    ledger = caller.client.ledger
    check_gallery(caller, job_view(caller.client, job_id, ledger.state(job_id)))
    if not ledger.cancel(job_id):
        state = ledger.state(job_id)
        if state.state == "unknown":
            raise unknown_job(job_id)
        raise Problem(409, "too_late", f"job {job_id} has ended: {state.state}", remedy="read what was decided")
    caller.client.audit.record(Deed(caller.key.actor, Action.CANCELLED, detail={"job": job_id}))
    return JSONResponse({"job_id": job_id, "state": "cancelled", "decided": 0})


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def follow(request: Request, job_id: JobId, caller: Asking) -> EventStream:
    """Server-sent events: `state` whenever the job's state has changed, `end` with all of it, then the stream ends."""
    completions: Completions = request.app.state.completions
    state = await completions.state(job_id)
    check_gallery(caller, await to_thread.run_sync(job_view, caller.client, job_id, state))

    async def parts() -> AsyncIterator[bytes]:
        told = ""
        while True:
            now = await completions.wait(job_id, PING_EVERY_S if told else 0.0)
            if now.state in ENDED:
                break
            if now.state != told:
                told = now.state
                yield event(json.dumps({"job_id": job_id, "state": told}), name="state")
            else:
                yield PING
        try:
            view = await to_thread.run_sync(job_view, caller.client, job_id, now)
        except Problem:
            view = {"job_id": job_id, "state": now.state}
        yield event(json.dumps(view), name="end")

    return EventStream(parts())


async def _accepted(
    request: Request, caller: Caller, submissions: list[Submission], idempotency_key: str | None
) -> list[Receipt]:
    for each in submissions:
        _permit(caller, each)
    if any(image.url is not None for each in submissions for image in each.images):
        fetching: Fetching = request.app.state.fetching
        submissions = await fetching.fetched(submissions)
    accepting: Accepting = request.app.state.accepting
    return await accepting.accept(caller, submissions, idempotency_key)


def _permit(caller: Caller, submission: Submission) -> None:
    wishes = submission.wishes
    caller.must(Scope.ENROL if wishes.kind is Kind.ENROL else Scope.SUBMIT)
    caller.gallery(wishes.gallery)
    if not caller.settings.api.fetch and any(image.url is not None for image in submission.images):
        raise Problem(
            403,
            "fetching_off",
            "this installation fetches no images by URL",
            field="images",
            remedy="send the image itself, or turn on the setting api.fetch",
        )


def _patience(caller: Caller, wait: float | None, prefer: str | None) -> float:
    found = None if wait is not None else _WAIT.search(prefer or "")
    return patience(caller, float(found[1]) if found else wait)


async def _looked_up(request: Request, caller: Caller, receipt: Receipt, wait_s: float = 0.0) -> dict[str, Any]:
    completions: Completions = request.app.state.completions
    state = await (completions.wait(receipt.job_id, wait_s) if wait_s > 0 else completions.state(receipt.job_id))
    view = await to_thread.run_sync(job_view, caller.client, receipt.job_id, state)
    return {**view, "accepted": receipt.accepted.value}


def _sent(receipt: Receipt, submission: Submission, caller: Caller) -> dict[str, Any]:
    return {
        "job_id": receipt.job_id,
        "state": "sent",
        "gallery": submission.wishes.gallery or caller.settings.gallery.default,
        "kind": submission.wishes.kind.value,
        "images": len(submission.images),
        "decided": 0,
        "traceparent": caller.trace.traceparent,
        "accepted": receipt.accepted.value,
    }


def _answer(view: dict[str, Any], status: int, prefer: str | None) -> Response:
    headers = {"location": f"/v1/jobs/{view['job_id']}"}
    found = _WAIT.search(prefer or "")
    if found:
        headers["preference-applied"] = f"wait={found[1]}"
    return JSONResponse(view, status, headers)
