"""Styles and scripts of the pages: read once, served under a digest of all of them, and kept by browsers for good.

One digest for all, so that scripts may load each other by relative names.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file and what it is."""

    data: bytes
    kind: str


class Assets:
    """version: the digest; files: by name."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            file.name: Asset(file.read_bytes(), _KINDS[file.suffix])
            for file in sorted(folder.iterdir())
            if file.suffix in _KINDS
        }
        digest = sha256()
        for name, asset in self.files.items():
            digest.update(name.encode() + b"\0" + asset.data)
        self.version = digest.hexdigest()[:16]

    def place(self, name: str) -> str:
        """Where a file is served. Raises KeyError for one that is not there: a template that names it is wrong."""
        assert self.files[name]
        return f"/static/{self.version}/{name}"
