"""A folder as images: which files count, what each is called, whom it shows."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kith.errors import Rejected
from kith.names import subject_name

#: File names that are taken for images. What a file really is, the worker finds out.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True, slots=True)
class Image:
    """One file as it was when it was looked at. path: relative to the folder. A changed file is another image."""

    path: str
    size: int
    mtime_ns: int


def scan(folder: Path, on_error: Callable[[str, OSError], None]) -> list[Image]:
    """The images under `folder`, sorted by path. Hidden ones are left alone, links to directories not followed.

    on_error: told of every path that cannot be looked at; the others are found all the same.
    """
    found = []
    for directory, inner, files in os.walk(folder, onerror=lambda fault: on_error(str(fault.filename), fault)):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in files:
            if name.startswith(".") or Path(name).suffix.lower() not in SUFFIXES:
                continue
            path = Path(directory, name)
            relative = str(path.relative_to(folder))
            try:
                facts = path.stat()
            except OSError as fault:
                on_error(relative, fault)
            else:
                found.append(Image(relative, facts.st_size, facts.st_mtime_ns))
    return sorted(found, key=lambda image: image.path)


def label_of(path: str) -> str:
    """A relative path as the label of its image: text whatever bytes are in the name, its end when it is too long."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")[-1024:]


def subject_of(path: str) -> str:
    """Whom `SUBJECT/IMAGE.jpg` shows. Raises Rejected for any other depth, InvalidName."""
    parts = Path(path).parts
    if len(parts) != 2:
        raise Rejected("to enrol, a file lies in the folder of its subject: SUBJECT/IMAGE.jpg")
    return subject_name(parts[0])
