"""Images by URL, fetched by this server from public addresses alone (OWASP: Server-Side Request Forgery Prevention).

What a name means is asked once, every address it has is judged, and the connection is made to one that was judged: who
answers another address a moment later (DNS rebinding) is not asked again. A redirection is judged like the URL itself.
Nothing of the caller goes along, no cookie, no key; a certificate must be good for the name.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urljoin, urlsplit

from anyio import CapacityLimiter, to_thread

from kith.public_network import Permits, Resolve, addresses_of, is_public
from producers.api.problems import Problem
from producers.api.submissions import Shown, Submission

_REDIRECTIONS = 3
_REDIRECT = frozenset({301, 302, 303, 307, 308})
#: Requests whose images are being fetched at once.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Fetcher:
    """image_bytes: more is not read. resolve, permits: how names are resolved and addresses judged."""

    image_bytes: int
    resolve: Resolve = addresses_of
    permits: Permits = is_public

    def fetch(self, url: str, field: str, deadline_s: float) -> bytes:
        """The bytes at a URL. field: where it stood in the request. deadline_s: by time.monotonic. Raises Problem."""
        for _ in range(_REDIRECTIONS + 1):
            parts = _parts(url, field)
            answer = self._ask(parts, self._address(parts, field), field, deadline_s)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise _refused(field, f"it was redirected more than {_REDIRECTIONS} times", limit=_REDIRECTIONS)

    def _address(self, parts: SplitResult, field: str) -> str:
        assert parts.hostname
        try:
            found = self.resolve(parts.hostname, _port(parts))
        except (OSError, UnicodeError):
            raise _refused(field, f"the name {parts.hostname[:100]} cannot be resolved") from None
        # All of them, not only the one we take: a name that means us as well as the world is a trick.
        if not found or not all(self.permits(each) for each in found):
            # Which addresses it has inside is nobody's business.
            raise _refused(field, f"{parts.hostname[:100]} is not an address of the public network")
        return found[0]

    def _ask(self, parts: SplitResult, address: str, field: str, deadline_s: float) -> bytes | str:
        """The body, or where we are sent."""
        host, port = parts.hostname or "", _port(parts)
        try:
            with socket.create_connection((address, port), _left(deadline_s, field)) as raw:
                # Shut at the deadline, whatever is under way: who sends a byte a second meets no timeout of a read.
                watch = threading.Timer(max(0.0, deadline_s - time.monotonic()), _shut, (raw,))
                watch.start()
                try:
                    with raw if parts.scheme == "http" else _secured(raw, host) as sock:
                        answer = self._read(sock, parts, field)
                finally:
                    watch.cancel()
                # An end without a promised length may be the one that we made.
                _left(deadline_s, field)
                return answer
        except (OSError, http.client.HTTPException, ValueError) as fault:
            if time.monotonic() >= deadline_s or isinstance(fault, TimeoutError):
                raise _too_slow(field) from None
            raise _refused(field, f"its server cannot be read ({type(fault).__name__})") from None

    def _read(self, sock: socket.socket, parts: SplitResult, field: str) -> bytes | str:
        connection = http.client.HTTPConnection(parts.hostname or "", _port(parts))
        connection.sock = sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close", "User-Agent": "kith"}
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            where = answer.headers.get("Location")
            if answer.status in _REDIRECT and where:
                return where
            if answer.status != http.HTTPStatus.OK:
                raise _refused(field, f"its server answered {answer.status}")
            # One more than may be: so that too many are noticed.
            data = answer.read(self.image_bytes + 1)
        if len(data) > self.image_bytes:
            raise Problem(
                413,
                "image_too_large",
                f"the image has more than {self.image_bytes:,} bytes (limits.image_bytes)",
                field=field,
                limit=self.image_bytes,
                remedy="name a smaller one",
            )
        if answer.length:
            # What was promised and did not come.
            raise http.client.IncompleteRead(data)
        return data


class Fetching:
    """Fetches what submissions name. Few at a time, in threads of their own: servers that do not answer must not take
    those of everybody else."""

    def __init__(self, fetcher: Fetcher, fetch_s: float) -> None:
        self._fetcher, self._fetch_s = fetcher, fetch_s
        self._turn = CapacityLimiter(_AT_ONCE)

    async def fetched(self, submissions: Sequence[Submission]) -> list[Submission]:
        """The submissions with the bytes in place of URLs, all of them in `fetch_s` seconds. Raises Problem."""
        return await to_thread.run_sync(self._all, submissions, limiter=self._turn)

    def _all(self, submissions: Sequence[Submission]) -> list[Submission]:
        deadline_s = time.monotonic() + self._fetch_s
        return [
            replace(
                each,
                images=tuple(
                    self._one(image, f"{each.within}images.{index}.url", deadline_s)
                    for index, image in enumerate(each.images)
                ),
            )
            for each in submissions
        ]

    def _one(self, image: Shown, field: str, deadline_s: float) -> Shown:
        if image.url is None:
            return image
        return replace(image, data=self._fetcher.fetch(image.url, field, deadline_s))


def _parts(url: str, field: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(field, "this is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _refused(field, "it is not http:// or https:// with a host")
    if parts.username is not None or parts.password is not None:
        raise _refused(field, "it holds a user name or password, and those are not sent")
    return parts


def _secured(raw: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(raw, server_hostname=host)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _left(deadline_s: float, field: str) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise _too_slow(field)
    return left_s


def _too_slow(field: str) -> Problem:
    return _refused(field, "it did not arrive in time (api.fetch_s)")


def _refused(field: str, why: str, limit: float | None = None) -> Problem:
    return Problem(
        422,
        "url_refused",
        f"the image cannot be fetched: {why}",
        field=field,
        limit=limit,
        remedy="send the image itself, or a URL of the public network that leads straight to it",
    )
