"""Forgetting a subject for good, also when it is interrupted on the way."""

from pathlib import Path

import numpy as np
import pytest

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.errors import StoreUnavailable, UnknownSubject
from kith.forgetting import forget
from kith.gallery import Enrolment


class Store(DirectoryImageStore):
    """Goes away at the next `failures` deletions."""

    failures = 0

    def delete(self, key: str) -> bool:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable
        return super().delete(key)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def galleries() -> MemoryGalleryStore:
    made = MemoryGalleryStore()
    for name in ("staff", "guests"):
        made.create(name, model_id="m", dimension=4)
    return made


def enrol(galleries: MemoryGalleryStore, gallery: str, subject: str, *keys: str) -> None:
    vector = np.array([1, 0, 0, 0], np.float32)
    galleries.enrol(gallery, [Enrolment(subject, f"{subject}/{key}", vector, key, 1.0, "m") for key in keys])


def test_vectors_and_pictures_go(galleries: MemoryGalleryStore, store: Store) -> None:
    keys = [store.put(b"one"), store.put(b"two")]
    enrol(galleries, "staff", "Ada", *keys)
    assert forget(galleries, store, "staff", "Ada").templates == 2
    assert galleries.subjects("staff") == []
    assert not any(store.exists(key) for key in keys)


def test_interrupted_it_is_completed_by_the_same_call(galleries: MemoryGalleryStore, store: Store) -> None:
    keys = [store.put(b"one"), store.put(b"two")]
    enrol(galleries, "staff", "Ada", *keys)
    store.failures = 1
    with pytest.raises(StoreUnavailable):
        forget(galleries, store, "staff", "Ada")
    assert forget(galleries, store, "staff", "Ada").templates == 2
    assert not any(store.exists(key) for key in keys)
    with pytest.raises(UnknownSubject):
        forget(galleries, store, "staff", "Ada")


@pytest.mark.parametrize(("gallery", "subject"), [("staff", "Grace"), ("guests", "Ada"), ("guests", "Grace")])
def test_a_picture_that_somebody_else_was_enrolled_from_stays(
    galleries: MemoryGalleryStore, store: Store, gallery: str, subject: str
) -> None:
    shared, own = store.put(b"both"), store.put(b"own")
    enrol(galleries, "staff", "Ada", shared, own)
    enrol(galleries, gallery, subject, shared)
    forget(galleries, store, "staff", "Ada")
    assert (store.exists(shared), store.exists(own)) == (True, False)
    forget(galleries, store, gallery, subject)
    assert not store.exists(shared), "the last one takes it along"


def test_a_picture_enrolled_while_it_is_at_work_goes_too(
    galleries: MemoryGalleryStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, late = store.put(b"one"), store.put(b"late")
    enrol(galleries, "staff", "Ada", first)
    delete = store.delete

    def meanwhile(key: str) -> bool:
        if key == first:
            enrol(galleries, "staff", "Ada", late)
        return delete(key)

    monkeypatch.setattr(store, "delete", meanwhile)
    assert forget(galleries, store, "staff", "Ada").templates == 2
    assert not store.exists(late)
