"""Pictures → vectors as the service makes them: its detector, its alignment, the runtime that would serve."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.crops import CropReader, Labelled, list_subjects, read_crops
from kith.embedder import Embedder, embed
from kith.errors import Rejected

#: Pictures held as crops at a time: 38 kB each, and a whole data set of crops would not fit where its vectors do.
_AT_ONCE = 256
_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """vectors: (n, d) float32 unit rows of the n `images`. skipped: label → why, of those without a vector.
    duplicates: labels of pictures that show the same pixels under different names: label noise, or a leak."""

    vectors: NDArray[np.float32]
    images: tuple[Labelled, ...]
    skipped: dict[str, str]
    duplicates: tuple[tuple[str, str], ...]

    @property
    def subjects(self) -> NDArray[Any]:
        """(n,) names."""
        return np.array([image.subject for image in self.images])


def embed_images(
    embedder: Embedder, reader: CropReader, images: Sequence[Labelled], tell: Callable[[int], None] = lambda _: None
) -> Embedded:
    """The vectors of `images`, in their order; a picture that cannot be read or shows no face is skipped and named.

    tell: how many pictures are done. Raises Rejected when none can be used.
    """
    vectors, kept = [np.empty((0, embedder.dimension), np.float32)], list[Labelled]()
    skipped: dict[str, str] = {}
    seen: dict[bytes, Labelled] = {}
    duplicates = []
    for start in range(0, len(images), _AT_ONCE):
        some = images[start : start + _AT_ONCE]
        crops = read_crops(reader, some, partial(_tell_from, tell, start))
        batches = (crops.pixels[first : first + _BATCH] for first in range(0, len(crops.images), _BATCH))
        vectors.extend(embed(embedder, list(batch)) for batch in batches)
        for image, pixels in zip(crops.images, crops.pixels, strict=True):
            twin = seen.setdefault(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), image)
            if twin.subject != image.subject:
                duplicates.append((twin.label, image.label))
        kept += crops.images
        skipped |= crops.skipped
    if not kept:
        label, why = next(iter(skipped.items()), ("none named", "nothing to read"))
        raise Rejected(f"none of {len(images)} pictures can be used; the first, {label}: {why}")
    return Embedded(np.concatenate(vectors), tuple(kept), skipped, tuple(duplicates))


def embed_folder(
    embedder: Embedder, reader: CropReader, root: Path, tell: Callable[[int, int], None] = lambda *_: None
) -> Embedded:
    """`embed_images` of all pictures SUBJECT/IMAGE.jpg in `root`. tell: how many of how many are done."""
    listing = list_subjects(root)
    found = embed_images(embedder, reader, listing.images, lambda done: tell(done, len(listing.images)))
    return replace(found, skipped={**listing.skipped, **found.skipped})


def _tell_from(tell: Callable[[int], None], start: int, done: int) -> None:
    tell(start + done)
