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
#: Of a tile: its size, the gap around it and the height of its two lines of text, inches.
_TILE_IN, _GAP_IN, _TEXT_IN = (2.4, 1.6), 0.08, 0.3
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
    """At least one tile, four in a row, each with the person asked about, what became of it, and the score."""
    columns, rows = min(_COLUMNS, len(shown)), -(-len(shown) // _COLUMNS)
    wide, high = _TILE_IN[0] * columns, _TILE_IN[1] * rows
    figure = Figure(figsize=(wide, high), dpi=150, facecolor=palette.ground)
    for place, tile in enumerate(shown):
        left, top = _TILE_IN[0] * (place % columns) + _GAP_IN, high - _TILE_IN[1] * (place // columns) - _GAP_IN
        across = _TILE_IN[0] - 2 * _GAP_IN
        box = (left / wide, (top - _TEXT_IN - across / 2) / high, across / wide, across / 2 / high)
        axes = figure.add_axes(box)
        axes.imshow(tile.pixels, aspect="auto")
        axes.set_axis_off()
        confusion = tile.confusion
        verdict = "missed" if confusion.kind == "miss" else f"taken for {_short(confusion.template.subject)}"
        text = f"{_short(confusion.probe.subject)}\n{verdict}, {confusion.score:.3f}"
        # A name may hold dollar signs, and is no formula.
        figure.text(left / wide, top / high, text, fontsize=7, color=palette.ink, va="top", parse_math=False)
    return figure


def _crop(reader: CropReader, image: Labelled) -> NDArray[np.uint8]:
    try:
        return reader.read(image.path)
    except Rejected:
        return np.full((CROP_PX, CROP_PX, 3), 128, np.uint8)


def _short(name: str) -> str:
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"
