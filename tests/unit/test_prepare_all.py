"""A few threads prepare a job's images and share them out: in order, all of them, and no further than needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.inputs import made_up_crops
from kith import images
from kith.checkpoints import simulated_pack
from kith.errors import StoreUnavailable
from kith.imagestore import content_key
from kith.jobs import Content, EmbedJob, ImageRef, Kind, Lane, Quality, Seen
from kith.preparation import Preparer
from kith.settings import Limits, Settings, Worker

PICTURES = {content_key(data): data for data in made_up_crops(16)}


class Store:
    """Holds PICTURES; goes away at one of them."""

    def __init__(self, away_at: str | None = None) -> None:
        self.away_at = away_at
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def get(self, key: str) -> bytes:
        self.asked.append(key)
        self.threads.add(threading.get_ident())
        if key == self.away_at:
            raise StoreUnavailable
        return PICTURES[key]


def job(count: int) -> EmbedJob:
    images = tuple(ImageRef(key) for key in list(PICTURES)[:count])
    return EmbedJob("j", Kind.IDENTIFY, "g", Lane.BULK, images, created_ms=0, content=Content.ALIGNED)


def preparer(store: Store, folder: Path, threads: int) -> Preparer:
    settings = Settings(worker=Worker(fetch_threads=threads))
    return Preparer(store, None, simulated_pack(folder), settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 2, 5, 40])
def test_all_images_come_in_the_order_of_the_job(tmp_path: Path, threads: int) -> None:
    one_by_one = preparer(Store(), tmp_path, 1)
    store = Store()

    with ThreadPoolExecutor(threads) as pool:
        prepared = preparer(store, tmp_path, threads).prepare_all(job(16), pool)

    assert sorted(store.asked) == sorted(PICTURES)
    for index, each in enumerate(prepared):
        [crop] = each.crops
        [expected] = one_by_one.prepare(job(16), index).crops
        assert (crop.pixels == expected.pixels).all()


def test_a_single_image_takes_no_thread_of_the_pool(tmp_path: Path) -> None:
    store = Store()

    with ThreadPoolExecutor(1) as pool:
        preparer(store, tmp_path, 1).prepare_all(job(1), pool)

    assert store.threads == {threading.get_ident()}


def test_when_the_store_goes_away_the_rest_of_the_job_is_left_alone(tmp_path: Path) -> None:
    store = Store(away_at=list(PICTURES)[3])

    with ThreadPoolExecutor(1) as pool, pytest.raises(StoreUnavailable):
        preparer(store, tmp_path, 1).prepare_all(job(16), pool)

    assert store.asked == list(PICTURES)[:4]


def test_a_library_that_trips_over_one_picture_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad = list(PICTURES)[2]
    sound = images.decode

    def decode(data: bytes, limits: Limits) -> NDArray[np.uint8]:
        if data == PICTURES[bad]:
            raise cv2.error("(-215:Assertion failed) deep inside")
        return sound(data, limits)

    monkeypatch.setattr(images, "decode", decode)
    with ThreadPoolExecutor(2) as pool:
        prepared = preparer(Store(), tmp_path, 2).prepare_all(job(5), pool)

    assert [each.rejected is None for each in prepared] == [True, True, False, True, True]
    assert "deep inside" in str(prepared[2].rejected)
    assert bad in caplog.text


@pytest.mark.parametrize(
    ("side_px", "value", "refused"),
    [
        (60, 0.5, None),
        (20, 0.5, "20 px wide, decisions.min_face_px is 24"),
        (60, 0.05, "is below decisions.min_quality"),
    ],
)
def test_a_crop_from_a_camera_is_as_good_as_the_camera_saw_the_face(
    tmp_path: Path, side_px: int, value: float, refused: str | None
) -> None:
    quality = Quality(value, 0.75, 0.9, 0.8, 1.0)
    seen = Seen("front", "front.r.1", 0, (5, 5, side_px, side_px + 10), (640, 480), quality=quality)
    aligned = replace(job(1), images=(replace(job(1).images[0], seen=seen),))

    [crop] = preparer(Store(), tmp_path, 1).prepare(aligned, 0).crops

    assert crop.quality == quality
    assert (crop.refused is None) if refused is None else (refused in str(crop.refused))
