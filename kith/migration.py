"""Moving a gallery to another model without stopping it: the vectors of the other model, and where the move stands.

The other model's vectors are kept beside the gallery's own, one for one, until all are there; then the two change
places in one change of the gallery. Subjects, names, numbers, slots and journal stay as they are. What was the
gallery's own is the other set from then on, so the way back is the same change again. Enrolments that come meanwhile
have no vector of the other model yet; forgetting or removing a template takes both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kith.enrolment import NORM_TOLERANCE
from kith.errors import InvalidTemplate
from kith.gallery_settings import GallerySettings
from kith.journal import Snapshot, Vectors


@dataclass(frozen=True, slots=True)
class Migration:
    """The other model of a gallery. pack: what the pack was called that the move began with. switched: sequence number
    of the last change of model, 0 before the first. settings: those in force when the other model last was the
    gallery's, None where it never was.

    templates: of the gallery; embedded: those with a vector of the other model; unable: those that cannot have one.
    """

    gallery: str
    model_id: str
    dimension: int
    pack: str
    started_ms: int
    switched: int
    settings: GallerySettings | None
    templates: int
    embedded: int
    unable: int

    @property
    def missing(self) -> int:
        """Templates that may get a vector yet."""
        return max(0, self.templates - self.embedded - self.unable)


@dataclass(frozen=True, slots=True)
class Missing:
    """A template without a vector of the other model, and its picture's key in the image store."""

    template_id: str
    slot: int
    image: str


def check_vectors(name: str, dimension: int, vectors: Mapping[str, Vectors]) -> None:
    """Raises InvalidTemplate when one of `vectors` must not stand beside gallery `name`."""
    for template_id, vector in vectors.items():
        if vector.dtype != np.float32 or vector.shape != (dimension,):
            raise InvalidTemplate(
                f"gallery {name} moves to float32 vectors of shape ({dimension},), that of {template_id} is "
                f"{vector.dtype} {vector.shape}"
            )
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        # Written so that a NaN norm fails it too.
        if not abs(norm - 1.0) <= NORM_TOLERANCE:
            raise InvalidTemplate(f"the norm of the vector of {template_id} is {norm:.6g}, not 1")


def lacking(name: str, templates: int, unable: int) -> str:
    """Why gallery `name` is not switched: so many `templates` have no vector, of which so many are `unable` to."""
    if templates > unable:
        return f"{templates - unable:,} templates of gallery {name} have no vector of the other model yet"
    return (
        f"{unable:,} templates of gallery {name} cannot have a vector of the other model (kith migrate {name} --status "
        "says why); enrol these people from other pictures, or give --leave-behind, which removes those templates"
    )


class MigrationStore(Protocol):
    """Beside a GalleryStore, on the same galleries. Safe to call from many threads and processes; every method may
    raise StateUnavailable and UnknownGallery, those that add something StateFull."""

    def begin(self, name: str, *, model_id: str, dimension: int, pack: str) -> Migration:
        """Make room for another model's vectors, or go on with what is there.

        Raises CannotMigrate when it is the gallery's own model, or when there are vectors of a third one.
        """
        ...

    def state(self, name: str) -> Migration | None:
        """None where the gallery has vectors of its own model only."""
        ...

    def missing(self, name: str, *, after: int = -1, limit: int = 1024) -> list[Missing]:
        """By slot, those in slots beyond `after`; about `limit` of them, none when there are no more. Those known to be
        unable are left out."""
        ...

    def put(self, name: str, model_id: str, vectors: Mapping[str, Vectors], unable: Mapping[str, str]) -> int:
        """Vectors, float32 (d,), unit, of the pictures of templates, and for those that have none the reason; how many
        are new. By template id; those that are no more are passed over, and all when the other model is not `model_id`
        (any more). Raises InvalidTemplate.
        """
        ...

    def unable(self, name: str) -> dict[str, str]:
        """Template id → why its picture has no vector of the other model."""
        ...

    def retry(self, name: str) -> int:
        """Take those known to be unable for missing again; how many."""
        ...

    def other(self, name: str) -> Snapshot:
        """The gallery with the other model's vectors, without the templates that have none. Raises CannotMigrate when
        there is no other model."""
        ...

    def switch(
        self, name: str, model_id: str, *, before: GallerySettings, after: GallerySettings, drop_unable: bool = False
    ) -> int:
        """The other model becomes the gallery's, with the settings `after`; the sequence number of that change.

        `before` are the settings that `after` was derived from. Raises CannotMigrate when the other model is not
        `model_id`, when the settings are not `before` any more, while a template has no vector of it, and while one
        cannot have one unless `drop_unable`: those are then removed, each subject's as a change of its own before it.
        """
        ...

    def end(self, name: str) -> None:
        """Erase the other model's vectors. Raises CannotMigrate when there are none."""
        ...
