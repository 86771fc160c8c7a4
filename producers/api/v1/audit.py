"""The audit log: who did what."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from kith.audit import Action, AuditEntry, Head, Where
from producers.api.shapes import Administering, Limit, Wait, patience, plain
from producers.api.streams import OfGallery
from producers.api.submissions import MAX_INTEGER

router = APIRouter(prefix="/v1/audit", tags=["audit"])


class AuditPage(BaseModel):
    """Oldest first. `next`: give it as `after`. `more`: whether the log goes on."""

    entries: list[AuditEntry]
    next: int
    more: bool


class Checked(BaseModel):
    """A walk over the whole chain. `broken`: number of the first entry that does not fit, absent when all do. Keep
    `head` elsewhere: the log's end, which nobody can rewrite there."""

    checked: int
    head: str
    broken: int | None = None
    why: str | None = None


@router.get("", response_model=AuditPage)
def entries(
    caller: Administering,
    after: Annotated[int, Query(ge=0, le=MAX_INTEGER, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
    wait: Wait = None,
    gallery: OfGallery = None,
    action: Annotated[Action | None, Query()] = None,
    subject_id: Annotated[str | None, Query(pattern=r"^[0-9a-f]{1,64}$")] = None,
) -> Response:
    """Who did what to which gallery, oldest first. People stand there by id, never by name."""
    if gallery is None:
        caller.all_galleries()
    else:
        caller.gallery(gallery)
    found = caller.client.audit.page(
        after, limit=limit, where=Where(gallery, subject_id, action), block_s=patience(caller, wait)
    )
    return plain(AuditPage(entries=list(found.entries), next=found.cursor, more=found.more))


@router.get("/verification", response_model=Checked)
def verify(
    caller: Administering,
    kept: Annotated[
        str | None, Query(pattern=r"^\d{1,15}:[0-9a-f]{64}$", description="A `head` that was kept elsewhere.")
    ] = None,
) -> Response:
    """Whether the log is as it was written."""
    caller.all_galleries()
    number, _, digest = (kept or "").partition(":")
    verdict = caller.client.audit.verify(Head(int(number), digest) if kept else None)
    told = {"checked": verdict.checked, "head": str(verdict.head)}
    return JSONResponse(told if verdict.broken is None else {**told, "broken": verdict.broken, "why": verdict.why})
