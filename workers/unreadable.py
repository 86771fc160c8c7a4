"""Messages nobody can read: what of them can still be told, so that they end as dead letters and not as tracebacks."""

import json

from kith.jobs import Lane


def as_text(message: object) -> str:
    """A message's argument as text that Redis and JSON can carry: anything but a string as its JSON, or its repr; lone
    surrogates, which UTF-8 has no bytes for, escaped."""
    if not isinstance(message, str):
        try:
            message = json.dumps(message)
        except (TypeError, ValueError, RecursionError):
            message = repr(message)
    return message.encode("utf-8", "backslashreplace").decode()


def readable_parts(payload: str) -> tuple[str | None, Lane]:
    """The job id, None where there is none, and the lane, `interactive` where there is none."""
    try:
        plain = json.loads(payload)
    except (ValueError, RecursionError):
        plain = None
    parts = plain if isinstance(plain, dict) else {}
    job_id, lane = parts.get("job_id"), parts.get("lane")
    if not isinstance(job_id, str) or not 1 <= len(job_id) <= 200:
        job_id = None
    return job_id and as_text(job_id), Lane(lane) if lane in list(Lane) else Lane.INTERACTIVE
