"""What is told of a job: where it stands, whose it is, and what was decided."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kith import wire
from kith.client import Client
from kith.errors import JobRejected
from kith.jobs import Decision, EmbedJob
from kith.ledger import JobState
from producers.api.callers import Caller
from producers.api.problems import Problem

State = Literal["sent", "started", "deferred", "saved", "done", "dead", "cancelled"]

_EXAMPLE: dict[str, Any] = {
    "job_id": "0d6c9f1b8a7e4c52a8f0b1c2d3e4f5a6",
    "state": "done",
    "gallery": "staff",
    "kind": "identify",
    "images": 1,
    "decided": 1,
    "decisions": [
        {
            "decision_id": "0d6c9f1b8a7e4c52a8f0b1c2d3e4f5a6:0",
            "job_id": "0d6c9f1b8a7e4c52a8f0b1c2d3e4f5a6",
            "index": 0,
            "kind": "identify",
            "gallery": "staff",
            "lane": "interactive",
            "image": "ab/ab" + "0" * 62,
            "outcome": "match",
            "created_ms": 1767225600000,
            "decided_ms": 1767225600040,
            "cutoff": 0.36,
            "face": {"outcome": "match", "subject": "Ada Lovelace", "subject_id": "5f1e2d3c4b5a6978", "score": 0.71},
            "wire": 1,
        }
    ],
}


class Job(BaseModel):
    """`state`: `sent`, `started`, `deferred` (a part is away; tried again) and `saved` (decided, about to be told) are
    open; `done`, `dead` (`reason` says why) and `cancelled` are ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    job_id: str
    state: State
    gallery: str | None = None
    kind: str | None = None
    images: Annotated[int | None, Field(description="How many it is about.")] = None
    decided: Annotated[int, Field(description="Progress: images that were decided.")] = 0
    decisions: Annotated[list[Decision], Field(description="Of a job that is done, in the order of its images.")] = []
    reason: Annotated[str | None, Field(description="Why it died, or was last put off.")] = None
    created_ms: int | None = None
    traceparent: str | None = None
    accepted: Annotated[
        Literal["new", "open", "done", "dead"] | None,
        Field(description="Of a submission: new, or what is known of the job with this Idempotency-Key."),
    ] = None


def job_view(client: Client, job_id: str, state: JobState) -> dict[str, Any]:
    """A `Job` as plain JSON, without what is unknown. Raises Problem for an unknown job, StateUnavailable."""
    if state.state == "unknown":
        raise unknown_job(job_id)
    view: dict[str, Any] = {"job_id": job_id, "state": state.state, "decided": 0}
    if state.state in ("done", "cancelled"):
        entries = client.results.fetch(state.entries)
        decisions = sorted((entry.decision for entry in entries), key=lambda decision: decision.index)
        view["decided"] = len(decisions)
        view["decisions"] = [wire.to_dict(each) for each in decisions]
        if decisions:
            first = decisions[0]
            view |= {"images": len(decisions), **_about(first)}
        return view
    if state.reason:
        view["reason"] = state.reason
    job = _job_of(client, job_id, state)
    if job is not None:
        view |= {"images": len(job.images), **_about(job)}
    return view


def check_gallery(caller: Caller, view: dict[str, Any]) -> dict[str, Any]:
    """The view, where its gallery is one of the caller's. Raises Problem as for a job that is not there: whose it is
    is nobody else's business, nor that it is."""
    if caller.key.galleries and not caller.key.sees(view.get("gallery", "")):
        raise unknown_job(view["job_id"])
    return view


def unknown_job(job_id: str) -> Problem:
    """There is none of that id, or not any more."""
    return Problem(
        404,
        "unknown_job",
        f"no job {job_id[:64]} is known",
        field="job_id",
        remedy="jobs are remembered for jobs.remember_done_s after their end; GET /v1/decisions has what was decided",
    )


def _about(what: EmbedJob | Decision) -> dict[str, Any]:
    told = {"gallery": what.gallery, "kind": what.kind.value, "created_ms": what.created_ms}
    return told if what.traceparent is None else {**told, "traceparent": what.traceparent}


def _job_of(client: Client, job_id: str, state: JobState) -> EmbedJob | None:
    if state.state == "dead":
        letter = client.ledger.dead_letter(job_id)
        payload = letter.payload if letter else None
    else:
        payload = client.ledger.payload(job_id)
    if payload is None:
        return None
    try:
        return wire.from_json(EmbedJob, payload)
    except JobRejected:
        # A dead letter may be dead because nobody can read it.
        return None
