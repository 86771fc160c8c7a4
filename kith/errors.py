"""Everything that can go wrong, as one tree.

    KithError
    ├── Retryable                  the same request may succeed later, nothing about it is wrong
    │   ├── cannot be reached      StoreUnavailable, StateUnavailable (Redis), BrokerUnavailable, KeysUnavailable
    │   ├── StoreDenied            object storage refused our credentials or bucket
    │   ├── StateFull              Redis refuses writes: out of memory under `noeviction`
    │   ├── GalleryBehind          this worker's replica has not reached the sequence a job demands
    │   ├── GalleryDamaged         one gallery cannot be read from Redis as it stands there: kith.gallery
    │   ├── Overloaded             more open jobs than the limit allows
    │   ├── ModelAway              this worker does not hold the gallery's model, or the gallery has just changed it
    │   ├── NoAnswerYet            a wait for decisions ran out of time; the job is still open
    │   ├── CameraAway             a camera cannot be opened, ended, stalled, or sends what cannot be read
    │   ├── told outward           ReceiverAway (webhooks, Frigate), MqttAway: kith.outward.errors
    │   ├── DownloadFailed         a server of models cannot be reached, or broke off: kith.packs.errors
    │   ├── ApiUnavailable         an installation cannot be reached over HTTP, or asks to be called later
    │   └── ModelThreadDead        the thread that runs the network has died
    └── Rejected                   the same request will fail again
        ├── ImageRejected          one image; the others of its job are unharmed
        │   ├── EmptyImage         ├── NotAnImage       ├── TruncatedImage   ├── AnimatedImage
        │   ├── ImageTooLarge      ├── MissingImage     └── CorruptImage
        ├── FaceRejected           the image is fine, the face in it is not usable
        │   ├── NoFace             ├── LowQuality       └── SeveralFaces
        ├── JobRejected            a whole job; it goes to the dead letters with this reason
        │   ├── UnknownWireVersion ├── MalformedMessage ├── UnknownGallery   ├── ModelMismatch
        │   ├── PoisonedJob        ├── NotInLedger      ├── RetriesExhausted └── JobDead
        ├── no such one, or not any more
        │   ├── UnknownSubject     ├── UnknownTemplate  ├── UnknownCamera    ├── UnknownStranger
        │   ├── UnknownDecision    ├── UnknownApiKey    └── UnknownKey (destroyed, or kept elsewhere)
        ├── cannot be so           ├── InvalidName      ├── InvalidTemplate  ├── InvalidCamera    └── InvalidApiKey
        ├── told outward           UnknownWebhook, InvalidWebhook, DeliveryRefused: kith.outward.errors
        ├── not as it was written  ├── BrokenArchive    ├── SealBroken       ├── InvalidPack      └── AlteredReceipt
        ├── another one has it     ├── NameTaken        ├── CameraTaken      └── IdempotencyKeyReused: kith.ledger
        ├── not now, or not so     ├── SameSubject      ├── CannotUndo       ├── OutOfReach       ├── CannotMigrate
        │   ├── NoFeedback         ├── TooLate          ├── ChangedMeanwhile: kith.amending
        │   └── Diverged: kith.training.errors
        ├── ApiRefused             an installation refuses a request over HTTP: key, scope, form, size
        └── Misconfigured          a setting that cannot work, or an installation that lacks a part

Retryable and Rejected never meet in one class: who catches one knows whether to try again.
"""

import re


class KithError(Exception):
    """Something went wrong in Kith."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])

    @property
    def code(self) -> str:
        """The class name in snake_case: the stable word for logs, decisions and exit messages."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def reason(self) -> str:
        """`code: message`, as it stands in decisions and dead letters."""
        return f"{self.code}: {self}"


class Retryable(KithError):
    """The same request may succeed later."""


class StoreUnavailable(Retryable):
    """Object storage cannot be reached."""


class StoreDenied(Retryable):
    """Object storage refused the credentials or the bucket; the job is fine, the configuration is not."""


class StateUnavailable(Retryable):
    """Redis cannot be reached."""


class StateFull(Retryable):
    """Redis is out of memory and refuses writes; matching goes on, free memory or raise maxmemory to enrol."""


class BrokerUnavailable(Retryable):
    """The message broker cannot be reached."""


class KeysUnavailable(Retryable):
    """The keys of the galleries cannot be read just now."""


class GalleryBehind(Retryable):
    """The gallery replica has not reached the demanded sequence number yet."""


class Overloaded(Retryable):
    """Too many jobs are open; send again when some are decided."""


class ModelAway(Retryable):
    """This worker does not hold the gallery's model; another one may, or this one when it has both."""


class NoAnswerYet(Retryable):
    """The job is accepted and still open, the wait for its decisions ran out of time."""


class CameraAway(Retryable):
    """The camera cannot be opened, or no longer sends pictures."""


class ApiUnavailable(Retryable):
    """The installation cannot be reached over HTTP, or asks to be called later."""


class ModelThreadDead(Retryable):
    """The thread that runs the network has died; the process is about to exit."""


class Rejected(KithError):
    """The same request will fail again."""


class ImageRejected(Rejected):
    """The image cannot be used."""


class EmptyImage(ImageRejected):
    """The image has no bytes."""


class NotAnImage(ImageRejected):
    """The bytes are not an image of an accepted format."""


class TruncatedImage(ImageRejected):
    """The image ends before its data does."""


class AnimatedImage(ImageRejected):
    """The image has several frames; send the one that counts as its own image."""


class ImageTooLarge(ImageRejected):
    """The image has more bytes or pixels than the limit."""


class MissingImage(ImageRejected):
    """The image is not in the store."""


class CorruptImage(ImageRejected):
    """The bytes under this key do not hash to it."""


class FaceRejected(Rejected):
    """The face cannot be used."""


class NoFace(FaceRejected):
    """No face was found in the image."""


class LowQuality(FaceRejected):
    """The best face is too small, blurred, dark or turned away to be recognised."""


class SeveralFaces(FaceRejected):
    """The image shows several faces of similar size; crop it to the one to enrol."""


class JobRejected(Rejected):
    """The job cannot be done."""


class UnknownWireVersion(JobRejected):
    """The message was written by a newer version of Kith; upgrade this process, then retry it from the dead letters."""


class MalformedMessage(JobRejected):
    """The message does not follow its schema."""


class UnknownGallery(JobRejected):
    """There is no gallery of this name."""


class ModelMismatch(JobRejected):
    """The job, the gallery and the worker do not use the same model."""


class PoisonedJob(JobRejected):
    """The job was started many times and never finished."""


class RetriesExhausted(JobRejected):
    """The job was retried as often as the settings allow."""


class NotInLedger(JobRejected):
    """The message names a job the ledger does not hold: finished long ago, or never accepted."""


class JobDead(JobRejected):
    """The job ended in the dead letters."""


class TooLate(Rejected):
    """The job is being worked on and cannot be cancelled any more."""


class InvalidName(Rejected, ValueError):
    """The name is outside its limits."""


class InvalidTemplate(Rejected):
    """The vector is not a finite unit vector of the gallery's dimension."""


class UnknownSubject(Rejected):
    """No subject of this name is in the gallery."""


class UnknownTemplate(Rejected):
    """The subject has no template of this id."""


class UnknownCamera(Rejected):
    """There is no camera of this name."""


class CameraTaken(Rejected):
    """Another camera has this name."""


class InvalidCamera(Rejected):
    """No camera can have this address or setting."""


class UnknownApiKey(Rejected):
    """There is no API key of this id."""


class InvalidApiKey(Rejected):
    """No API key can be like this."""


class UnknownStranger(Rejected):
    """No stranger has this number."""


class UnknownDecision(Rejected):
    """No decision of this id is among the results that are kept."""


class NoFeedback(Rejected):
    """The decision was not a search that could be right or wrong in this way."""


class NameTaken(Rejected):
    """Another subject of the gallery has this name, or this external id."""


class SameSubject(Rejected):
    """Both are the same subject."""


class CannotUndo(Rejected):
    """The change cannot be undone."""


class CannotMigrate(Rejected):
    """The gallery cannot move to the model, or not yet."""


class OutOfReach(Rejected):
    """The journal does not reach back to this state."""


class BrokenArchive(Rejected):
    """The portable gallery is not as it was written."""


class UnknownKey(Rejected):
    """No key opens it: the key was destroyed, or is kept elsewhere."""


class SealBroken(Rejected):
    """Sealed templates were altered, or are those of another gallery."""


class InvalidPack(Rejected):
    """The model pack cannot be trusted."""


class ApiRefused(Rejected):
    """The installation refuses the request."""


class Misconfigured(Rejected):
    """A setting cannot work, or a part is not installed."""
