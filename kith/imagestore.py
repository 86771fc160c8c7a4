"""Object storage as Kith needs it: bytes in, content address out. Implemented in kith.backends for S3 and a directory.

A key is the SHA-256 of the bytes, so the same picture is stored once, a repeated upload changes nothing, and what comes
back can be checked against the name it was asked by.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What is in a store. stored_ms: when it was last put, Unix milliseconds by the store's own clock."""

    key: str
    size_bytes: int
    stored_ms: int


class ImageStore(Protocol):
    """One contract, tested by one suite, whatever holds the bytes. Safe to call from many threads."""

    def put(self, data: bytes) -> str:
        """Store `data`, return its key. Raises EmptyImage, StoreUnavailable, StoreDenied."""
        ...

    def get(self, key: str) -> bytes:
        """The bytes under `key`.

        Raises MissingImage (also for what is no key), CorruptImage, ImageTooLarge (an upload URL takes any size),
        StoreUnavailable, StoreDenied.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether `key` is stored. Raises StoreUnavailable, StoreDenied."""
        ...

    def delete(self, key: str) -> bool:
        """Remove `key`; whether it was there. Raises StoreUnavailable, StoreDenied."""
        ...

    def upload_url(self, key: str) -> str:
        """A URL that takes the bytes of `key` by HTTP PUT without credentials until it expires (settings).

        The directory store answers with the `file:` URL of the place. Whatever is put there, `get` refuses bytes that
        do not hash to the key.
        """
        ...

    def listed(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[StoredImage]:
        """Up to `limit` images by key, those whose keys begin with `prefix` and come after key `after`; none when there
        are no more, or no place for any yet.

        Whatever else lies in the same place is passed over. Who is put or deleted while page follows page is in one of
        them or in none. Raises StoreUnavailable, StoreDenied.
        """
        ...

    def check(self) -> None:
        """Make the bucket or folder if need be, at start-up. Raises StoreUnavailable, StoreDenied, naming the place."""
        ...


def content_key(data: bytes) -> str:
    """The key of `data`: `ab/abcdef…`, SHA-256 in hex under its first two digits (few entries per directory)."""
    return key_of(sha256(data).hexdigest())


def key_of(digest: str) -> str:
    """The key of the bytes whose SHA-256 is `digest`, in hex; nothing is stored under that of anything else."""
    digest = digest.lower()
    return f"{digest[:2]}/{digest}"
