"""The system at a glance, and the jobs that nobody could do."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from kith.audit import Action, Deed
from kith.ledger import DeadLetter
from kith.status import Status
from producers.api.problems import Problem
from producers.api.shapes import Administering, Reading, plain

router = APIRouter(prefix="/v1", tags=["system"])

DeadId = Annotated[str, Path(min_length=1, max_length=200, description="Of a dead letter: its job's id.")]


class DeadLetters(BaseModel):
    """Newest first."""

    dead_letters: list[DeadLetter]
    total: int


@router.get("/status", response_model=Status)
def status(caller: Reading) -> Response:
    """Queues, workers, galleries."""
    caller.all_galleries()
    return plain(caller.client.status())


@router.get("/dead-letters", response_model=DeadLetters)
def dead_letters(
    caller: Administering,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Jobs that ended without a decision, and why."""
    caller.all_galleries()
    ledger = caller.client.ledger
    return plain(DeadLetters(dead_letters=ledger.dead_letters(limit, offset), total=ledger.dead_count()))


@router.post("/dead-letters/{dead_id}/retry", status_code=204)
def retry(dead_id: DeadId, caller: Administering) -> Response:
    """Do the job once more, with fresh counters."""
    caller.all_galleries()
    if not caller.client.ledger.revive(dead_id):
        raise _unknown(dead_id)
    caller.client.audit.record(Deed(caller.key.actor, Action.DEAD_RETRIED, detail={"job": dead_id}))
    return Response(status_code=204)


@router.delete("/dead-letters/{dead_id}", status_code=204)
def drop(dead_id: DeadId, caller: Administering) -> Response:
    """Delete a dead letter for good."""
    caller.all_galleries()
    if not caller.client.ledger.drop(dead_id):
        raise _unknown(dead_id)
    caller.client.audit.record(Deed(caller.key.actor, Action.DEAD_DROPPED, detail={"job": dead_id}))
    return Response(status_code=204)


def _unknown(dead_id: str) -> Problem:
    return Problem(
        404,
        "unknown_dead_letter",
        f"there is no dead letter {dead_id[:64]}",
        field="dead_id",
        remedy="GET /v1/dead-letters lists those there are",
    )
