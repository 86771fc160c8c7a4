"""What files of keys need beyond others: they are overwritten before they go, and one process writes at a time."""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

_LOOK_EVERY_S = 0.02


def overwrite(handle: int) -> None:
    """Random bytes over the whole of an open file, on the disk when this returns."""
    size = os.fstat(handle).st_size
    os.pwrite(handle, secrets.token_bytes(size), 0)
    os.fsync(handle)


def discard(file: Path) -> None:
    """Overwrite `file`, then remove it; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        with file.open("r+b") as opened:
            overwrite(opened.fileno())
        file.unlink()


@contextlib.contextmanager
def alone(lock: Path, within_s: float) -> Iterator[None]:
    """Among all processes that lock this file, which is made. The lock goes with the process that held it.

    Raises TimeoutError when another one holds it for `within_s` seconds.
    """
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_s = time.monotonic() + within_s
    try:
        while not _locked(handle):
            if time.monotonic() >= deadline_s:
                what = f"another process has had it locked for {within_s:g} s; wait for it, or end it"
                raise TimeoutError(errno.ETIMEDOUT, what, str(lock))
            time.sleep(_LOOK_EVERY_S)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
