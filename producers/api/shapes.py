"""What several nouns of the API have in common: names in addresses, changes, pages, the form of an answer."""

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from kith import wire
from kith.api_keys import Scope
from kith.names import MAX_SUBJECT_NAME
from producers.api.callers import Caller, needs
from producers.api.submissions import NAME_PATTERN

if TYPE_CHECKING:
    from kith.receipts import SignedReceipt

Reading = Annotated[Caller, Depends(needs(Scope.READ))]
Enrolling = Annotated[Caller, Depends(needs(Scope.ENROL))]
Administering = Annotated[Caller, Depends(needs(Scope.ADMIN))]

GalleryPath = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="The gallery's name.", examples=["staff"])
]
SubjectPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_SUBJECT_NAME,
        pattern=NAME_PATTERN,
        description="Their name; it may hold slashes.",
        examples=["Ada Lovelace"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most entries of a page.")]
#: Longest wait that may be asked for, whatever the setting api.max_wait_s allows.
MAX_WAIT_S = 3600
Wait = Annotated[
    float | None,
    Query(ge=0, le=MAX_WAIT_S, description="Seconds to wait for news, up to the setting api.max_wait_s."),
]
Confirming = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds for workers to confirm.")]
#: A place in a stream, as its entries have it.
Place = Annotated[
    str | None,
    Query(pattern=r"^\d{1,15}(-\d{1,15})?$", description="Entries after this one (`next` of the page before)."),
]


def patience(caller: Caller, wait: float | None) -> float:
    """Seconds that a caller who asks to wait is let wait."""
    return min(wait or 0.0, caller.settings.api.max_wait_s)


class Changed(BaseModel):
    """A change of a gallery. A job with this `min_sequence` is answered by a gallery that has it."""

    sequence: Annotated[int | None, Field(description="Of the change; absent where nothing had to change.")] = None


class Receipt(BaseModel):
    """A signed receipt of forgetting (`kith receipts verify` checks it)."""

    kith_receipt: int
    receipt: dict[str, Any]
    signature: dict[str, Any]


def plain(record: Any, status: int = 200, **headers: str) -> JSONResponse:
    """A record of Kith as it is told everywhere: fields without a value left out."""
    return JSONResponse(wire.to_dict(record), status, headers)


def changed(sequence: int | None, status: int = 200) -> JSONResponse:
    """What a change is answered with."""
    return JSONResponse({} if sequence is None else {"sequence": sequence}, status)


def receipt_of(signed: "SignedReceipt") -> JSONResponse:
    """What forgetting is answered with."""
    from kith.receipts import to_text  # noqa: PLC0415 (it loads the library of signatures, which hardly anybody needs)

    return JSONResponse(json.loads(to_text(signed)))
