"""Health and readiness, for supervisors and load balancers; they need no key and tell nothing of anybody."""

from typing import Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from producers.api.doors import Doors
from producers.api.openapi import NO_KEY

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the door depends on can be reached."""

    status: Literal["ready"] = "ready"
    open_jobs: int
    workers: int


@router.get("/healthz", summary="Is the process alive?", openapi_extra=NO_KEY)
async def health() -> Health:
    """Answers whatever else is away: restarting this process would mend nothing of that."""
    return Health()


@router.get("/readyz", summary="Can requests be served?", openapi_extra=NO_KEY)
async def readiness(request: Request) -> Readiness:
    """503 while Redis cannot be reached. Without workers it is ready all the same: jobs are accepted and wait."""
    doors: Doors = request.app.state.doors

    def ask() -> Readiness:
        ledger = doors.client.ledger
        return Readiness(open_jobs=ledger.open_count(), workers=len(ledger.workers()))

    return await to_thread.run_sync(ask)
