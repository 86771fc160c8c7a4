"""Images in a directory: for one machine, or for several that mount the same one."""

import errno
import os
import tempfile
import time
from pathlib import Path

from kith.backends.image_keys import checked, is_key
from kith.errors import CorruptImage, EmptyImage, ImageTooLarge, KithError, MissingImage, StoreDenied, StoreUnavailable
from kith.imagestore import StoredImage, content_key

#: Half-written files of a writer that died are removed at start-up once they are this old; no put takes as long.
STALE_AFTER_S = 3600

_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


class DirectoryImageStore:
    """`root/ab/abcdef…`, one file per image. Implements kith.imagestore.ImageStore.

    A file appears under its key whole or not at all: it is written beside the others and renamed. It is not fsynced.
    A process may die at any moment and nothing is lost; a power cut may take the last seconds of images, as it takes
    the last second of the ledger, which syncs once a second. What it leaves is never mistaken for the picture, because
    `get` checks the hash. Syncing each image would cost several times the whole put.

    Files are readable by their owner only: they are photographs of people. image_bytes: refuse to read larger files.
    """

    def __init__(self, root: Path, *, image_bytes: int | None = None) -> None:
        self._root = root.expanduser().resolve()
        self._image_bytes = image_bytes
        # One name on the same file system, so that a rename is atomic and a sweep need not walk 256 directories.
        self._incoming = self._root / "incoming"

    def __repr__(self) -> str:
        return f"DirectoryImageStore({str(self._root)!r})"

    def put(self, data: bytes) -> str:
        """Store `data`, return its key. Raises EmptyImage, StoreUnavailable, StoreDenied."""
        if not data:
            raise EmptyImage
        key = content_key(data)
        # Written even where the file exists: the same bytes again repair a damaged copy.
        try:
            try:
                self._write(key, data)
            except FileNotFoundError:
                self._make(self._incoming, self._place(key).parent)
                self._write(key, data)
        except OSError as failure:
            raise self._mapped(failure) from failure
        return key

    def get(self, key: str) -> bytes:
        """The bytes under `key`. Raises MissingImage, CorruptImage, ImageTooLarge, StoreUnavailable, StoreDenied."""
        try:
            with self._place(checked(key)).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if self._image_bytes is not None and size > self._image_bytes:
                    raise ImageTooLarge(
                        f"{key} has {size:,} bytes, limits.image_bytes allows {self._image_bytes:,}; "
                        "send a smaller file or raise the setting"
                    )
                data = file.read()
        except FileNotFoundError:
            raise MissingImage(f"{key} is not in {self._root}") from None
        except OSError as failure:
            raise self._mapped(failure) from failure
        if content_key(data) != key:
            raise CorruptImage(f"{key} in {self._root} holds {len(data):,} bytes that do not hash to it; put it again")
        return data

    def exists(self, key: str) -> bool:
        """Whether `key` is stored. Raises StoreUnavailable, StoreDenied."""
        if not is_key(key):
            return False
        try:
            self._place(key).stat()
        except FileNotFoundError:
            return False
        except OSError as failure:
            raise self._mapped(failure) from failure
        return True

    def delete(self, key: str) -> bool:
        """Remove `key`; whether it was there. Raises StoreUnavailable, StoreDenied."""
        if not is_key(key):
            return False
        try:
            self._place(key).unlink()
        except FileNotFoundError:
            return False
        except OSError as failure:
            raise self._mapped(failure) from failure
        return True

    def upload_url(self, key: str) -> str:
        """The `file:` URL of the place, whose directory exists. Raises MissingImage, StoreUnavailable, StoreDenied."""
        place = self._place(checked(key))
        try:
            self._make(place.parent)
        except OSError as failure:
            raise self._mapped(failure) from failure
        return place.as_uri()

    def listed(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[StoredImage]:
        """Images by key, see kith.imagestore.ImageStore. Raises StoreUnavailable, StoreDenied."""
        found: list[StoredImage] = []
        try:
            for folder in self._folders(prefix[:2], after[:2]):
                names = sorted(each.name for each in (self._root / folder).iterdir())
                for key in (f"{folder}/{name}" for name in names):
                    if is_key(key) and key.startswith(prefix) and key > after and (image := self._image(key)):
                        found.append(image)
                        if len(found) >= limit:
                            return found
        except FileNotFoundError:
            # Nobody has put anything yet.
            return found
        except OSError as failure:
            raise self._mapped(failure) from failure
        return found

    def check(self) -> None:
        """Create the directory, write to it, sweep what dead writers left. Raises StoreUnavailable, StoreDenied."""
        try:
            self._make(self._incoming)
            with tempfile.TemporaryFile(dir=self._incoming):
                pass
            for left in self._incoming.iterdir():
                # Another process may sweep or rename at the same time; what is gone is what we wanted gone.
                try:
                    if time.time() - left.stat().st_mtime > STALE_AFTER_S:
                        left.unlink()
                except FileNotFoundError:
                    continue
        except OSError as failure:
            raise self._mapped(failure) from failure

    def _folders(self, prefix: str, after: str) -> list[str]:
        every = (each.name for each in os.scandir(self._root) if len(each.name) == 2 and each.is_dir())
        return sorted(name for name in every if name.startswith(prefix) and name >= after)

    def _image(self, key: str) -> StoredImage | None:
        try:
            facts = self._place(key).stat()
        except FileNotFoundError:
            # Deleted since its folder was read.
            return None
        return StoredImage(key, facts.st_size, facts.st_mtime_ns // 1_000_000)

    def _write(self, key: str, data: bytes) -> None:
        # mkstemp: mode 0600 and a name no other writer has, so that two puts of the same bytes never share a file.
        handle, temporary = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(self._place(key))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _make(self, *directories: Path) -> None:
        for directory in (self._root, *directories):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _place(self, key: str) -> Path:
        return self._root / key

    def _mapped(self, failure: OSError) -> KithError:
        what = f"{failure.strerror or type(failure).__name__} ({failure.filename or self._root})"
        if failure.errno in _DENIED:
            return StoreDenied(f"the image directory {self._root} may not be used: {what}; change its owner or mode")
        return StoreUnavailable(f"the image directory {self._root} cannot be used: {what}")
