"""Decisions: what was answered about every image, page by page or as they come; and what people say of them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kith import wire
from kith.audit import Action, Deed
from kith.calibration_samples import SearchSample
from kith.errors import UnknownDecision
from kith.jobs import Decision, Kind, Lane, Outcome
from kith.results import Entry
from producers.api.broadcasting import Broadcast, Told
from producers.api.callers import Caller
from producers.api.shapes import Enrolling, Limit, Place, Reading, Wait, patience, plain
from producers.api.sse import EventStream
from producers.api.streams import STREAM, LastEventId, OfCamera, OfGallery, filter_for, page, stream
from producers.api.submissions import Flag, SubjectName

router = APIRouter(prefix="/v1/decisions", tags=["decisions"])

DecisionId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}:\d{1,2}$", examples=["0d6c9f1b8a7e4c52a8f0b1c2d3e4f5a6:0"])]


class Decisions(BaseModel):
    """Oldest first. `next`: give it as `after` for what follows. `more`: whether something does already."""

    items: list[dict[str, Any]]
    next: str
    more: bool


class Verdict(BaseModel):
    """Whether it was right. `right`: it was whom it named, or rightly nobody. `wrong`: not this person; `actually` says
    who, if somebody enrolled. `stranger`: nobody who is enrolled. `sampled`: it was picked whatever its answer."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["right", "wrong", "stranger"]
    actually: SubjectName | None = None
    group: Annotated[str | None, Field(max_length=200, description="Searches for one person share it.")] = None
    sampled: Flag = False


class Withdrawn(BaseModel):
    """Whether there was a judgement to take back."""

    withdrawn: bool


def told(entry: Entry) -> Told:
    """A decision as it goes out."""
    decision = entry.decision
    camera = decision.seen.camera if decision.seen else None
    return Told(entry.entry_id, decision.gallery, camera, wire.to_json(decision))


@router.get("", response_model=Decisions)
def list_decisions(
    caller: Reading,
    after: Place = None,
    since_ms: Annotated[int | None, Query(ge=0, le=10**15 - 1, description="Told at this time or later.")] = None,
    limit: Limit = 100,
    wait: Wait = None,
    gallery: OfGallery = None,
    camera: OfCamera = None,
    kind: Annotated[Kind | None, Query()] = None,
    lane: Annotated[Lane | None, Query()] = None,
    outcome: Annotated[Outcome | None, Query()] = None,
    subject: Annotated[str | None, Query(min_length=1, max_length=1000, description="Who was named.")] = None,
) -> Response:
    """A page of decisions. Read on with `after` = `next`, also when the page is empty; `wait` waits for new ones."""
    lets = filter_for(caller, gallery, camera)
    kept: dict[str, Decision] = {}

    def read(last: str, most: int, wait_s: float) -> list[Told]:
        entries = caller.client.results.after(last, limit=most, block_s=wait_s)
        kept.update((entry.entry_id, entry.decision) for entry in entries)
        return [told(entry) for entry in entries]

    def wanted(each: Told) -> bool:
        decision = kept[each.entry_id]
        return lets(each) and (
            kind in (None, decision.kind)
            and lane in (None, decision.lane)
            and outcome in (None, decision.outcome)
            and subject in (None, decision.subject)
        )

    start = f"{since_ms - 1}-{10**15 - 1}" if after is None and since_ms else after
    return Response(page(read, start, wanted, limit, patience(caller, wait)), media_type="application/json")


@router.get("/stream", response_class=EventStream, responses=STREAM)
def follow(
    request: Request, caller: Reading, last_event_id: LastEventId = None, gallery: OfGallery = None
) -> EventStream:
    """Server-sent events `decision`, as they are told; from where you were, with `Last-Event-ID`."""
    broadcast: Broadcast[Entry] = request.app.state.decisions
    return stream(request, broadcast, last_event_id, filter_for(caller, gallery), "decision")


@router.get("/{decision_id}", response_model=Decision)
def show(decision_id: DecisionId, caller: Reading) -> Response:
    """One decision, with every face, score and cutoff."""
    return plain(_found(caller, decision_id))


@router.put("/{decision_id}/feedback", response_model=SearchSample)
def judge(decision_id: DecisionId, body: Verdict, caller: Enrolling) -> Response:
    """Say whether it was right: the gallery's cutoff learns from it. Saying so again replaces what was said."""
    decision, feedback = _found(caller, decision_id), caller.client.feedback
    if body.verdict == "right":
        sample = feedback.confirm(decision, group=body.group, sampled=body.sampled)
    elif body.verdict == "wrong":
        sample = feedback.refute(decision, actually=body.actually, group=body.group, sampled=body.sampled)
    else:
        sample = feedback.stranger(decision, group=body.group, sampled=body.sampled)
    _record(caller, decision, body.verdict)
    return plain(sample)


@router.delete("/{decision_id}/feedback", response_model=Withdrawn)
def withdraw(decision_id: DecisionId, caller: Enrolling) -> Response:
    """Take back what was said of it."""
    decision = _found(caller, decision_id)
    withdrawn = caller.client.feedback.withdraw(decision)
    _record(caller, decision, "withdrawn")
    return JSONResponse({"withdrawn": withdrawn})


def _found(caller: Caller, decision_id: str) -> Decision:
    [decision] = caller.client.feedback.find(decision_id)
    if not caller.key.sees(decision.gallery):
        raise UnknownDecision(f"no decision {decision_id} is among the results that are kept")
    return decision


def _record(caller: Caller, decision: Decision, verdict: str) -> None:
    detail = {"decision": decision.decision_id, "verdict": verdict}
    caller.client.audit.record(Deed(caller.key.actor, Action.JUDGED, decision.gallery, detail=detail))
