"""The people that camera tests show, from the shared faces, and frames that carry their number."""

import functools
from collections.abc import Iterator

import numpy as np

from producers.rehearsal.album import from_manifest
from producers.rehearsal.scene import Pixels, Portrait
from tests.shared_data import shared_data


@functools.cache
def portraits() -> dict[str, list[Portrait]]:
    """The photographs of each identity that has four good ones, by name; the first are the ones to enrol."""
    return from_manifest(shared_data() / "faces")


def counted_frames(count: int, width: int = 320, height: int = 240) -> Iterator[Pixels]:
    """Frames that carry their number: see `number_in`."""
    for number in range(count):
        canvas = np.full((height, width, 3), 96, np.uint8)
        for bit in range(12):
            canvas[40:80, 20 + bit * 20 : 40 + bit * 20] = 224 if number >> bit & 1 else 32
        yield canvas


def number_in(pixels: Pixels) -> int:
    """The number that `counted_frames` wrote into a frame."""
    return sum(1 << bit for bit in range(12) if pixels[50:70, 25 + bit * 20 : 35 + bit * 20].mean() > 128)
