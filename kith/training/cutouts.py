"""Faces with what is around them, cut from photographs: what scenes are composed of.

A teacher finds them. Its boxes say how large a face is, no more: what is learned, it says of the finished scene.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kith import folder, images
from kith.detector import Detector
from kith.errors import Rejected
from kith.settings import Limits

#: What is kept around a face, in sides of its box, and the longest side of a cutout, pixels.
_AROUND, _LONGEST_PX = 2.2, 160

#: Smaller faces are blurred when they are enlarged, and nothing to learn places from.
_MIN_FACE_PX = 24


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """pixels: (height, width, 3) uint8 RGB. box: x, y, width, height of its face, pixels of the cutout."""

    pixels: NDArray[np.uint8]
    box: tuple[float, float, float, float]


def photographs(roots: Sequence[Path], at_most: int, seed: int) -> list[Path]:
    """Image files under `roots`, in chance order; of more than `at_most` a sample. Raises Rejected for none."""
    found: list[Path] = []
    for root in roots:
        if root.is_file():
            found.append(root)
        else:
            found += [root / image.path for image in folder.scan(root, lambda *_: None)]
    if not found:
        raise Rejected(f"there are no pictures in {', '.join(map(str, roots))}")
    return [found[row] for row in np.random.default_rng(seed).permutation(len(found))[:at_most]]


def cut_faces(
    paths: Sequence[Path], detector: Detector, threads: int = 1, tell: Callable[[int], None] = lambda _: None
) -> list[Cutout]:
    """The faces on the photographs `paths`, each with its surroundings, in the order of `paths`.

    What cannot be read or shows nobody gives none, and costs no other. tell: how many have been looked at, after each.
    Raises Rejected when there is no face at all.
    """

    def cut(path: Path) -> list[Cutout]:
        pixels = read_photograph(path)
        if pixels is None:
            return []
        return [_cut(pixels, face.box) for face in detector.detect(pixels) if min(face.box[2:]) >= _MIN_FACE_PX]

    found: list[Cutout] = []
    with ThreadPoolExecutor(threads) as pool:
        for count, cutouts in enumerate(pool.map(cut, paths), 1):
            found += cutouts
            tell(count)
    if not found:
        raise Rejected(f"none of the {len(paths)} pictures shows a face of {_MIN_FACE_PX} pixels or more")
    return found


def read_photograph(path: Path) -> NDArray[np.uint8] | None:
    """(height, width, 3) uint8 RGB, as the service would read it; None for a file that is no picture."""
    try:
        return images.decode(path.read_bytes(), Limits())
    except (OSError, Rejected):
        return None


def _cut(pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> Cutout:
    x, y, width, height = box
    more = (_AROUND - 1) / 2
    left, top = max(0, round(x - more * width)), max(0, round(y - more * height))
    part = pixels[top : round(y + (1 + more) * height), left : round(x + (1 + more) * width)]
    factor = min(1.0, _LONGEST_PX / max(part.shape[:2]))
    if factor < 1:
        size = (max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor)))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    place = ((x - left) * factor, (y - top) * factor, width * factor, height * factor)
    return Cutout(np.ascontiguousarray(part), place)
