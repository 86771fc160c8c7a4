"""The description of the door for machines: what FastAPI finds, with what it cannot know: keys, and problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

DESCRIPTION = """Open-set face recognition. Send images, learn who is on them, keep who is known.

Every call needs an API key (`kith apikeys create`), as `Authorization: Bearer KEY` or `X-Api-Key: KEY`. What goes wrong
is told as problem details (RFC 9457). Times are Unix milliseconds, boxes x, y, width, height in pixels."""

TAGS = [
    {"name": "jobs", "description": "Hand in images, wait for what is decided about them."},
    {"name": "images", "description": "Images by themselves: upload first, name them in jobs, look at them later."},
    {"name": "decisions", "description": "Every answer: pages, a stream, and what people say of them."},
    {"name": "galleries", "description": "Who is compared with whom; settings, history, undo."},
    {"name": "subjects", "description": "The people of a gallery."},
    {"name": "templates", "description": "What of a person is compared with."},
    {"name": "calibration", "description": "The cutoff of a gallery."},
    {"name": "models", "description": "Model packs, and what workers hold."},
    {"name": "migrations", "description": "From one model to another, without a pause."},
    {"name": "events", "description": "What cameras told: pages, server-sent events, a WebSocket."},
    {"name": "strangers", "description": "People nobody has named."},
    {"name": "cameras", "description": "Which are watched, and how they are."},
    {"name": "webhooks", "description": "Who is told by HTTP what happens, and how that goes."},
    {"name": "audit", "description": "Who did what."},
    {"name": "system", "description": "Queues, workers, dead letters."},
    {"name": "health", "description": "For supervisors and load balancers; no key."},
]

_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details, RFC 9457.",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "`urn:kith:problem:` and the code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong with this request, for a person."},
        "instance": {"type": "string", "description": "The address asked."},
        "code": {"type": "string", "description": "The stable word, for a program."},
        "field": {"type": "string", "description": "Where in the request."},
        "limit": {"type": ["number", "string"], "description": "What was exceeded, or is expected."},
        "remedy": {"type": "string", "description": "What to do."},
        "retry_after_s": {"type": "integer", "description": "Seconds after which the same request may succeed."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "All faults of an invalid request.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {"type": "string"},
                    "detail": {"type": "string"},
                    "limit": {"type": ["number", "string"]},
                },
            },
        },
    },
    "example": {
        "type": "urn:kith:problem:image_too_large",
        "title": "Image too large",
        "status": 413,
        "detail": "the image has 30000 × 30000 = 900,000,000 pixels, limits.image_pixels allows 50,000,000; scale it "
        "down or raise the setting",
        "instance": "/v1/jobs",
        "code": "image_too_large",
        "field": "images.0",
        "remedy": "send a smaller image, or raise the limit in the settings",
        "request_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    },
}

_ANY_PROBLEM = {
    "description": "What went wrong, and what to do about it.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

#: For what needs no key.
NO_KEY: dict[str, Any] = {"security": []}

_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, `kith_…`."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same, as others send it."},
}


def schema_of(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        parts = made.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        # FastAPI describes its own form of a refusal; ours is a problem like any other.
        for theirs in ("HTTPValidationError", "ValidationError"):
            schemas.pop(theirs, None)
        schemas["Problem"] = _PROBLEM
        # On its way between processes only; it is in no record.
        schemas["Decision"]["properties"].pop("vector", None)
        parts["securitySchemes"] = _KEYS
        made["security"] = [{"bearer": []}, {"apiKey": []}]
        for path in made["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _ANY_PROBLEM
        app.openapi_schema = made
    return app.openapi_schema
