"""What stands in a gallery, whatever slots and ids its subjects have; and faces to enrol in one."""

from collections.abc import Sequence

import numpy as np

from kith.gallery import BLOCK_ROWS, Enrolment, Snapshot, template_id
from kith.journal import FREE
from kith.replica import GalleryView
from tests.plain_gallery import DIMENSION, unit

Content = dict[str, list[bytes]]


def face(subject: str, seed: int, *, model_id: str = "m", dimension: int = DIMENSION) -> Enrolment:
    image = f"ab/{seed}"
    known = template_id("door", subject, image)
    return Enrolment(subject, known, unit(seed, dimension), image, 0.25, model_id)


def content(snapshot: Snapshot) -> Content:
    """Who is in it with which vectors, whatever slots and ids they have."""
    found: Content = {name: [] for _, name in snapshot.names.values()}
    for slot, number in owned(snapshot.owners).items():
        found[snapshot.names[number][1]].append(snapshot.row(slot).tobytes())
    return {name: sorted(vectors) for name, vectors in found.items()}


def owned(owners: Sequence[np.ndarray]) -> dict[int, int]:
    """Slot → number of the subject."""
    return {
        block * BLOCK_ROWS + row: owner
        for block, each in enumerate(owners)
        for row, owner in enumerate(each.tolist())
        if owner != FREE
    }


def view_content(view: GalleryView) -> Content:
    found: Content = {name: [] for _, name in view_names(view)}
    for slot, number in owned(view.owners).items():
        found[view.subject_at(number)[1]].append(view.vector(slot).tobytes())
    return {name: sorted(vectors) for name, vectors in found.items()}


def view_names(view: GalleryView) -> list[tuple[str, str]]:
    """(id, name) of all subjects, those without a template as well."""
    return [row for chunk in view._table for row in chunk if row is not None]
