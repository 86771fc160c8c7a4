"""The last frame of a camera, made small now and then."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from kith.backends.cameras_memory import MemoryCameras
from kith.cameras import Camera
from producers.camera.frame import Frame, PlainPicture
from producers.camera.glance import Glance

CAMERA = Camera("front", "rtsp://cam/1", "door")
#: Red on the left, blue on the right.
PIXELS = np.zeros((360, 640, 3), np.uint8)
PIXELS[:, :320, 0] = PIXELS[:, 320:, 2] = 200


def frame(at_ms: int = 7) -> Frame:
    return Frame(PlainPicture(PIXELS), at_ms, 0.0)


def shown(glance: Glance) -> Image.Image:
    made = glance.take()
    assert made is not None
    return Image.open(io.BytesIO(made.data)).convert("RGB")


def test_one_is_made_now_and_then_and_taken_once() -> None:
    now_s = 100.0
    glance = Glance(CAMERA, 10.0, lambda: now_s)
    assert glance.take() is None
    for at_ms in (1, 2, 3):
        glance.look(frame(at_ms))
    made = glance.take()
    assert made is not None
    assert made.at_ms == 1
    assert glance.take() is None
    now_s = 110.0
    glance.look(frame(4))
    assert shown(glance).size == (320, 180)


def test_it_shows_the_region_of_interest_alone_in_its_own_colours() -> None:
    glance = Glance(replace(CAMERA, roi=(0.5, 0.0, 0.5, 1.0)), 10.0)
    glance.look(frame())
    image = shown(glance)

    assert image.size == (320, 360)
    colours = np.asarray(image).reshape(-1, 3).mean(axis=0)
    assert colours[2] > 150
    assert colours[0] < 30


def test_none_is_made_where_none_is_wanted() -> None:
    glance = Glance(CAMERA, 0.0)
    glance.look(frame())

    assert glance.take() is None


def test_one_that_is_old_is_told_no_more() -> None:
    now_ms = 0
    registry = MemoryCameras(lambda: now_ms)
    registry.add(CAMERA)
    registry.share("p", 60, 1)
    glance = Glance(CAMERA, 1.0)
    glance.look(frame())
    made = glance.take()
    assert made is not None
    assert registry.keep_frame("p", "front", made)
    now_ms = 599_999
    assert registry.last_frame("front") == made
    now_ms = 600_000
    assert registry.last_frame("front") is None
