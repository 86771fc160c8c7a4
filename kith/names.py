"""Limits on the names people give. One rule for every door, so that what one accepts no other refuses."""

import re
import unicodedata

from kith.errors import InvalidName

#: Characters after normalisation; a full name with titles fits, a pasted page does not.
MAX_SUBJECT_NAME = 200

#: Becomes part of Redis keys and paths, hence the narrow alphabet.
_GALLERY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


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
    # Cs: a lone surrogate cannot be encoded as UTF-8, neither Redis nor JSON could carry it.
    bad = next((char for char in clean if unicodedata.category(char) in ("Cc", "Cs")), None)
    if bad is not None:
        raise InvalidName(f"the subject name {clean[:20]!r} holds the control character U+{ord(bad):04X}; remove it")
    return clean


def gallery_name(name: str) -> str:
    """`name` itself when it is 1..64 of `a-z 0-9 _ -` and starts with a letter or digit; raises InvalidName else."""
    if not _GALLERY.fullmatch(name):
        raise InvalidName(
            f"the gallery name {name[:70]!r} is not 1..64 characters of a-z, 0-9, _ and -, the first a letter or digit"
        )
    return name
