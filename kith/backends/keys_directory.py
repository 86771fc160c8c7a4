"""Keys in a directory: `{gallery}.key`, one file of JSON per gallery, readable by its owner alone.

    {"kith_keys": 1, "gallery": "staff", "keys": [{"id": "9f86d081", "created_ms": 1718000000000, "secret": "BASE64"}]}

oldest first; with a key service `wrapped` stands in place of `secret`. Keys made before the service was named are
wrapped at the next rotation.

Several processes may share the directory, on one machine or by a mounted one that knows flock. Keep it off the disks
and out of the backups that hold what the keys seal. Destroying overwrites the file before it goes; a file system that
copies on write, or a flash disk, may keep the old bytes all the same: put the directory on an encrypted volume, or name
a key service and destroy the gallery's key there.
"""

import base64
import contextlib
import errno
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from kith.backends.key_files import alone, discard, overwrite
from kith.errors import KeysUnavailable, KithError, Misconfigured, Rejected, UnknownKey
from kith.keys import RESERVED, SECRET_BYTES, Key, KeyRing, KeyWrapper, ring_name

_VERSION = 1
_SUFFIX = ".key"
_NEW = ".new-"
#: How long one waits for another process that writes here, which may be waiting for its key service.
_LOCK_S = 20.0
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


class DirectoryKeys:
    """Implements kith.keys.KeyStore."""

    def __init__(self, directory: Path, wrapper: KeyWrapper | None = None) -> None:
        self._directory = directory.expanduser().resolve()
        self._wrapper = wrapper

    def __repr__(self) -> str:
        return f"DirectoryKeys({str(self._directory)!r})"

    def galleries(self) -> list[str]:
        with self._mapped():
            if not self._directory.exists():
                return []
            self._check_directory()
            named = [file.name.removesuffix(_SUFFIX) for file in self._directory.glob(f"*{_SUFFIX}")]
        return sorted(name for name in named if name not in RESERVED)

    def ring(self, gallery: str) -> KeyRing:
        name = ring_name(gallery)
        with self._mapped():
            found = self._read(name)
        if found is None:
            raise self._unknown(name)
        return found

    def check_changeable(self, gallery: str) -> None:
        with self._mapped():
            # Not read: what is damaged can still be destroyed.
            if not self._place(ring_name(gallery)).exists():
                raise self._unknown(gallery)

    def create(self, gallery: str) -> KeyRing:
        name = ring_name(gallery)
        with self._mapped():
            # Without the lock first: a directory that is mounted for reading cannot be locked.
            found = self._read(name)
            if found is not None:
                return found
            with self._locked():
                return self._read(name) or self._write(KeyRing(name, (_new_key(),)))

    def rotate(self, gallery: str) -> KeyRing:
        with self._mapped(), self._locked():
            ring = self.ring(gallery)
            return self._write(KeyRing(ring.gallery, (*ring.keys, _new_key())))

    def retire(self, gallery: str, key_ids: Collection[str]) -> KeyRing:
        with self._mapped(), self._locked():
            ring = self.ring(gallery)
            if ring.newest.key_id.hex() in key_ids:
                raise Rejected(f"key {ring.newest.key_id.hex()} seals gallery {gallery}; rotate before retiring it")
            kept = tuple(key for key in ring.keys if key.key_id.hex() not in key_ids)
            if len(kept) == len(ring.keys):
                return ring
            return self._write(KeyRing(ring.gallery, kept))

    def destroy(self, gallery: str) -> tuple[str, ...]:
        name = ring_name(gallery)
        with self._mapped(), self._locked():
            try:
                key_ids = self.ring(name).key_ids
            except UnknownKey:
                raise
            except KithError:
                # A file that cannot be read, or a service that is away, must not keep anybody from forgetting.
                key_ids = ()
            place = self._place(name)
            discard(place)
            self._sync_directory()
            return key_ids

    def _unknown(self, name: str) -> UnknownKey:
        return UnknownKey(
            f"{self._directory} holds no key of gallery {name}: it was destroyed, or security.keys_directory was "
            "another one when the gallery was made"
        )

    def _read(self, name: str) -> KeyRing | None:
        try:
            # Links are followed: that is how Kubernetes mounts a secret.
            with self._place(name).open("rb") as file:
                self._check_directory()
                mode = os.fstat(file.fileno()).st_mode
                if mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise Misconfigured(
                        f"{self._place(name)} is open to others than its owner (mode {stat.S_IMODE(mode):04o}); "
                        f"chmod 600 it, and rotate the key if somebody may have read it"
                    )
                data = file.read()
        except FileNotFoundError:
            return None
        return self._parsed(name, data)

    def _parsed(self, name: str, data: bytes) -> KeyRing:
        try:
            plain = json.loads(data)
            version, owner, rows = plain["kith_keys"], plain["gallery"], plain["keys"]
            if version != _VERSION:
                raise Misconfigured(f"{self._place(name)} has version {version}, this Kith reads {_VERSION}; upgrade")
            keys = tuple(self._key(name, row) for row in rows)
            told = [str(row["id"]) for row in rows]
        except (ValueError, KeyError, TypeError):
            # Not what is wrong with it: the words of the parser would hold parts of the key.
            raise Misconfigured(f"{self._place(name)} is damaged; bring it back from your copy of the keys") from None
        if owner != name:
            raise Misconfigured(f"{self._place(name)} holds the keys of gallery {owner}; it was renamed")
        ring = KeyRing(name, keys)
        if list(ring.key_ids) != told:
            raise Misconfigured(f"{self._place(name)} is damaged: a key does not have the id it is under")
        return ring

    def _key(self, name: str, row: dict[str, Any]) -> Key:
        if "wrapped" not in row:
            secret = base64.b64decode(row["secret"], validate=True)
            if len(secret) != SECRET_BYTES:
                raise ValueError
            return Key(secret, int(row["created_ms"]))
        wrapped = base64.b64decode(row["wrapped"], validate=True)
        if self._wrapper is None:
            raise Misconfigured(f"{self._place(name)} is wrapped by a key service; name it by the setting security.kms")
        return Key(self._wrapper.unwrap(name, wrapped), int(row["created_ms"]))

    def _row(self, name: str, key: Key) -> dict[str, str | int]:
        row: dict[str, str | int] = {"id": key.key_id.hex(), "created_ms": key.created_ms}
        if self._wrapper is None:
            return row | {"secret": base64.b64encode(key.secret).decode()}
        return row | {"wrapped": base64.b64encode(self._wrapper.wrap(name, key.secret)).decode()}

    def _write(self, ring: KeyRing) -> KeyRing:
        rows = [self._row(ring.gallery, key) for key in ring.keys]
        text = json.dumps({"kith_keys": _VERSION, "gallery": ring.gallery, "keys": rows}, indent=1) + "\n"
        # mkstemp: mode 0600 from its first moment.
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=_NEW)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                # Synced before anything is sealed by it: a key that a power cut takes takes the gallery with it.
                os.fsync(file.fileno())
            with contextlib.ExitStack() as opened:
                old = None
                with contextlib.suppress(FileNotFoundError):
                    old = opened.enter_context(self._place(ring.gallery).open("r+b"))
                Path(temporary).replace(self._place(ring.gallery))
                self._sync_directory()
                # Last: should we stop before, no key that is needed is lost.
                if old is not None:
                    overwrite(old.fileno())
        except BaseException:
            discard(Path(temporary))
            raise
        return ring

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes that write here."""
        for directory in (*reversed(self._directory.parents), self._directory):
            # Each of them: `parents=True` would leave those it makes open to others.
            if not directory.exists():
                directory.mkdir(mode=0o700, exist_ok=True)
        self._check_directory()
        with alone(self._directory / ".lock", _LOCK_S):
            # Whoever wrote these was killed: they would open the gallery still when its key is destroyed.
            for left in self._directory.glob(f"{_NEW}*"):
                discard(left)
            yield

    def _check_directory(self) -> None:
        mode = self._directory.stat().st_mode
        # A sticky one is fine: others cannot replace our files in it.
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
            raise Misconfigured(f"others may write to the key directory {self._directory}; chmod 700 it")

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            what = f"{failure.strerror or type(failure).__name__} ({failure.filename or self._directory})"
            if failure.errno in _REFUSED:
                raise Misconfigured(f"the key directory {self._directory} may not be used: {what}") from failure
            raise KeysUnavailable(f"the key directory {self._directory} cannot be used: {what}") from failure

    def _place(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"


def _new_key() -> Key:
    return Key(secrets.token_bytes(SECRET_BYTES), round(time.time() * 1000))
