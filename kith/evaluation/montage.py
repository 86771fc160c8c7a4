"""Confusions as pictures: each probe beside the template it was taken for, or should have been."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from kith.crops import CROP_PX, CropReader, Labelled
from kith.errors import Rejected
from kith.evaluation.confusions import Confusion
from kith.evaluation.plots import Palette

_COLUMNS = 4
_TILE_IN = (2.3, 1.75)
#: Longer names are cut in the middle: the ends are what tells them apart.
_LONGEST_NAME = 26


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A confusion with its picture: (112, 224, 3) uint8 RGB, the probe on the left, the template on the right."""

    confusion: Confusion
    pixels: NDArray[np.uint8]

    def jpeg(self) -> bytes:
        """The picture as a file."""
        held = io.BytesIO()
        Image.fromarray(self.pixels).save(held, "JPEG", quality=88)
        return held.getvalue()


def tiles(confusions: Sequence[Confusion], reader: CropReader) -> tuple[Tile, ...]:
    """The pictures of `confusions`, read again from their files; one that has gone since is grey."""
    return tuple(
        Tile(each, np.concatenate([_crop(reader, each.probe), _crop(reader, each.template)], axis=1))
        for each in confusions
    )


def montage(shown: Sequence[Tile], palette: Palette) -> Figure:
    """At least one tile, four in a row, each with both names and the score."""
    rows = -(-len(shown) // _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    size = (_TILE_IN[0] * columns, _TILE_IN[1] * rows)
    figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor=palette.ground)
    for place, tile in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(tile.pixels)
        axes.set_axis_off()
        confusion = tile.confusion
        verdict = "missed" if confusion.kind == "miss" else f"taken for {_short(confusion.template.subject)}"
        text = f"{_short(confusion.probe.subject)}\n{verdict}\n{confusion.score:.3f}"
        # A name may hold dollar signs, and is no formula.
        axes.set_title(text, fontsize=7, color=palette.ink, parse_math=False)
    return figure


def _crop(reader: CropReader, image: Labelled) -> NDArray[np.uint8]:
    try:
        return reader.read(image.path)
    except Rejected:
        return np.full((CROP_PX, CROP_PX, 3), 128, np.uint8)


def _short(name: str) -> str:
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"
