"""A linear model of portraits, as a file: what `kith.training.linear_faces` learns and `kith.synthetic.people` samples.

A portrait is a vector x of brightness and colour, mean + basis · z. In the basis used here both kinds of variation are
independent from one number to the next (Ioffe, "Probabilistic Linear Discriminant Analysis", 2006): between pictures of
one person z varies with variance 1, between people with variance `between`.

A face and its mirror image are equally likely, so each component is either symmetric or turns its sign in the mirror,
and its left half is all there is to store. People differ in symmetric components only: how left and right of a face
differ is a matter of pose, light and background.

Four parts make up x, in this order (H, W, channels; halves have half the W):

    face           64 × 64 × 1     brightness of the 112×112 crop, 0..255, times `mask`: the oval of the face
    face colour    16 × 16 × 2     its Cb and Cr, times `mask`
    around         63 × 48 × 1     brightness of the whole portrait, 144×189 pixels at the crop's scale
    around colour  21 × 16 × 2     its Cb and Cr

The file is an npz of arrays without pickle; components are int8 with one scale each.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kith.errors import InvalidPack

Floats = NDArray[np.float64]

#: The portrait at the scale of the 112×112 crop: height, width, and where in it the crop's corner lies (row, column).
PORTRAIT_PX = 189, 144
CROP_PX = 112
CROP_AT = 37, 16

#: Height, width and channels of the four parts.
PARTS = (64, 64, 1), (16, 16, 2), (63, 48, 1), (21, 16, 2)

_HALF_SIZES = tuple(height * width // 2 * channels for height, width, channels in PARTS)

#: Length of a half vector, and how much of it is the face.
HALF, FACE_HALF = sum(_HALF_SIZES), sum(_HALF_SIZES[:2])


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """d = HALF values of a left half; k symmetric components, k2 that turn their sign in the mirror.

    mean: (d,) float32. symmetric: (k, d) int8, scale: (k,) float32, a component is their product. between: (k,),
    variance between people where pictures of one person have 1. mirrored: (k2, d) int8 and mirrored_scale: (k2,).
    likeness: (k, q) int8, likeness_scale: (k,), likeness_mean: (q,): from the coordinates of a person to a vector that
    points where a recogniser's does, roughly (`kith.training.likeness`).
    """

    mean: NDArray[np.float32]
    symmetric: NDArray[np.int8]
    scale: NDArray[np.float32]
    between: NDArray[np.float32]
    mirrored: NDArray[np.int8]
    mirrored_scale: NDArray[np.float32]
    likeness: NDArray[np.int8]
    likeness_scale: NDArray[np.float32]
    likeness_mean: NDArray[np.float32]

    def looks(self, symmetric: Floats) -> Floats:
        """(n, k) coordinates of people → (n, q) unit vectors: where two point the same way, two people look alike."""
        guess = self.likeness_mean + (symmetric * self.likeness_scale) @ self.likeness.astype(np.float64)
        lengths = np.sqrt((guess**2).sum(axis=1, keepdims=True))
        unit: Floats = guess / np.where(lengths > 0, lengths, 1)
        return unit

    def vectors(self, symmetric: Floats, mirrored: Floats) -> tuple[Floats, Floats]:
        """Left and right half, (d,) each, of the portrait with the coordinates (k,) and (k2,)."""
        even = self.mean + (symmetric * self.scale) @ self.symmetric.astype(np.float64)
        odd = (mirrored * self.mirrored_scale) @ self.mirrored.astype(np.float64)
        return even + odd, even - odd

    def save(self, path: Path) -> None:
        """Write the file. The same model makes the same bytes: no time of writing is in them."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for field in fields(self):
                held = io.BytesIO()
                np.lib.format.write_array(held, getattr(self, field.name), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{field.name}.npy"), held.getvalue(), zipfile.ZIP_DEFLATED)


def load(path: Path | None = None) -> Model:
    """The model in `path`, the shipped one where none is named. Raises InvalidPack for any other file."""
    name = str(path or "the shipped model of synthetic people")
    try:
        data = path.read_bytes() if path else resources.files("kith.synthetic").joinpath("model.npz").read_bytes()
        with np.load(io.BytesIO(data)) as held:
            model = Model(**{field.name: held[field.name] for field in fields(Model)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise InvalidPack(f"{name} cannot be read ({fault}); kith synth --learn makes one") from None
    k, k2, q = len(model.symmetric), len(model.mirrored), len(model.likeness_mean)
    shapes = {"mean": (HALF,), "symmetric": (k, HALF), "scale": (k,), "between": (k,),
              "mirrored": (k2, HALF), "mirrored_scale": (k2,),
              "likeness": (k, q), "likeness_scale": (k,), "likeness_mean": (q,)}  # fmt: skip
    for part, shape in shapes.items():
        if (found := getattr(model, part).shape) != shape:
            raise InvalidPack(f"{name}: {part} has the shape {found}, {shape} is needed; kith synth --learn makes one")
    return model


def quantise(components: Floats, levels: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(k, d) as int8 of −`levels`..`levels` and (k,) scales: no value is off by more than half a scale."""
    largest = np.abs(components).max(axis=1, initial=0)
    scale = np.where(largest > 0, largest / levels, 1.0).astype(np.float32)
    return np.rint(components / scale[:, None]).clip(-levels, levels).astype(np.int8), scale


def halves(parts: list[Floats]) -> tuple[Floats, Floats]:
    """(n, H, W, channels) arrays of PARTS → even and odd half, (n, d) each: the left half is even + odd, the right
    half, read from the right, even − odd."""
    even, odd = [], []
    for part in parts:
        left = part[:, :, : part.shape[2] // 2]
        right = part[:, :, ::-1][:, :, : part.shape[2] // 2]
        even.append(((left + right) / 2).reshape(len(part), -1))
        odd.append(((left - right) / 2).reshape(len(part), -1))
    return np.concatenate(even, axis=1), np.concatenate(odd, axis=1)


def mask(height: int, width: int) -> Floats:
    """(height, width, 1): 1 on the face, 0 at the rim of the crop and beyond, smooth between; a rounded square."""
    rows = (np.arange(height) + 0.5) / height * 2 - 1
    columns = (np.arange(width) + 0.5) / width * 2 - 1
    radius = (np.abs(rows[:, None]) ** 3 + np.abs(columns) ** 3) ** (1 / 3)
    inside = np.clip((1 - radius) / 0.3, 0, 1)
    smooth: Floats = inside**2 * (3 - 2 * inside)
    return smooth[:, :, None]


def paint(left: Floats, right: Floats) -> Floats:
    """Two half vectors → the portrait, (189, 144, 3): brightness, Cb and Cr, 0..255 and beyond."""
    face, face_colour, around, around_colour = _parts(left, right)
    painted = np.concatenate([resized(around, *PORTRAIT_PX), resized(around_colour, *PORTRAIT_PX)], axis=2)
    # The masks are enlarged as the masked parts are, so that what is taken away is exactly what was put in.
    covered = [resized(mask(*part[:2]), CROP_PX, CROP_PX) for part in PARTS[:2]]
    top, start = CROP_AT
    crop = painted[top : top + CROP_PX, start : start + CROP_PX]
    crop *= 1 - np.concatenate([covered[0], covered[1], covered[1]], axis=2)
    crop += np.concatenate([resized(face, CROP_PX, CROP_PX), resized(face_colour, CROP_PX, CROP_PX)], axis=2)
    return painted


def resized(picture: Floats, height: int, width: int) -> Floats:
    """(h, w, channels) at another size, bicubic, averaging where it becomes smaller."""
    channels = [
        Image.fromarray(picture[:, :, channel].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        for channel in range(picture.shape[2])
    ]
    return np.stack([np.asarray(channel, np.float64) for channel in channels], axis=2)


def _parts(left: Floats, right: Floats) -> list[Floats]:
    found, start = [], 0
    for (height, width, channels), size in zip(PARTS, _HALF_SIZES, strict=True):
        shape = height, width // 2, channels
        sides = left[start : start + size].reshape(shape), right[start : start + size].reshape(shape)[:, ::-1]
        found.append(np.concatenate(sides, axis=1))
        start += size
    return found
