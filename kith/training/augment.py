"""Photographic accidents, made up: what one aligned crop could have looked like on another day.

Everything here keeps the person. The geometry moves as little as landmarks do (alignment removes the rest); light,
sharpness and resolution vary as far as cameras do. One picture costs about half a millisecond, OpenCV releases the
interpreter lock.
"""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far, and how often. Probabilities are shares 0..1 of pictures; sizes are standard deviations or limits.

    flip: mirrored. shift_px, turn_deg, scale: the alignment's error, standard deviations. light, contrast, tint: of the
    brightness, its spread and each channel, standard deviations as shares. grey: colourless. blur, shrink, jpeg, noise,
    erase: share of pictures that are blurred, were small once, are compressed hard, are noisy, are partly covered.
    """

    #: A misspelt key of a configuration is an error, not a wish that nobody hears.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    flip: float = 0.5
    shift_px: float = 1.0
    turn_deg: float = 2.0
    scale: float = 0.02
    light: float = 0.15
    contrast: float = 0.15
    tint: float = 0.04
    grey: float = 0.05
    blur: float = 0.1
    shrink: float = 0.15
    jpeg: float = 0.15
    noise: float = 0.1
    erase: float = 0.1


#: Every picture as it is.
NONE = Augmentation(flip=0, shift_px=0, turn_deg=0, scale=0, light=0, contrast=0, tint=0, grey=0, blur=0, shrink=0,
                    jpeg=0, noise=0, erase=0)  # fmt: skip


def augment(crop: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """Another photograph of the same face: (size, size, 3) uint8 in and out, never the array that came in."""
    if how == NONE:
        return crop.copy()
    picture = _moved(crop, how, rng)
    if rng.random() < how.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.6))), np.uint8)
    if rng.random() < how.shrink:
        picture = _shrunk(picture, rng)
    picture = _relit(picture, how, rng)
    if rng.random() < how.erase:
        _cover(picture, rng)
    if rng.random() < how.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))]
        picture = np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return picture


def _moved(crop: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    side = crop.shape[0]
    centre = ((side - 1) / 2, (side - 1) / 2)
    turn, scale = float(rng.normal(0, how.turn_deg)), float(np.exp(rng.normal(0, how.scale)))
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, turn, scale), np.float64)
    matrix[:, 2] += rng.normal(0, how.shift_px, 2)
    if rng.random() < how.flip:
        # x becomes side − 1 − x in the output: one warp does both.
        matrix[0] *= -1
        matrix[0, 2] += side - 1
    moved = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _shrunk(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """As if the face had been small in the photo: down and up again."""
    side = picture.shape[0]
    small = int(side * rng.uniform(0.2, 0.6))
    down = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(down, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def _relit(picture: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    pixels = picture.astype(np.float32)
    if rng.random() < how.grey:
        pixels = np.repeat(pixels @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=2)
    mean = pixels.mean()
    gain = np.exp(rng.normal(0, how.contrast)) * np.exp(rng.normal(0, how.tint, 3))
    shift = mean * (np.exp(rng.normal(0, how.light)) - 1)
    pixels = (pixels - mean) * gain.astype(np.float32) + np.float32(mean + shift)
    if rng.random() < how.noise:
        pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(2, 12))
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def _cover(picture: Pixels, rng: np.random.Generator) -> None:
    """A hand, a scarf, a pole: a box of one colour."""
    side = picture.shape[0]
    height, width = (int(side * share) for share in rng.uniform(0.1, 0.4, 2))
    top, left = int(rng.integers(0, side - height)), int(rng.integers(0, side - width))
    picture[top : top + height, left : left + width] = rng.integers(0, 256, 3)
