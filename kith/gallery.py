"""Who is known: subjects, their templates and the store that keeps them. The protocol and its pure part.

A gallery holds subjects; a subject has a stable id, a name that may change, and one or more templates (unit vectors of
one model). Every change takes the next sequence number of its gallery, is atomic, and stands in the gallery's log.
Implemented in kith.backends for Redis and for a single process; one contract suite tests both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np

from kith.errors import InvalidTemplate, Misconfigured, ModelMismatch
from kith.journal import BLOCK_ROWS, Change, Op, Snapshot, Vectors

__all__ = [
    "BLOCK_ROWS",
    "Change",
    "Enrolment",
    "Forgotten",
    "GalleryInfo",
    "GalleryStore",
    "Op",
    "Snapshot",
    "SubjectDetail",
    "SubjectInfo",
    "TemplateInfo",
    "check_cutoff",
    "check_enrolments",
    "template_id",
]

#: How far from 1 a template's norm may be. An embedder normalises in float32 and is within 1e-6; a vector that nobody
#: normalised is far outside.
NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """A gallery at `sequence`. cutoff: its own similarity cutoff, None for the model's. epoch: tells a gallery from
    another one that had its name before the store was wiped."""

    name: str
    model_id: str
    dimension: int
    sequence: int
    subjects: int
    templates: int
    cutoff: float | None
    created_ms: int
    epoch: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """One template to add to `subject`, a name; the subject is created when nobody has that name.

    template_id: see `template_id`. vector: float32 (d,), unit. image: key in the image store. quality: 0..1.
    """

    subject: str
    template_id: str
    vector: Vectors
    image: str
    quality: float
    model_id: str


@dataclass(frozen=True, slots=True)
class SubjectInfo:
    """One line of the list of subjects; templates: how many."""

    subject_id: str
    name: str
    templates: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """What is known of one template besides its vector. sequence: of the change that enrolled it."""

    template_id: str
    slot: int
    image: str
    quality: float
    enrolled_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class SubjectDetail:
    """One subject with all its templates, oldest first."""

    subject_id: str
    name: str
    created_ms: int
    templates: tuple[TemplateInfo, ...]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a forget removed. images: keys of the pictures behind the removed templates, for the caller to delete;
    another subject may have been enrolled from the same picture."""

    sequence: int
    subject_id: str
    subject: str
    templates: int
    images: tuple[str, ...]


def template_id(gallery: str, subject: str, image: str, model_id: str, face: int = 0) -> str:
    """The id of the template that face number `face` of `image` gives `subject`: 24 hex digits.

    It depends on nothing else, so an enrol job delivered twice names the same template twice. `subject` is the
    normalised name (kith.names.subject_name) of the job, not the id: the name at the time of the job stays the job's
    own however often the subject is renamed.
    """
    parts = (gallery, subject, image, model_id, str(face))
    # Length first: no choice of names can shift a border between two parts.
    return sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:24]


def check_enrolments(name: str, model_id: str, dimension: int, enrolments: Sequence[Enrolment]) -> None:
    """Raises ModelMismatch or InvalidTemplate when one of `enrolments` must not enter gallery `name`.

    `model_id` and `dimension` are the gallery's.
    """
    for enrolment in enrolments:
        if enrolment.model_id != model_id:
            raise ModelMismatch(
                f"gallery {name} holds vectors of model {model_id}, this template is of model {enrolment.model_id}"
            )
        vector = enrolment.vector
        if vector.dtype != np.float32 or vector.shape != (dimension,):
            raise InvalidTemplate(
                f"gallery {name} takes float32 vectors of shape ({dimension},), not {vector.dtype} {vector.shape}"
            )
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        # Written so that a NaN norm fails it too.
        if not abs(norm - 1.0) <= NORM_TOLERANCE:
            raise InvalidTemplate(f"the vector's norm is {norm:.6g}, not 1 within {NORM_TOLERANCE:g}")


def check_cutoff(cutoff: float | None) -> None:
    """Raises Misconfigured when `cutoff` is neither None nor a cosine."""
    if cutoff is not None and not -1 <= cutoff <= 1:
        raise Misconfigured(f"the cutoff is {cutoff}, a cosine lies in −1..1")


class GalleryStore(Protocol):
    """Where galleries live. Safe to call from many threads and processes.

    Names of subjects are normalised by kith.names.subject_name wherever they enter (InvalidName). Every method may
    raise StateUnavailable; those that add something may raise StateFull and have then changed nothing.
    """

    def create(self, name: str, *, model_id: str, dimension: int, cutoff: float | None = None) -> GalleryInfo:
        """Create the gallery, or answer with the one that exists (its cutoff stays).

        Raises InvalidName; ModelMismatch when it exists with another model or dimension.
        """
        ...

    def info(self, name: str) -> GalleryInfo:
        """Raises UnknownGallery."""
        ...

    def galleries(self) -> list[GalleryInfo]:
        """All galleries by name."""
        ...

    def set_cutoff(self, name: str, cutoff: float | None) -> int:
        """Set or (None) remove the gallery's own cutoff; the sequence number of the change.

        Raises UnknownGallery, Misconfigured outside −1..1.
        """
        ...

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        """Add templates; the sequence number of each, in order.

        Each enrolment is atomic, a batch is not: another client's change may come between. A template whose id is
        already there is not added again, its first sequence number is the answer. Nothing is written when one of the
        batch is refused: InvalidTemplate, ModelMismatch, InvalidName, UnknownGallery. After StateUnavailable or
        StateFull a part may have been written; the same call again completes it.
        """
        ...

    def subjects(self, name: str) -> list[SubjectInfo]:
        """All subjects by name. Raises UnknownGallery."""
        ...

    def show(self, name: str, subject: str) -> SubjectDetail:
        """One subject by name. Raises UnknownGallery, UnknownSubject."""
        ...

    def rename(self, name: str, old: str, new: str) -> int:
        """Give a subject another name, its id stays; the sequence number. The same name again changes nothing.

        Raises UnknownGallery, UnknownSubject, NameTaken.
        """
        ...

    def forget(self, name: str, subject: str) -> Forgotten:
        """Remove a subject with its vectors, from the gallery and from the log. Works when memory is full.

        Raises UnknownGallery, UnknownSubject.
        """
        ...

    def snapshot(self, name: str) -> Snapshot:
        """The whole gallery at one sequence number, without stopping anybody. Raises UnknownGallery."""
        ...

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        """At most `limit` changes that follow sequence number `after`, in order.

        Waits up to `block_ms` for the first one; 0 does not wait. A single RELOAD when the log no longer reaches back
        to `after`: take a snapshot. Empty for an unknown gallery.
        """
        ...

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000
    ) -> dict[str, list[Change]]:
        """`changes` of many galleries, waiting for all at once; galleries without news are left out."""
        ...

    def trim(self, name: str, keep_s: float) -> int:
        """Drop log entries older than `keep_s` seconds, never the newest one; how many. Raises UnknownGallery."""
        ...

    def incarnation(self) -> str:
        """A word that changes when the store may have lost its newest changes (it was restarted, or another server
        answers now): whoever followed the log then has to load afresh."""
        ...
