"""What the watcher hears of a gallery's cameras: tracks from the producers, recognised crops from the embed workers.

All of it stands in one order (kith.watching.log), so that what was seen is a fold over it: `kith.watching.visits`. A
track is one person's way through one camera's view as the producer's tracker follows it. Times are Unix milliseconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from kith import wire
from kith.jobs import Finite, Outcome, Seen
from kith.names import camera_name, track_name

#: Tracks named in one `TracksAlive`; no camera sees more faces at once.
MAX_TRACKS = 512


class Unfit(StrEnum):
    """Why no crop of a track was fit to be recognised; the commonest reason where there were several. LATE: there were
    fit ones, but their deadlines had passed before they were decided."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    TURNED_AWAY = "turned_away"
    DARK = "dark"
    LATE = "late"


class Ending(StrEnum):
    """Why a track ended. LEFT: the face was seen no more. SOURCE: the camera's pictures broke off, or the track was
    dropped because the camera was paused, removed or taken over; who was there may be there still."""

    LEFT = "left"
    SOURCE = "source"


@dataclass(frozen=True, slots=True)
class CameraStarted:
    """A producer begins with a camera: tracks of earlier runs are no more, whatever was told of them last."""

    camera: str
    run: str
    at_ms: int
    news: Literal["camera_started"] = "camera_started"

    def __post_init__(self) -> None:
        camera_name(self.camera)


@dataclass(frozen=True, slots=True)
class TrackBegun:
    """A face that is nobody's of the tracks before."""

    camera: str
    track: str
    at_ms: int
    news: Literal["track_begun"] = "track_begun"

    def __post_init__(self) -> None:
        track_name(camera_name(self.camera), self.track)


@dataclass(frozen=True, slots=True)
class TracksAlive:
    """These tracks of a camera go on. Told every two seconds or so while there are any: one of which nothing is heard
    for `watch.silence_s` counts as ended."""

    camera: str
    tracks: tuple[str, ...]
    at_ms: int
    news: Literal["tracks_alive"] = "tracks_alive"

    def __post_init__(self) -> None:
        camera_name(self.camera)
        if not 1 <= len(self.tracks) <= MAX_TRACKS:
            raise ValueError(f"{len(self.tracks)} tracks are alive, the limit is 1..{MAX_TRACKS}")
        for track in self.tracks:
            track_name(self.camera, track)


@dataclass(frozen=True, slots=True)
class TrackEnded:
    """at_ms: when the face was seen last. crops: how many were sent to be recognised. unfit: why none was, where there
    was none."""

    camera: str
    track: str
    at_ms: int
    reason: Ending = Ending.LEFT
    crops: Annotated[int, Field(ge=0)] = 0
    unfit: Unfit | None = None
    news: Literal["track_ended"] = "track_ended"

    def __post_init__(self) -> None:
        track_name(camera_name(self.camera), self.track)


@dataclass(frozen=True, slots=True)
class Sighted:
    """One crop of a track was decided by an embed worker. Told in the step that publishes the decision: once, however
    often the job is delivered.

    outcome: of the decision; nearest, score, runner_up, cutoff: as there. quality: 0..1. image: key of the crop.
    vector: base64 of the face's row as it would stand in the gallery, float32 little endian or sealed; absent where
    there is no face to recognise. expires_ms: past it the sighting starts no event that names anybody. unfit: why the
    worker refused the face, where it did.
    """

    decision_id: str
    seen: Seen
    outcome: Outcome
    image: str
    expires_ms: int | None = None
    quality: Finite = 0.0
    nearest: str | None = None
    nearest_id: str | None = None
    score: Finite | None = None
    runner_up: str | None = None
    runner_up_score: Finite | None = None
    cutoff: Finite | None = None
    model_id: str | None = None
    unfit: Unfit | None = None
    vector: str | None = None
    news: Literal["sighted"] = "sighted"


@dataclass(frozen=True, slots=True)
class StrangerNamed:
    """Stranger number `stranger` is in the gallery now, as this subject."""

    stranger: int
    subject: str
    subject_id: str
    at_ms: int
    news: Literal["stranger_named"] = "stranger_named"


@dataclass(frozen=True, slots=True)
class StrangerMerged:
    """Somebody said that two strangers are one; `into` goes on."""

    stranger: int
    into: int
    at_ms: int
    news: Literal["stranger_merged"] = "stranger_merged"


@dataclass(frozen=True, slots=True)
class StrangerIgnored:
    """Events of them are wanted no more, or again."""

    stranger: int
    ignored: bool
    at_ms: int
    news: Literal["stranger_ignored"] = "stranger_ignored"


@dataclass(frozen=True, slots=True)
class StrangerForgotten:
    """Their views and pictures go."""

    stranger: int
    at_ms: int
    news: Literal["stranger_forgotten"] = "stranger_forgotten"


@dataclass(frozen=True, slots=True)
class SubjectForgotten:
    """Somebody of the gallery was forgotten: no track, visit or stranger may tell of them any more. names: they had."""

    subject_ids: tuple[str, ...]
    names: tuple[str, ...]
    at_ms: int
    news: Literal["subject_forgotten"] = "subject_forgotten"


@dataclass(frozen=True, slots=True)
class GalleryForgotten:
    """The whole gallery was forgotten: everybody goes, strangers and whoever is in view included."""

    at_ms: int
    news: Literal["gallery_forgotten"] = "gallery_forgotten"


@dataclass(frozen=True, slots=True)
class Resealed:
    """The gallery's key was changed: what the watcher keeps is to be written again, sealed by the newest."""

    at_ms: int
    news: Literal["resealed"] = "resealed"


#: After these nothing of whom they name may be left in a watcher's memory.
Erasing = StrangerForgotten | SubjectForgotten | GalleryForgotten
#: What people ask of the watcher; it has one writer, so they stand in the same order as what cameras see.
Order = StrangerNamed | StrangerMerged | StrangerIgnored | Resealed | Erasing
News = CameraStarted | TrackBegun | TracksAlive | TrackEnded | Sighted | Order


@dataclass(frozen=True, slots=True)
class _Told:
    told: Annotated[News, Field(discriminator="news")]
    wire: Literal[1] = 1


def to_json(news: News) -> str:
    """As it stands in the log."""
    return wire.to_json(_Told(news))


def from_json(text: str | bytes) -> News:
    """Raises UnknownWireVersion and MalformedMessage, as `kith.wire` does."""
    return wire.from_json(_Told, text).told
