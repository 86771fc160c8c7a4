"""What the two clients share of HTTP: addresses, headers, bounded times, and what a lost connection means."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from kith.errors import ApiRefused, ApiUnavailable, KithError
from kith.remote.calls import Call
from kith.remote.patience import Attempts, Patience
from kith.remote.refusals import refusal, retry_after_s
from kith.remote.server_events import EventParser

#: To reach the other side, and to be given a connection of the pool.
_CONNECT_S = 5.0
#: A stream of Kith is never silent for so long: it says every 15 s that it is there.
SILENT_S = 45.0

#: Nothing was sent: whatever it was, it may be sent again.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: The other side, or what stands before it, could not do it now.
_AWAY = frozenset({502, 503, 504})


def address_of(url: str) -> str:
    """The installation's address without a slash at its end. Raises ApiRefused for what is none."""
    if not url.startswith(("http://", "https://")):
        raise ApiRefused(f"{url!r} is no address of an installation; give http://… or https://…")
    return url.rstrip("/")


def headers_of(key: str) -> dict[str, str]:
    """Of every request."""
    return {"authorization": f"Bearer {key}", "accept": "application/json", "user-agent": "kith"}


def timeouts(timeout_s: float, wait_s: float = 0.0) -> httpx.Timeout:
    """Bounded in every part: reaching it, sending, and each wait for a piece of the answer."""
    return httpx.Timeout(timeout_s + wait_s, connect=_CONNECT_S, pool=_CONNECT_S)


def request_of(call: Call[Any], timeout_s: float) -> dict[str, Any]:
    """The arguments of httpx's `request`."""
    return {
        "method": call.method, "url": call.path, "params": dict(call.params), "content": call.body,
        "headers": dict(call.headers), "timeout": timeouts(timeout_s, call.wait_s),
    }  # fmt: skip


def after_loss(call: Call[Any], attempts: Attempts, lost: httpx.HTTPError) -> float:
    """Seconds until a call is sent again whose connection was lost. Raises ApiUnavailable when it is not."""
    fault = unreachable(lost)
    if not call.again and not isinstance(lost, _NOT_SENT):
        raise ApiUnavailable(f"{fault}; whether it was done is unknown, so it is not sent again") from lost
    return attempts.pause_s(fault)


def after_refusal(call: Call[Any], attempts: Attempts, status: int, headers: Mapping[str, str], body: bytes) -> float:
    """Seconds until a call is sent again that was answered so. Raises what the answer means when it is not."""
    fault = refusal(status, body)
    # 429 is said before anything is done.
    if status != 429 and not (call.again and status in _AWAY):
        raise fault
    return attempts.pause_s(fault, retry_after_s(headers))


def unreachable(lost: httpx.HTTPError) -> ApiUnavailable:
    """What a fault of the connection is called here."""
    return ApiUnavailable(f"the installation cannot be reached: {type(lost).__name__} {lost}".rstrip())


class Following:
    """Where a reader of a stream is, and when it comes back after the stream broke off."""

    def __init__(self, last: str | None, patience: Patience) -> None:
        self._last, self._parser = last or "", EventParser()
        self._patience, self._attempts = patience, Attempts(patience)

    def begin(self) -> dict[str, str]:
        """The headers of the next connection."""
        self._parser = EventParser()
        return {"accept": "text/event-stream", **({"last-event-id": self._last} if self._last else {})}

    def read(self, piece: bytes, name: str) -> Iterator[tuple[str, str]]:
        """Places and data of the events called `name` that end in this piece. Raises what the other side says is
        wrong."""
        for each in self._parser.feed(piece):
            if each.name == "problem":
                raise refusal(503, each.data.encode())
            if each.name == name:
                # It works again: whatever fails next is a new fault.
                self._attempts = Attempts(self._patience)
                self._last = each.last_id
                yield each.last_id, each.data
        # Where a stream begins is told before its first event, and a stretch that concerns nobody may end it as well.
        self._last = self._parser.last_id or self._last

    def refused(self, status: int, body: bytes) -> KithError:
        """Why there is no stream now. Raises what cannot change by coming back."""
        fault = refusal(status, body)
        if status != 429 and status not in _AWAY:
            raise fault
        return fault

    def pause_s(self, fault: KithError, headers: Mapping[str, str] | None = None) -> float:
        """Seconds until it comes back. Raises `fault` when its patience is at an end."""
        return self._attempts.pause_s(fault, retry_after_s(headers or {}) or self._parser.retry_s)
