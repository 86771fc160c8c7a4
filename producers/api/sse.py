"""Server-sent events (WHATWG HTML, section 9.2): the form of what is sent, and the response that carries it."""

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

#: A comment: proxies and clients that count silence as death hear it, readers do not.
PING = b": \n\n"
PING_EVERY_S = 15.0


def event(data: str, *, name: str | None = None, entry_id: str | None = None) -> bytes:
    """One event. data: without line breaks, as compact JSON is."""
    parts = [f"id: {entry_id}\n" if entry_id else "", f"event: {name}\n" if name else "", f"data: {data}\n\n"]
    return "".join(parts).encode()


class EventStream(StreamingResponse):
    """A response that goes on."""

    def __init__(self, parts: AsyncIterator[bytes], status_code: int = 200) -> None:
        # X-Accel-Buffering: nginx would keep events back until its buffer is full.
        super().__init__(parts, status_code, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
