"""What becomes of records that tell of somebody forgotten: which are his and go, what of the others is blotted out.

A decision is his when it names him: a match, an enrolment, or a claim to be him, on any of its faces. It goes whole,
and with it the picture. Where he was merely the nearest to somebody else, or second, the decision is somebody else's:
his name and id are taken out of it and the rest stays.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kith import wire
from kith.errors import JobRejected
from kith.holdings import Marks
from kith.jobs import Decision, EmbedJob, Face, ImageRef, Kind
from kith.ledger import DeadLetter

#: Stands where a picture was. Nothing is ever stored under it, so its image is answered with `missing_image`.
FORGOTTEN = "forgotten"


def is_of(decision: Decision, marks: Marks) -> bool:
    """Whether the decision is about the person."""
    if marks.text(decision.template_id) or (decision.kind is Kind.ENROL and decision.image in marks.images):
        return True
    if decision.seen is not None and decision.image in marks.images:
        # A crop of a camera shows one face: theirs, whatever was decided about it alone.
        return True
    faces = [face for face in (decision.face, *decision.others) if face is not None]
    if decision.kind is Kind.VERIFY and any(marks.person(face.nearest_id, face.nearest) for face in faces):
        return True
    return any(marks.person(face.subject_id, face.subject) for face in faces)


def scrubbed(decision: Decision, marks: Marks) -> Decision:
    """The decision without the person's name and ids."""
    face = decision.face
    return replace(
        decision,
        face=None if face is None else _scrubbed_face(face, marks),
        others=tuple(_scrubbed_face(each, marks) for each in decision.others),
    )


def _scrubbed_face(face: Face, marks: Marks) -> Face:
    if marks.person(face.nearest_id, face.nearest):
        face = replace(face, nearest=None, nearest_id=None)
    if marks.person(face.runner_up_id, face.runner_up):
        face = replace(face, runner_up=None, runner_up_id=None)
    return face


def tells_of(decision: Decision, marks: Marks) -> bool:
    """Whether anything in the decision has to change."""
    return is_of(decision, marks) or scrubbed(decision, marks) != decision


def scrubbed_job(job: EmbedJob, marks: Marks) -> EmbedJob:
    """The job without the person's pictures and name. The images keep their places, and so the others' decisions."""
    return replace(job, images=tuple(_scrubbed_image(image, marks) for image in job.images))


def _scrubbed_image(image: ImageRef, marks: Marks) -> ImageRef:
    if not (marks.text(image.subject) or image.key in marks.images):
        return image
    return ImageRef(FORGOTTEN, FORGOTTEN if image.subject else None, None, FORGOTTEN if image.template else None)


def scrubbed_letter(letter: DeadLetter, gallery: str, marks: Marks) -> DeadLetter | None:
    """The letter without the person, the same when it tells nothing of him; None when it must go whole: all its
    pictures are his, or it cannot be read and has his name in it."""
    try:
        job = wire.from_json(EmbedJob, letter.payload)
    except JobRejected:
        return None if any(marks.text(text) for text in texts_in(letter.payload)) else letter
    if job.gallery != gallery:
        return letter
    clean = scrubbed_job(job, marks)
    if clean == job:
        return letter
    if all(image.key == FORGOTTEN for image in clean.images):
        return None
    # The reason may quote him; its code stays.
    return replace(letter, payload=wire.to_json(clean), reason=letter.code)


def texts_in(text: str) -> list[str]:
    """All strings in a JSON text, those of JSON within strings too; the text itself where it is no JSON."""
    try:
        return _strings(json.loads(text))
    except (ValueError, RecursionError):
        return [text]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value, *texts_in(value)] if value[:1] in ("{", "[") else [value]
    parts: Sequence[Any] = ()
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        parts = value
    return [text for part in parts for text in _strings(part)]
