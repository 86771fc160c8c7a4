"""What may enter a gallery: templates with their ids, and what is said of subjects; the limits every store checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from kith.errors import InvalidName, InvalidTemplate, ModelMismatch, UnknownTemplate
from kith.journal import Vectors
from kith.names import MAX_SUBJECT_NAME

#: How far from 1 a template's norm may be. An embedder normalises in float32 and is within 1e-6; a vector that nobody
#: normalised is far outside.
NORM_TOLERANCE = 1e-3

#: Vectors whose norms are looked at in one go: one by one it is a third of what an import costs, and memory for large
#: arrays the kernel hands out anew each time.
_NORMS_AT_ONCE = 128

#: Templates in one removal or move: bounds how long the server is busy with it.
MOST_TEMPLATES = 1000
#: Characters of a subject's metadata, keys and values: notes, not documents.
MOST_METADATA = 4096


@dataclass(frozen=True, slots=True)
class Introduction:
    """How a subject begins who is known from elsewhere. subject_id: 16 hex digits, '' for a new one. created_ms: 0 for
    now. external_id, metadata: see GalleryStore.describe."""

    subject_id: str = ""
    created_ms: int = 0
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """One template to add to `subject`, a name; the subject is created when nobody has that name.

    template_id: see `template_id`. vector: float32 (d,), unit. image: key in the image store, '' where
    there is no picture. quality: 0..1.
    enrolled_ms: when it was, of a template that comes from elsewhere; 0 for now. introduction: of the subject, should
    he be created; the one of his first template counts.
    """

    subject: str
    template_id: str
    vector: Vectors
    image: str
    quality: float
    model_id: str
    enrolled_ms: int = 0
    introduction: Introduction | None = None


def template_id(gallery: str, subject: str, image: str, face: int = 0) -> str:
    """The id of the template that face number `face` of `image` gives `subject`: 24 hex digits.

    It depends on nothing else, so an enrol job delivered twice names the same template twice. Not on the model: between
    the two deliveries the gallery may have moved to another one, and the template with it. `subject` is the normalised
    name (kith.names.subject_name) of the job, not the id: the name at the time of the job stays the job's own however
    often the subject is renamed.
    """
    number = str(face)
    # Length first: no choice of names can shift a border between two parts.
    told = f"{len(gallery)}:{gallery}{len(subject)}:{subject}{len(image)}:{image}{len(number)}:{number}"
    return sha256(told.encode()).hexdigest()[:24]


def check_enrolments(name: str, model_id: str, dimension: int, enrolments: Sequence[Enrolment]) -> None:
    """Raises ModelMismatch or InvalidTemplate when one of `enrolments` must not enter gallery `name`.

    `model_id` and `dimension` are the gallery's.
    """
    for enrolment in enrolments:
        if enrolment.introduction is not None:
            check_description(enrolment.introduction.external_id, enrolment.introduction.metadata)
        if enrolment.model_id != model_id:
            raise ModelMismatch(
                f"gallery {name} holds vectors of model {model_id}, this template is of model {enrolment.model_id}"
            )
        vector = enrolment.vector
        if vector.dtype != np.float32 or vector.shape != (dimension,):
            raise InvalidTemplate(
                f"gallery {name} takes float32 vectors of shape ({dimension},), not {vector.dtype} {vector.shape}"
            )
    for start in range(0, len(enrolments), _NORMS_AT_ONCE):
        some = np.array([each.vector for each in enrolments[start : start + _NORMS_AT_ONCE]], np.float64)
        norms = np.linalg.norm(some, axis=1)
        # Written so that a NaN norm fails it too.
        wrong = norms[~(np.abs(norms - 1.0) <= NORM_TOLERANCE)]
        if len(wrong):
            raise InvalidTemplate(f"the vector's norm is {wrong[0]:.6g}, not 1 within {NORM_TOLERANCE:g}")


def check_template_ids(template_ids: Sequence[str]) -> list[str]:
    """The ids without repetitions; raises UnknownTemplate for none or more than MOST_TEMPLATES."""
    ids = list(dict.fromkeys(template_ids))
    if not 1 <= len(ids) <= MOST_TEMPLATES:
        raise UnknownTemplate(f"{len(ids)} templates are named, a change takes 1..{MOST_TEMPLATES}")
    return ids


def check_description(external_id: str | None, metadata: Mapping[str, str] | None) -> None:
    """Raises InvalidName when the two are outside their limits."""
    if external_id is not None and not 1 <= len(external_id) <= MAX_SUBJECT_NAME:
        raise InvalidName(f"the external id has {len(external_id)} characters, the limit is 1..{MAX_SUBJECT_NAME}")
    size = sum(len(key) + len(value) for key, value in (metadata or {}).items())
    if size > MOST_METADATA:
        raise InvalidName(f"the metadata has {size} characters, the limit is {MOST_METADATA}")
