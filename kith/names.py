"""Limits on the names people give. One rule for every door, so that what one accepts no other refuses."""

import re
import unicodedata

from kith.errors import InvalidName

#: Characters after normalisation; a full name with titles fits, a pasted page does not.
MAX_SUBJECT_NAME = 200

#: Control characters, and lone surrogates, which cannot be encoded as UTF-8: neither Redis nor JSON could carry them.
_BAD = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

#: Becomes part of Redis keys and paths, hence the narrow alphabet.
_GALLERY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

#: What follows the camera in the name of a track: the run in base 36, and a number.
_TRACK = re.compile(r"\.[0-9a-z]{1,16}\.[0-9]{1,12}")


def printable_name(name: str) -> bool:
    """Whether `name` may be that of something only people read: 1..100 characters, none of them a control character."""
    return 1 <= len(name) <= 100 and _BAD.search(name) is None


def subject_name(name: str) -> str:
    """`name` in Unicode NFC without surrounding white space.

    Slashes, emoji and any script are fine. Raises InvalidName when it is empty, longer than `MAX_SUBJECT_NAME`
    characters or holds control characters.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    if not clean:
        raise InvalidName("the subject name is empty; give at least one visible character")
    if len(clean) > MAX_SUBJECT_NAME:
        raise InvalidName(
            f"the subject name {clean[:20]!r}… has {len(clean)} characters, the limit is {MAX_SUBJECT_NAME}; shorten it"
        )
    bad = _BAD.search(clean)
    if bad is not None:
        raise InvalidName(f"the subject name {clean[:20]!r} holds the control character U+{ord(bad[0]):04X}; remove it")
    return clean


def gallery_name(name: str) -> str:
    """`name` itself when it is 1..64 of `a-z 0-9 _ -` and starts with a letter or digit; raises InvalidName else."""
    if not _GALLERY.fullmatch(name):
        raise InvalidName(
            f"the gallery name {name[:70]!r} is not 1..64 characters of a-z, 0-9, _ and -, the first a letter or digit"
        )
    return name


def camera_name(name: str) -> str:
    """`name` itself when it is what a gallery may be called; raises InvalidName else."""
    if not _GALLERY.fullmatch(name):
        raise InvalidName(
            f"the camera name {name[:70]!r} is not 1..64 characters of a-z, 0-9, _ and -, the first a letter or digit"
        )
    return name


def track_name(camera: str, name: str) -> str:
    """`name` itself when it is CAMERA.RUN.NUMBER, RUN of a-z and 0-9; raises InvalidName else."""
    if not (name.startswith(camera) and _TRACK.fullmatch(name, len(camera))):
        raise InvalidName(f"the track {name[:120]!r} is not called {camera}.RUN.NUMBER, as tracks of this camera are")
    return name
