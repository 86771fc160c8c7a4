"""A frame as decoders leave it: its brightness without a conversion, its colours when they are needed."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from producers.camera.frame import DecodedPicture, PlainPicture

RANDOM = np.random.default_rng(0)
#: Blocks of one colour: chroma at half resolution loses nothing.
PIXELS = RANDOM.integers(30, 220, (12, 18, 3), np.uint8).repeat(20, 0).repeat(20, 1)


def decoded(form: str, pixels: NDArray[np.uint8] = PIXELS) -> DecodedPicture:
    return DecodedPicture(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=form))


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv422p", "nv12", "gray", "rgb24", "bgr24", "yuyv422"])
def test_brightness_is_the_mean_of_each_cell_whatever_the_format(form: str) -> None:
    picture = decoded(form)
    grey = picture.grey(36)
    assert picture.size == (360, 240)
    assert grey.shape == (24, 36)
    luma = PIXELS.astype(float) @ [0.299, 0.587, 0.114]
    naive = np.array(
        [
            [luma[10 * row : 10 * row + 10, 10 * column : 10 * column + 10].mean() for column in range(36)]
            for row in range(24)
        ]
    )
    # Video of studio range keeps brightness within 16..235: a straight line, which movements do not mind.
    slope, offset = np.polyfit(naive.ravel(), grey.ravel().astype(float), 1)
    assert 0.8 < slope < 1.1
    assert np.abs(slope * naive + offset - grey).max() < 4


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "nv12", "rgb24", "bgr24"])
def test_colours_come_back_in_the_order_red_green_blue(form: str) -> None:
    seen = decoded(form).rgb()
    assert seen.dtype == np.uint8
    assert np.abs(seen[10::20, 10::20].astype(int) - PIXELS[10::20, 10::20]).max() <= 6


@pytest.mark.parametrize("width", [322, 330, 342])
def test_rows_that_a_decoder_made_longer_than_the_picture_are_cut(tmp_path: Path, width: int) -> None:
    pixels = RANDOM.integers(30, 220, (13, 1, 3), np.uint8).repeat(20, 0)[:258].repeat(width, 1)
    with av.open(str(tmp_path / "odd.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(5))
        stream.width, stream.height, stream.pix_fmt = width, 258, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    with av.open(str(tmp_path / "odd.mp4")) as clip:
        picture = DecodedPicture(next(clip.decode(video=0)))
    grey = picture.grey(width)
    assert grey.shape == (258, width)
    assert grey.std(axis=1).max() < 3, "each row is of one grey as far as it goes"


def test_an_array_is_a_picture_too() -> None:
    picture = PlainPicture(PIXELS)
    assert picture.size == (360, 240)
    assert picture.rgb() is PIXELS
    assert np.abs(picture.grey(36).astype(int) - decoded("gray").grey(36)).max() <= 2
    assert PlainPicture(PIXELS[:, :20]).grey(80).shape == (240, 20)
