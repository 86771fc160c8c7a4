"""What went wrong, as problem details (RFC 9457): which field, which limit, and what to do about it.

Every error of Kith (kith.errors) has its status and its remedy in one table; a test goes through the tree. Nothing else
of an exception is told: what was not foreseen is `internal`, with the request's id, by which the log has the rest.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from kith import errors
from kith.amending import ChangedMeanwhile
from kith.errors import KithError, Retryable
from kith.gallery import BeingForgotten, GalleryDamaged
from kith.ledger import IdempotencyKeyReused
from kith.outward import errors as outward

MEDIA_TYPE = "application/problem+json"

#: Seconds after which something that is away may be back, for Retry-After.
_AWAY_S = 5
_BUSY_S = 2

#: Status and remedy of each error that a request can meet, the most special first. A subclass has what its class has.
_TABLE: tuple[tuple[type[KithError], int, str], ...] = (
    (
        errors.Overloaded,
        429,
        "wait for Retry-After and send the same request again; an Idempotency-Key makes that safe",
    ),
    (errors.NoAnswerYet, 504, "the job goes on; ask for it again (GET /v1/jobs/{job_id})"),
    (errors.StateFull, 503, "free memory of Redis, or raise maxmemory; reading and forgetting go on"),
    (errors.StoreDenied, 503, "correct the store's credentials or bucket (settings, section store)"),
    (BeingForgotten, 503, "wait until that is done; `kith gallery list` names it, and how to go on with it"),
    (GalleryDamaged, 503, "restore the gallery from an export; docs/operations.md says how"),
    (errors.CameraAway, 503, "see that the camera is on and its address right"),
    (Retryable, 503, "wait for Retry-After and send the same request again"),
    (errors.ImageTooLarge, 413, "send a smaller image, or raise the limit in the settings"),
    (errors.MissingImage, 404, "upload the image first (POST /v1/uploads), or send it with the job"),
    (errors.CorruptImage, 422, "upload the very bytes whose SHA-256 was promised"),
    (errors.TruncatedImage, 422, "send the whole file"),
    (errors.AnimatedImage, 422, "send the one frame that counts"),
    (errors.ImageRejected, 422, "send a JPEG, PNG, WebP, BMP, TIFF or still GIF"),
    (errors.FaceRejected, 422, "send a sharp picture that shows the one face to be enrolled"),
    (errors.UnknownGallery, 404, "create it (POST /v1/galleries), or enrol somebody in it"),
    (errors.UnknownSubject, 404, "GET /v1/galleries/{gallery}/subjects lists who is there"),
    (errors.UnknownTemplate, 404, "GET the subject: it lists the ids of its templates"),
    (errors.UnknownCamera, 404, "GET /v1/cameras lists those there are"),
    (errors.UnknownStranger, 404, "GET /v1/galleries/{gallery}/strangers lists those there are"),
    (errors.UnknownDecision, 404, "decisions are kept for results.keep_s; GET /v1/decisions lists them"),
    (errors.UnknownApiKey, 404, "kith apikeys list"),
    (outward.UnknownWebhook, 404, "GET /v1/webhooks lists those there are"),
    (ChangedMeanwhile, 409, "look again at what is there, and send it once more"),
    (errors.CannotUndo, 409, "undo what was changed since, newest first"),
    (errors.CannotMigrate, 409, "GET the gallery's migration: it says where the move stands"),
    (errors.CameraTaken, 409, "choose another name, or remove that camera first"),
    (errors.NameTaken, 409, "choose another name or external id, or merge the two subjects"),
    # As the draft of the header says (draft-ietf-httpapi-idempotency-key-header).
    (
        IdempotencyKeyReused,
        422,
        "send the very same body again, or a new key with a new one; a key is kept for jobs.remember_done_s",
    ),
    (errors.SameSubject, 409, "name two different subjects"),
    (errors.NoFeedback, 409, "judge a search that named somebody or nobody"),
    (errors.ModelMismatch, 409, "use the gallery's model, or migrate the gallery"),
    (errors.OutOfReach, 410, "ask for a state that the journal still reaches (gallery.journal_keep_s)"),
    (errors.JobDead, 409, "mend what its reason names, then `kith dead retry`"),
    (errors.UnknownKey, 409, "the gallery's key was destroyed or is kept elsewhere (kith keys list)"),
    (errors.SealBroken, 409, "restore the gallery from a backup: its templates were altered"),
    (errors.InvalidName, 422, "choose a name within the limits"),
    (errors.InvalidCamera, 422, "correct the address or setting"),
    (errors.InvalidApiKey, 422, "correct the key"),
    (outward.InvalidWebhook, 422, "correct the address or filter; docs/outward.md says what webhooks may have"),
    (errors.InvalidTemplate, 422, "send finite unit vectors of the gallery's dimension"),
    (errors.BrokenArchive, 422, "send the archive as it was written"),
    (errors.Misconfigured, 422, "correct the value"),
    (errors.Rejected, 422, "correct the request"),
)


class Problem(Exception):
    """An answer that says no. code: the stable word. field: where in the request. limit: what was exceeded. remedy:
    what to do. retry_s: when the same request may succeed. more: further members."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        limit: float | str | None = None,
        remedy: str | None = None,
        retry_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.field = status, code, detail, field
        self.limit, self.remedy, self.retry_s = limit, remedy, retry_s
        self.headers, self.more = dict(headers or {}), dict(more or {})

    def body(self, request_id: str, path: str) -> dict[str, Any]:
        """The members, those without a value left out."""
        members = {
            "type": f"urn:kith:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "instance": path,
            "code": self.code,
            "field": self.field,
            "limit": self.limit,
            "remedy": self.remedy,
            "retry_after_s": None if self.retry_s is None else math.ceil(self.retry_s),
            "request_id": request_id,
            **self.more,
        }
        return {name: value for name, value in members.items() if value is not None}

    def response(self, request_id: str, path: str) -> JSONResponse:
        """As it is sent."""
        headers = dict(self.headers)
        if self.retry_s is not None:
            # Whole seconds, and never 0: a client that comes back at once was told nothing.
            headers["retry-after"] = str(max(1, math.ceil(self.retry_s)))
        return JSONResponse(self.body(request_id, path), self.status, headers, MEDIA_TYPE)

    async def refuse(self, socket: WebSocket) -> None:
        """Answer the handshake of a WebSocket with it."""
        await socket.send_denial_response(self.response(socket.state.trace.request_id, socket.url.path))


def of_error(error: KithError, field: str | None = None) -> Problem:
    """The problem that an error of Kith is to whoever asked."""
    status, remedy = next((status, remedy) for kind, status, remedy in _TABLE if isinstance(error, kind))
    retry_s = _BUSY_S if status == 429 else _AWAY_S if status == 503 else None
    return Problem(status, error.code, str(error), field=field, remedy=remedy, retry_s=retry_s)


def of_validation(error: RequestValidationError | WebSocketRequestValidationError) -> Problem:
    """All faults of a request, the first one in front."""
    faults = [_fault(each) for each in error.errors()]
    first = faults[0] if faults else {"field": "body", "detail": "cannot be read"}
    return Problem(
        422,
        "invalid_request",
        f"{first['field']}: {first['detail']}",
        field=first["field"],
        limit=first.get("limit"),
        remedy="correct the fields that `errors` names; /openapi.json describes them",
        more={"errors": faults},
    )


def of_http(error: HTTPException) -> Problem:
    """What the framework refuses by itself: an address or a method that is not there."""
    known = {
        404: ("not_found", "there is nothing at this address", "/openapi.json lists what there is"),
        405: ("method_not_allowed", "this address does not take this method", "the header Allow names those it takes"),
        400: ("bad_request", str(error.detail), "correct the request; /openapi.json describes it"),
    }
    code, detail, remedy = known.get(error.status_code, ("refused", str(error.detail), None))
    return Problem(error.status_code, code, detail, remedy=remedy, headers=error.headers)


def unexpected(_: Exception) -> Problem:
    """A bug of ours: nothing of it is told but that there is one."""
    return Problem(
        500,
        "internal",
        "something went wrong here that should not have",
        remedy="send it again; should it stay, the log of the API has the rest under this request id",
    )


def _fault(error: Mapping[str, Any]) -> dict[str, Any]:
    place: Sequence[str | int] = error.get("loc", ())
    # body, query, path, header: where it stood; the rest is what it is called.
    parts = [str(part) for part in (place[1:] if len(place) > 1 else place)]
    if place and place[0] == "body":
        # The members of a union are no part of what was sent: `constrained-str`, `literal[True]`.
        parts = [part for part in parts if part.replace("_", "a").isalnum()]
    limits = [value for name, value in (error.get("ctx") or {}).items() if name in _LIMITS]
    fault: dict[str, Any] = {"field": ".".join(parts) or "body", "detail": str(error.get("msg", "is wrong"))}
    if limits and isinstance(limits[0], int | float | str):
        fault["limit"] = limits[0]
    return fault


_LIMITS = frozenset({"le", "lt", "ge", "gt", "max_length", "min_length", "expected", "pattern"})
