"""Health and readiness, for supervisors and load balancers; they need no key and tell nothing of anybody."""

from typing import Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request

from kith.ledger import Ledger
from kith.promptly import Promptly
from producers.api.openapi import NO_KEY

router = APIRouter(tags=["health"])

#: Callers that wait for an answer at a time; it is one and the same answer.
_AT_ONCE = 40


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


class Asking:
    """Asks `ledger` whether requests can be served."""

    def __init__(self, ledger: Ledger) -> None:
        def ask() -> Readiness:
            return Readiness(open_jobs=ledger.open_count(), workers=len(ledger.workers()))

        self._promptly = Promptly(ask, "Redis")
        # Not those of requests, which wait for the same Redis, and longer.
        self._threads = CapacityLimiter(_AT_ONCE)

    async def answer(self) -> Readiness:
        """After seconds at most. Raises StateUnavailable."""
        return await to_thread.run_sync(self._promptly, limiter=self._threads)


@router.get("/readyz", summary="Can requests be served?", openapi_extra=NO_KEY)
async def readiness(request: Request) -> Readiness:
    """503 while Redis does not answer, after two seconds at most. Without workers it is ready all the same: jobs are
    accepted and wait."""
    asking: Asking = request.app.state.readiness
    return await asking.answer()
