"""The one shape an image key may have, checked before it becomes a path or the name of an object."""

import re

from kith.errors import MissingImage

# What kith.imagestore.content_key writes, and nothing else: no dots, so no way up; no absolute paths.
_KEY = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}", re.ASCII)


def is_key(key: str) -> bool:
    """Whether `key` could have been given out by `put`."""
    return _KEY.fullmatch(key) is not None


def checked(key: str) -> str:
    """`key` itself; raises MissingImage when nothing can ever be stored under it."""
    if not is_key(key):
        raise MissingImage(
            f"{key[:80]!r} is not the key of an image (ab/abcdef…, a SHA-256 in hex); use what put returned"
        )
    return key
