"""From a portrait to a photograph of it: light, tint, focus, grain, and where in the picture the head is."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from kith.synthetic.model import PORTRAIT_PX

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

#: Height and width of a photograph, and pixels of it per pixel of the portrait.
PHOTOGRAPH_PX = 240, 200
_SCALE = 1.2

#: Beyond the portrait its rim goes on this far, pixels of the portrait.
_RIM_PX = 40

#: Rows: R, G, B from brightness, Cb and Cr (JFIF 1.02, the colours of JPEG), Cb and Cr around 0.
_COLOURS = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])

#: Standard deviations at `variation` 1: of the logarithms of light and contrast, of each channel's tint.
_LIGHT, _CONTRAST, _TINT = 0.10, 0.06, 0.02
#: Standard deviations at `variation` 1: of turn (degrees), shift (pixels), logarithm of size, blur (pixels, its
#: amount).
_TURN_DEG, _SHIFT_PX, _SIZE, _BLUR_PX = 4.0, 3.0, 0.04, 0.4
#: Grain of any photograph, standard deviation in grey levels. Without it the picture would pass for out of focus.
_GRAIN = 2.0
#: Averages of faces are soft: unsharp masking, radius in pixels and strength in percent.
_SHARPENING = ImageFilter.UnsharpMask(radius=2, percent=60, threshold=0)


def developed(portrait: Floats, variation: float, rng: np.random.Generator) -> Pixels:
    """`portrait` (h, w, 3: brightness, Cb, Cr) as RGB pixels of the same size, in a light of its own."""
    rgb = (portrait - [0, 128, 128]) @ _COLOURS.T
    light, contrast = np.exp(variation * np.array([_LIGHT, _CONTRAST]) * rng.standard_normal(2))
    tint = np.exp(variation * _TINT * rng.standard_normal(3))
    rgb = ((rgb - 128) * contrast + 128) * light * tint
    sharp = Image.fromarray(_rounded(rgb)).filter(_SHARPENING)
    blur = variation * _BLUR_PX * abs(rng.standard_normal())
    return np.asarray(sharp.filter(ImageFilter.GaussianBlur(blur)))


def framed(portrait: Pixels, variation: float, rng: np.random.Generator) -> Pixels:
    """(189, 144, 3) → (240, 200, 3): the portrait a little turned, shifted, nearer or farther, its rim carried on."""
    turn, *shift, size = rng.standard_normal(4) * variation * [_TURN_DEG, _SHIFT_PX, _SHIFT_PX, _SIZE]
    angle, scale = np.deg2rad(turn), _SCALE * np.exp(size)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    # Pillow asks where each pixel of the result comes from.
    back = np.array([[cosine, sine], [-sine, cosine]])
    offset = np.array(PORTRAIT_PX[::-1]) / 2 + _RIM_PX - back @ (np.array(PHOTOGRAPH_PX[::-1]) / 2 + shift)
    wide = np.pad(portrait, ((_RIM_PX, _RIM_PX), (_RIM_PX, _RIM_PX), (0, 0)), mode="edge")
    moved = Image.fromarray(wide).transform(
        (PHOTOGRAPH_PX[1], PHOTOGRAPH_PX[0]),
        Image.Transform.AFFINE,
        (*back[0], offset[0], *back[1], offset[1]),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(moved)


def grained(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """`picture` with the noise of a sensor."""
    return _rounded(picture + _GRAIN * rng.standard_normal((*picture.shape[:2], 1)))


def jpeg(picture: Pixels, quality: int = 90) -> bytes:
    """`picture` as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _rounded(rgb: Floats) -> Pixels:
    return np.rint(rgb).clip(0, 255).astype(np.uint8)
