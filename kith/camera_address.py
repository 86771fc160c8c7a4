"""Where a camera's pictures come from, and how that place may be shown: addresses hold passwords.

Passwords stand in front of the host (RFC 3986 user information), in the query, and on many cameras in the path
(`/user=admin&password=x&channel=1`). `masked` leaves out all three; nothing else of an address may be shown.
"""

import re
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kith.errors import InvalidCamera

_MAX_ADDRESS = 2048
_HIDDEN = "***"


class SourceKind(StrEnum):
    """How pictures come: RTSP, MJPEG over HTTP, HLS, a device of this machine, a video file or a folder of pictures."""

    RTSP = "rtsp"
    MJPEG = "mjpeg"
    HLS = "hls"
    DEVICE = "device"
    PATH = "path"

    @property
    def recorded(self) -> bool:
        """Whether it is a recording: it ends, and it can be had faster than it happened."""
        return self is SourceKind.PATH


_KINDS = {"rtsp": SourceKind.RTSP, "rtsps": SourceKind.RTSP, "http": SourceKind.MJPEG, "https": SourceKind.MJPEG}


def checked(address: str) -> str:
    """`address` as it is kept: a path becomes absolute. Raises InvalidCamera, naming what is accepted."""
    clean = address.strip()
    if not clean or len(clean) > _MAX_ADDRESS or not clean.isprintable():
        raise InvalidCamera(f"a camera's address is 1..{_MAX_ADDRESS} printable characters")
    if "://" in clean and not clean.lower().startswith("file://"):
        scheme = clean.partition("://")[0].lower()
        if scheme not in _KINDS:
            raise InvalidCamera(
                f"a camera's address begins with rtsp://, rtsps://, http://, https:// or file://, or is a path; "
                f"not {scheme[:20]}://"
            )
        try:
            parts = urlsplit(clean)
            named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            named = False
        if not named:
            # The address itself is not repeated: it is not known which part of it is the password.
            raise InvalidCamera(
                f"the address {scheme}://… names no host, or no valid port; write user:password@HOST:PORT"
            )
        return clean
    return str(_path_of(clean).expanduser().absolute())


def kind_of(address: str) -> SourceKind:
    """How pictures come from a `checked` address."""
    if "://" not in address:
        return SourceKind.DEVICE if re.fullmatch(r"/dev/video\d+", address) else SourceKind.PATH
    parts = urlsplit(address)
    if parts.path.lower().endswith(".m3u8"):
        return SourceKind.HLS
    return _KINDS[parts.scheme.lower()]


def masked(address: str) -> str:
    """A `checked` address for logs, pages and lists: scheme, host, port and path, without anything secret."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    user = f"{_HIDDEN}@" if "@" in parts.netloc else ""
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(_HIDDEN if set(unquote(step)) & set("=&@:;") else step for step in parts.path.split("/"))
    query = f"?{_HIDDEN}" if parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{host}{path}{query}"


def _path_of(address: str) -> Path:
    if address.lower().startswith("file://"):
        return Path(unquote(urlsplit(address).path))
    return Path(address)
