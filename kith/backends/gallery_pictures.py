"""Which pictures templates were made of, in Redis. gallery.lua documents the keys."""

from collections.abc import Collection
from hashlib import sha1

from kith.backends.gallery_script import GalleryScript

#: Asked about, or read, in one round trip.
_AT_ONCE = 1000


def in_use(script: GalleryScript, name: str, images: Collection[str]) -> set[str]:
    """Those of `images` that a template of gallery `name` was made of, one that undoing could bring back included."""
    client, used, asked = script.client, set[str](), list(images)
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for image in some:
                # As count_picture of gallery_slots.lua has it; nothing is protected by it.
                digest = sha1(image.encode(), usedforsecurity=False).hexdigest()
                pipe.hexists(script.key(name, f"i:{digest[:3]}"), digest[3:15])
            used.update(image for image, there in zip(some, pipe.execute(), strict=True) if there)
    return used
