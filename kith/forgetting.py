"""Forgetting a subject: pictures and vectors. There is no way back, but there is a way on after an interruption."""

from contextlib import suppress

from kith.errors import UnknownGallery, UnknownSubject
from kith.gallery import Forgotten, GalleryStore
from kith.imagestore import ImageStore


def forget(galleries: GalleryStore, store: ImageStore, gallery: str, subject: str) -> Forgotten:
    """Remove the pictures of `subject` from the store, then its vectors from the gallery and its log.

    The gallery's entry goes last, because it alone says which pictures are meant: whatever interrupts this, the same
    call again completes it. A picture that another subject of any gallery was enrolled from stays. Raises
    UnknownGallery, UnknownSubject, StoreUnavailable, StoreDenied, StateUnavailable.
    """
    detail = galleries.show(gallery, subject)
    pictures = {template.image for template in detail.templates}
    for key in sorted(pictures - _of_others(galleries, gallery, detail.subject_id)):
        store.delete(key)
    forgotten = galleries.forget(gallery, subject)
    # Enrolled between the look and the end: these alone are lost sight of should the store fail just now.
    late = set(forgotten.images) - pictures
    for key in sorted(late - _of_others(galleries, gallery, detail.subject_id) if late else ()):
        store.delete(key)
    return forgotten


def _of_others(galleries: GalleryStore, gallery: str, subject_id: str) -> set[str]:
    """The pictures that everybody but one subject was enrolled from."""
    found: set[str] = set()
    for each in galleries.galleries():
        # Whoever is removed while we look needs no picture any more.
        with suppress(UnknownGallery):
            for other in galleries.subjects(each.name):
                if (each.name, other.subject_id) == (gallery, subject_id):
                    continue
                with suppress(UnknownSubject):
                    found.update(template.image for template in galleries.show(each.name, other.name).templates)
    return found
