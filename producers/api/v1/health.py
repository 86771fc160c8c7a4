"""Health and readiness, for supervisors and load balancers; they need no key and tell nothing of anybody."""

from typing import Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from kith.ledger import Ledger
from kith.promptly import Promptly
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
    """503 while Redis does not answer, after two seconds at most. Without workers it is ready all the same: jobs are
    accepted and wait."""
    promptly: Promptly[Readiness] = request.app.state.readiness
    return await to_thread.run_sync(promptly)


def readiness_of(ledger: Ledger) -> Promptly[Readiness]:
    """What `readiness` asks, made once for an application."""

    def ask() -> Readiness:
        return Readiness(open_jobs=ledger.open_count(), workers=len(ledger.workers()))

    return Promptly(ask, "Redis")
