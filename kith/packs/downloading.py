"""One file over HTTPS, whole and as pinned, or not at all.

    NAME.part            what has arrived; a later call goes on from there (RFC 9110: Range, If-Range)
    NAME.part.version    the server's name for the version it is a part of (ETag, else Last-Modified)

Plain HTTP is spoken with this machine only. The SHA-256 decides: what has another is removed.
"""

import fcntl
import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from kith.errors import InvalidPack, Rejected
from kith.packs.errors import DownloadFailed

#: Largest file that is fetched when nobody knows its size, bytes.
MAX_BYTES = 2 << 30

_CHUNK = 1 << 16
_LONGEST_PAUSE_S = 30.0

#: Statuses that may pass: too early, too many, and the server's own troubles.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

Tell = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """timeout_s: without a byte. attempts: in a row that bring nothing. backoff_s: pause after the first, doubled each
    time."""

    timeout_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 1.0


def fetch(
    url: str,
    sha256: str,
    file: Path,
    *,
    limit: int = MAX_BYTES,
    tell: Tell = lambda _done, _total: None,
    patience: Patience | None = None,
) -> Path:
    """Download `url` to `file`, going on where an earlier call was cut off; `file` that is there already is kept.

    limit: bytes. tell: called with the bytes that are there, and of how many when the server says so. Raises Rejected
    for an address that is refused or has nothing, InvalidPack for a file that is too large or has another SHA-256 (and
    is removed), DownloadFailed when the server cannot be reached or gives up again and again (what came is kept).
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_file() and _sha256(file) == sha256:
        return file
    part = _Part(file.with_name(f"{file.name}.part"))
    with _alone(part.file):
        _complete(_Server(url, patience or Patience()), part, limit, tell)
        found = _sha256(part.file)
        if found != sha256:
            part.drop()
            raise InvalidPack(f"{url} has SHA-256 {found}, not {sha256} as pinned; it was removed and nothing imported")
        part.file.replace(file)
        part.version_file.unlink(missing_ok=True)
    return file


class _Interrupted(Exception):
    """This attempt is over, another may go on."""


@dataclass(frozen=True, slots=True)
class _Part:
    file: Path

    @property
    def version_file(self) -> Path:
        return self.file.with_name(f"{self.file.name}.version")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    def drop(self) -> None:
        self.file.unlink(missing_ok=True)
        self.version_file.unlink(missing_ok=True)

    def range_headers(self) -> dict[str, str]:
        """What to ask for to get the rest."""
        if not self.size:
            return {}
        version = self.version_file.read_text() if self.version_file.is_file() else ""
        # Without a version to compare, the hash at the end notices a file that has changed in between.
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": version} if version else {})

    def remember(self, headers: Any) -> None:
        tag = headers.get("ETag") or ""
        # A weak tag may stand for other bytes; If-Range must not be asked with one.
        version = headers.get("Last-Modified") or "" if not tag or tag.startswith("W/") else tag
        self.version_file.write_text(version)


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, request: Request, answer: Any, code: int, message: str, headers: Any, target: str
    ) -> Request | None:
        # From the network to a port of this machine: nobody who publishes a model asks for that.
        check_address(target, loopback=urlsplit(request.full_url).scheme == "http")
        return super().redirect_request(request, answer, code, message, headers, target)


class _Server:
    def __init__(self, url: str, patience: Patience) -> None:
        check_address(url)
        self.url, self.patience = url, patience
        self._opener: OpenerDirector = build_opener(_Redirects)

    def ask(self, headers: dict[str, str]) -> HTTPResponse:
        """The answer to a request for the file. Raises _Interrupted, or Rejected when asking again changes nothing."""
        request = Request(self.url, headers={"User-Agent": "kith", "Accept-Encoding": "identity", **headers})  # noqa: S310 - the scheme is checked
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=self.patience.timeout_s)
        except HTTPError as refused:
            if refused.code == 416:
                raise
            with refused:
                if refused.code in _PASSING:
                    raise _Interrupted(f"it answers {refused.code} {refused.reason}") from None
                raise Rejected(f"{self.url} answers {refused.code} {refused.reason}; is the address right?") from None
        except URLError as failed:
            if isinstance(failed.reason, ssl.SSLCertVerificationError):
                raise Rejected(f"{self.url}: the server's certificate is not valid: {failed.reason}") from None
            raise _Interrupted(str(failed.reason)) from None
        except (HTTPException, OSError) as failed:
            raise _Interrupted(str(failed) or type(failed).__name__) from None
        return answer


def check_address(url: str, loopback: bool = True) -> None:
    """Raises Rejected unless `url` is https, or (loopback) http on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise Rejected(f"{url!r} is not an address") from None
    here = host in ("localhost", "::1") or host.startswith("127.")
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and here and loopback)):
        raise Rejected(f"{url} is refused: models are fetched over https only")


def _complete(server: _Server, part: _Part, limit: int, tell: Tell) -> None:
    """Ask until the part is the whole, or patience ends."""
    failures = 0
    while True:
        before = part.size
        try:
            _receive(server, part, limit, tell)
        except _Interrupted as cut:
            failures = 1 if part.size > before else failures + 1
            if failures >= server.patience.attempts:
                raise DownloadFailed(
                    f"{server.url} cannot be fetched: {cut}; {part.size:,} bytes are kept, the same command goes on"
                ) from None
            time.sleep(min(server.patience.backoff_s * 2 ** (failures - 1), _LONGEST_PAUSE_S))
        else:
            return


def _receive(server: _Server, part: _Part, limit: int, tell: Tell) -> None:
    """One request and its answer, added to the part."""
    have = part.size
    try:
        answer = server.ask(part.range_headers())
    except HTTPError as beyond:
        with beyond:
            if beyond.headers.get("Content-Range") == f"bytes */{have}":
                return
        part.drop()
        raise _Interrupted("the part kept from before is not one of this file") from None
    with answer:
        if answer.status == 206 and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            part.drop()
            raise _Interrupted("it sends another range than it was asked for")
        # 200 to a request for a range: the server knows none, or the file is a new one.
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length") or ""
        total = have + int(length) if length.isdigit() else None
        _check_size(server.url, part, total or have, limit)
        part.remember(answer.headers)
        with part.file.open("ab" if have else "wb") as target:
            for chunk in _chunks(answer):
                have += len(chunk)
                _check_size(server.url, part, have, limit)
                target.write(chunk)
                tell(have, total)
    if total is not None and have < total:
        raise _Interrupted(f"the connection was cut after {have:,} of {total:,} bytes")


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (HTTPException, OSError) as failed:
            raise _Interrupted(str(failed) or type(failed).__name__) from None
        if not chunk:
            return
        yield chunk


def _check_size(url: str, part: _Part, size: int, limit: int) -> None:
    if size > limit:
        part.drop()
        raise InvalidPack(f"{url} has {size:,} bytes or more, the limit is {limit:,}; nothing was kept")


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Two commands that write one part would make a mixture; the second is told so."""
    with part.with_name(f"{part.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadFailed(f"another command is downloading {part}; wait for it") from None
        yield


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
