"""A file that appears whole, on the disk and readable by its owner alone, or not at all."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(file: Path) -> Iterator[IO[bytes]]:
    """What is written in the block becomes `file`, or replaces it, at its end. An exception leaves `file` as it was.
    What one left behind who was killed in the middle goes when `file` is written the next time.

    Raises OSError, before the block where the folder is not there or takes no files.
    """
    _clear(file)
    handle, beside = _begun(file)
    try:
        with os.fdopen(handle, "w+b") as opened:
            yield opened
            opened.flush()
            # Before the rename: a power cut must not leave the new name with nothing under it.
            os.fsync(opened.fileno())
            # Before it is closed, and with it unlocked.
            beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _begun(file: Path) -> tuple[int, Path]:
    """An empty file beside it, locked for as long as its writer lives."""
    while True:
        # mkstemp: mode 0600 from its first moment, and a name that no other writer has.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=_prefix(file), suffix=file.suffix)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        # Another one took it for left behind, before it was locked.
        os.close(handle)


def _clear(file: Path) -> None:
    for left in file.parent.glob(f"{escape(_prefix(file))}*"):
        try:
            with left.open("rb") as opened:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
        except OSError:
            # Its writer is at it, or another one has cleared it, or it is not ours.
            continue


def _prefix(file: Path) -> str:
    # Of the name a part, for it must not become too long with what follows.
    return f".new-{file.name[:100]}-"
