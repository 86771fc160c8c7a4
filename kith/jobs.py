"""What travels between processes: EmbedJob in, Decision out. The names of lanes and tasks live here too.

A job holds 1..64 images because a message costs the broker about as much as it does to embed a face: jobs of many
images pay it once. Everything is frozen; `kith.wire` turns it into JSON and back. Times are Unix milliseconds (int).
"""

import time
import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from kith.names import camera_name, gallery_name, subject_name, track_name

#: Celery task names: what a producer in another language would put in a message.
EMBED_TASK = "kith.embed"
PUBLISH_TASK = "kith.publish"

#: Queue of publish workers; the lanes are the queues of embed workers.
PUBLISH_QUEUE = "publish"

#: More images than this would make one redelivery expensive and one message large.
MAX_IMAGES_PER_JOB = 64

_MAX_ID = 200

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Lane(StrEnum):
    """How urgent a job is. Workers empty LIVE first, then INTERACTIVE, then BULK."""

    LIVE = "live"
    INTERACTIVE = "interactive"
    BULK = "bulk"


#: Most urgent first.
LANES = (Lane.LIVE, Lane.INTERACTIVE, Lane.BULK)


class Kind(StrEnum):
    """What a job asks: who is this, remember this person, is this the person claimed, or (kith.migration) what is the
    vector of this enrolment picture by another model? The last is answered to the gallery and nobody else."""

    IDENTIFY = "identify"
    ENROL = "enrol"
    VERIFY = "verify"
    REEMBED = "reembed"


class Outcome(StrEnum):
    """What was decided about one image.

    `enrolled` answers an enrol job only: a consumer that opens doors on `match` must never be moved by an enrolment.
    """

    MATCH = "match"
    UNKNOWN = "unknown"
    NO_FACE = "no_face"
    LOW_QUALITY = "low_quality"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ENROLLED = "enrolled"


class Content(StrEnum):
    """What an image shows: a photo to find faces in, or a crop already aligned to the model's template."""

    PHOTO = "photo"
    ALIGNED = "aligned"


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Quality:
    """Face quality, each part in 0..1 (1 is best) and `value` their combination. See kith.quality."""

    value: Finite
    size: Finite
    sharpness: Finite
    pose: Finite
    brightness: Finite


@dataclass(frozen=True, slots=True)
class Seen:
    """Where and when a camera saw the face that an image is a crop of.

    track: of one person on his way through one camera's view, unique for ever: `CAMERA.RUN.NUMBER`, RUN the start of
    the producer's run in base 36. at_ms: when the frame arrived. box: x, y, width, height of the face, and frame_px:
    width, height of the frame, both in its pixels. number: which crop of the track it is, from 1. quality: as the
    producer judged it, who saw size and pose of the face; an aligned crop alone shows neither. stretch: of the track,
    through which its tracker had no choice whom to follow: crops of one stretch are of one person. None where the
    producer cannot tell.
    """

    camera: str
    track: str
    at_ms: int
    box: tuple[Finite, Finite, Finite, Finite]
    frame_px: tuple[int, int]
    number: int = 1
    quality: Quality | None = None
    stretch: int | None = None

    def __post_init__(self) -> None:
        camera_name(self.camera)
        track_name(self.camera, self.track)
        if self.number < 1:
            raise ValueError(f"crop number {self.number} of track {self.track}, they count from 1")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a job.

    key: its content address in the object store. subject: whom to enrol, or who is claimed (verify); absent for
    identify. label: the producer's own word for it (a path, a frame number), carried to the decision untouched.
    template: for reembed, the id of the template that was enrolled from it. seen: by which camera, for crops of its
    tracks.
    """

    key: str
    subject: str | None = None
    label: str | None = None
    template: str | None = None
    seen: Seen | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= _MAX_ID:
            raise ValueError(f"image key of {len(self.key)} characters, the limit is 1..{_MAX_ID}")
        if self.subject is not None:
            # Normalised here, at the one gate every name passes: two spellings of é are one person.
            object.__setattr__(self, "subject", subject_name(self.subject))
        if self.label is not None and len(self.label) > 1024:
            raise ValueError(f"label of {len(self.label)} characters, the limit is 1024")


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """A request to embed and decide 1..64 images against one gallery.

    model_id: the model the job was made for, None for whatever the gallery uses. min_sequence: answer only from a
    gallery that has seen this change (read your own writes). expires_ms: past it the decision is `expired`.
    traceparent: W3C trace context, passed through. asked: a digest of what was asked under `idempotency_key`, by which
    the same key with something else is told apart from a repetition; None where nobody compares.
    """

    job_id: str
    kind: Kind
    gallery: str
    lane: Lane
    images: tuple[ImageRef, ...]
    created_ms: int
    content: Content = Content.PHOTO
    model_id: str | None = None
    expires_ms: int | None = None
    min_sequence: int = 0
    idempotency_key: str | None = None
    traceparent: str | None = None
    asked: str | None = None
    wire: Literal[1] = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.images) <= MAX_IMAGES_PER_JOB:
            raise ValueError(f"a job holds 1..{MAX_IMAGES_PER_JOB} images, this one {len(self.images)}")
        if not 1 <= len(self.job_id) <= _MAX_ID:
            raise ValueError(f"job_id of {len(self.job_id)} characters, the limit is 1..{_MAX_ID}")
        gallery_name(self.gallery)
        if self.kind is Kind.REEMBED:
            if self.model_id is None or any(image.template is None for image in self.images):
                raise ValueError("a job of kind reembed names its model, and every image of it its template")
        elif self.kind is not Kind.IDENTIFY and any(image.subject is None for image in self.images):
            raise ValueError(f"every image of a job of kind {self.kind} names its subject")
        if self.lane is Lane.LIVE and self.expires_ms is None:
            raise ValueError("a live job needs expires_ms: an old live frame must never produce a match")

    def expired(self, at_ms: int) -> bool:
        """Whether the deadline has passed at `at_ms`."""
        return self.expires_ms is not None and at_ms > self.expires_ms


def new_job_id(gallery: str, idempotency_key: str | None) -> str:
    """A fresh id, or the one id that `idempotency_key` names in `gallery`: the same key is the same job."""
    if idempotency_key is None:
        return uuid.uuid4().hex
    return sha256(f"{gallery}\0{idempotency_key}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Face:
    """One face of an image and what was decided about it.

    box: x, y, width, height and landmarks: five (x, y), in pixels of the upright image; absent for aligned input.
    subject is set only when `outcome` names somebody (match, enrolled): a reader who looks at nothing else cannot take
    the nearest for the known. nearest: the most similar subject in any case (for verify the claimed one), score its
    best template's cosine similarity, runner_up the next subject.
    """

    outcome: Outcome
    subject: str | None = None
    subject_id: str | None = None
    score: Finite | None = None
    nearest: str | None = None
    nearest_id: str | None = None
    runner_up: str | None = None
    runner_up_id: str | None = None
    runner_up_score: Finite | None = None
    box: tuple[Finite, Finite, Finite, Finite] | None = None
    landmarks: tuple[tuple[Finite, Finite], ...] | None = None
    detector_score: Finite | None = None
    quality: Quality | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The one answer to one image of one job. `face` is the principal face, `others` the rest, most prominent first
    (kith.principal).

    cutoff: the similarity a match needed. gallery_version: sequence number of the gallery it was made with; for an
    enrolment, the number of its own change. timings_ms: milliseconds spent in each stage. published_ms: when it entered
    the results stream, read off its entry id there; absent before. seen: by which camera, as the job had it. vector: of
    the principal face that a camera saw, float32 little endian, on its way from the network to the step that tells the
    watcher; never a part of any record.
    """

    decision_id: str
    job_id: str
    index: int
    kind: Kind
    gallery: str
    lane: Lane
    image: str
    outcome: Outcome
    created_ms: int
    decided_ms: int
    label: str | None = None
    face: Face | None = None
    others: tuple[Face, ...] = ()
    faces_found: int = 0
    cutoff: Finite | None = None
    gallery_version: int | None = None
    model_id: str | None = None
    template_id: str | None = None
    reason: str | None = None
    timings_ms: dict[str, Finite] = field(default_factory=dict)
    expires_ms: int | None = None
    published_ms: int | None = None
    traceparent: str | None = None
    seen: Seen | None = None
    vector: Annotated[bytes | None, Field(exclude=True)] = field(default=None, repr=False, compare=False)
    wire: Literal[1] = 1

    @property
    def subject(self) -> str | None:
        """Who it is: the subject of a match or an enrolment, None for anything else."""
        return self.face.subject if self.face else None

    def expire(self) -> "Decision":
        """The same decision made harmless: nobody is named in it."""
        nobody = replace(self, outcome=Outcome.EXPIRED, face=None, others=(), template_id=None, vector=None)
        return replace(nobody, reason="expired: past its deadline")


def decide(job: EmbedJob, index: int, outcome: Outcome, **parts: object) -> Decision:
    """A decision about image `index` of `job`; its id depends on nothing but the two, so a redelivery repeats it."""
    image = job.images[index]
    return Decision(
        decision_id=f"{job.job_id}:{index}",
        job_id=job.job_id,
        index=index,
        kind=job.kind,
        gallery=job.gallery,
        lane=job.lane,
        image=image.key,
        label=image.label,
        outcome=outcome,
        created_ms=job.created_ms,
        decided_ms=now_ms(),
        expires_ms=job.expires_ms,
        traceparent=job.traceparent,
        seen=image.seen,
        **parts,  # type: ignore[arg-type]
    )
