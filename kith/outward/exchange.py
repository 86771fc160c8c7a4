"""One HTTP exchange with a server outside: bounded in time and bytes, no redirection followed, no proxy, no cookies."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult

from kith.outward.errors import ReceiverAway

#: Host, port, seconds → a connection. Raises OSError, and what a judge of addresses raises.
Connect = Callable[[str, int, float], socket.socket]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. data: the body, up to the limit that was given; whole: whether that was all."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    whole: bool


def exchange(
    parts: SplitResult,
    method: str,
    path: str,
    *,
    timeout_s: float,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    most_bytes: int = 4096,
    connect: Connect = lambda host, port, timeout_s: socket.create_connection((host, port), timeout_s),
) -> Answer:
    """Ask once. parts: scheme and host of the server; path: of the request, with its query.

    All of it takes `timeout_s` at most, also with a server that sends a byte a second. Raises ReceiverAway.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with connect(parts.hostname or "", port_of(parts), timeout_s) as raw:
            # Shut at the deadline, whatever is under way: who sends a byte a second meets no timeout of a read.
            watch = threading.Timer(max(0.0, deadline_s - time.monotonic()), _shut, (raw,))
            watch.daemon = True
            watch.start()
            try:
                raw.settimeout(max(0.01, deadline_s - time.monotonic()))
                with raw if parts.scheme == "http" else _secured(raw, parts.hostname or "") as sock:
                    connection = http.client.HTTPConnection(parts.hostname or "", port_of(parts))
                    connection.sock = sock
                    given = {"Connection": "close", "User-Agent": "kith", **(headers or {})}
                    connection.request(method, path, body or None, given)
                    with connection.getresponse() as response:
                        data = response.read(most_bytes + 1)
                        if len(data) <= most_bytes and response.length:
                            # What was promised and did not come.
                            raise http.client.IncompleteRead(data)
                        whole = len(data) <= most_bytes
                        answer = Answer(response.status, dict(response.headers), data[:most_bytes], whole)
            finally:
                watch.cancel()
    except (OSError, http.client.HTTPException, ValueError) as fault:
        if time.monotonic() >= deadline_s or isinstance(fault, TimeoutError):
            raise ReceiverAway(f"it did not answer within {timeout_s:g} s") from None
        raise ReceiverAway(f"it cannot be reached ({_in_words(fault)})") from None
    return answer


def port_of(parts: SplitResult) -> int:
    """The port a URL means."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def _secured(raw: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(raw, server_hostname=host)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _in_words(fault: Exception) -> str:
    # The system's words for its own errors; a library's message may repeat what the server sent.
    return (fault.strerror if isinstance(fault, OSError) and fault.strerror else None) or type(fault).__name__
