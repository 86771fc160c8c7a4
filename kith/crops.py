"""Face images in folders → aligned crops in memory: what training and evaluation work on.

    DIR/SUBJECT/IMAGE.jpg     one folder per person, as for enrolment

The way of each picture is the service's own (`kith.images`, `kith.detector`, `kith.principal`, `kith.alignment`), so
that a figure measured here is a figure of the service. Reading goes through threads; the decoder, the detector and the
warp release the interpreter lock.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kith import folder, images
from kith.alignment import align
from kith.detector import Detector
from kith.errors import ImageRejected, NoFace, Rejected
from kith.manifest import TEMPLATE
from kith.principal import by_prominence
from kith.settings import Limits

Pixels = NDArray[np.uint8]

#: Side of an aligned crop, pixels.
CROP_PX = 112


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture of one person. path: the file. subject: the name of its folder."""

    path: Path
    subject: str

    @property
    def label(self) -> str:
        """SUBJECT/IMAGE.jpg."""
        return f"{self.subject}/{self.path.name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds. skipped: label of a file → why it is left out."""

    images: tuple[Labelled, ...]
    skipped: dict[str, str]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody, sorted."""
        return tuple(sorted({image.subject for image in self.images}))


def list_subjects(root: Path) -> Listing:
    """All pictures in `root`, sorted by subject and name. Raises Rejected when there is none at all."""
    skipped: dict[str, str] = {}
    found = folder.scan(root, lambda path, fault: skipped.update({path: fault.strerror or str(fault)}))
    listed = []
    for image in found:
        try:
            listed.append(Labelled(root / image.path, folder.subject_of(image.path)))
        except Rejected as refusal:
            skipped[folder.label_of(image.path)] = str(refusal)
    if not listed:
        why = f"; of {len(skipped)} files the first: {next(iter(skipped.items()))}" if skipped else ""
        raise Rejected(f"{root} holds no pictures in folders of subjects (SUBJECT/IMAGE.jpg){why}")
    return Listing(tuple(listed), skipped)


class CropReader:
    """Reads files as aligned crops. Safe to call from many threads.

    detector: finds the face of a photograph; None when the files are aligned 112×112 crops already.
    """

    def __init__(self, detector: Detector | None, template: ArrayLike = TEMPLATE, limits: Limits | None = None) -> None:
        self._detector = detector
        self._template = template
        self._limits = limits or Limits()

    def read(self, path: Path) -> Pixels:
        """(112, 112, 3) uint8 RGB: the most prominent face of the picture. Raises Rejected, whatever the file."""
        try:
            data = path.read_bytes()
        except OSError as fault:
            raise ImageRejected(f"unreadable: {fault.strerror or fault}") from None
        pixels = images.decode(data, self._limits)
        if self._detector is None:
            if pixels.shape[:2] != (CROP_PX, CROP_PX):
                raise ImageRejected(
                    f"an aligned crop is {CROP_PX}×{CROP_PX}, this picture {pixels.shape[1]}×{pixels.shape[0]}; leave "
                    "out --aligned to have its face found"
                )
            return pixels
        found = self._detector.detect(pixels)
        if not found:
            raise NoFace(f"no face found in {pixels.shape[1]}×{pixels.shape[0]} pixels")
        face = by_prominence(found, *pixels.shape[:2])[0]
        return align(pixels, face.landmarks, CROP_PX, self._template)


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """pixels: (n, 112, 112, 3) uint8 RGB. images: the n files, in order. skipped: label → why it has no crop."""

    pixels: Pixels
    images: tuple[Labelled, ...]
    skipped: dict[str, str]

    @property
    def subjects(self) -> NDArray[Any]:
        """(n,) names."""
        return np.array([image.subject for image in self.images])


def read_crops(
    reader: CropReader,
    listed: Sequence[Labelled],
    tell: Callable[[int], None] = lambda _: None,
    threads: int | None = None,
    allocate: Callable[[int], Pixels] = lambda count: np.empty((count, CROP_PX, CROP_PX, 3), np.uint8),
) -> Crops:
    """The crops of `listed`, in their order; a file that has none is skipped and named, the others are unharmed.

    tell: how many files have been read so far, after each. allocate: gives the array they are written to, 38 kB a
    picture, in memory unless told otherwise.
    """
    skipped: dict[str, str] = {}
    kept: list[Labelled] = []
    pixels = allocate(len(listed))

    def read(image: Labelled) -> Pixels | Rejected:
        try:
            return reader.read(image.path)
        except Rejected as refusal:
            return refusal

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for count, (image, crop) in enumerate(zip(listed, pool.map(read, listed), strict=True), 1):
            if isinstance(crop, Rejected):
                skipped[image.label] = crop.reason
            else:
                pixels[len(kept)] = crop
                kept.append(image)
            tell(count)
    return Crops(pixels[: len(kept)], tuple(kept), skipped)
