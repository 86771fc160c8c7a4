"""Kith from Python: enrol, identify, verify, submit, read results. Needs no torch; the workers do the work.

    from kith.client import Client

    with Client.open() as kith:
        kith.enrol("Ada Lovelace", [Path("ada.jpg")])
        [decision] = kith.identify([Path("somebody.jpg")])
        print(decision.subject or "nobody we know")

It works on the same parts as the workers, opened from the same settings (kith.connections).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kith.audit import command_line_actor
from kith.audited import AuditedGalleryStore
from kith.audited_cameras import AuditedCameras
from kith.audited_migration import AuditedMigrationStore
from kith.cameras import CameraRegistry
from kith.connections import Connections, connect
from kith.feedback import Feedback
from kith.folder import label_of
from kith.gallery import GalleryStore, Snapshot
from kith.imagestore import key_of
from kith.intake import Intake, Receipt
from kith.jobs import MAX_IMAGES_PER_JOB, Content, Decision, EmbedJob, ImageRef, Kind
from kith.migration import MigrationStore
from kith.names import subject_name
from kith.outward.desk import WebhookDesk
from kith.outward.posting import Post
from kith.settings import Settings, load
from kith.status import Status, status
from kith.waiting import wait
from kith.watching.acquaintance import Acquaintance
from kith.watching.desk import Desk
from kith.watching.erasing import WatchedErasure

if TYPE_CHECKING:
    from kith.forget_check import Leftover
    from kith.receipts import SignedReceipt

#: An image as callers have it; an ImageRef is one that is stored already, by `Client.put` or by `Client.upload_url`.
Picture = bytes | Path | ImageRef


class Client:
    """The verbs of Kith. Safe to call from many threads."""

    def __init__(self, settings: Settings, connections: Connections, by: str | None = None) -> None:
        self.settings = settings
        self.by = by or command_line_actor()
        self._connections = parts = connections
        self.store, self.ledger, self.queue, self.results = parts.store, parts.ledger, parts.queue, parts.results
        self._galleries, self.erasure, self.gone = parts.galleries, parts.erasure, parts.gone
        #: What is done through it stands in the audit log.
        self.galleries: GalleryStore = AuditedGalleryStore(parts.galleries, parts.audit, self.by)
        self.migrations: MigrationStore = AuditedMigrationStore(parts.migrations, parts.audit, self.by)
        self.cameras: CameraRegistry = AuditedCameras(parts.cameras, parts.audit, self.by)
        self.samples = parts.samples
        self.feedback = Feedback(parts.galleries, parts.ledger, parts.results, parts.samples)
        self.audit, self.keys, self.api_keys = parts.audit, parts.keys, parts.api_keys
        #: What cameras tell the watcher, and what it told of them, in order.
        self.sightings, self.events = parts.sightings, parts.watched.events
        desk = Desk(parts.sightings, parts.watched, settings.watch)
        self._watched = WatchedErasure(desk, parts.watched.store, parts.watched.events)
        self.strangers = Acquaintance(
            desk, self._watched, enrol=self._enrol_crops, galleries=parts.galleries, erasure=parts.erasure,
            store=parts.store, audit=parts.audit, by=self.by,
        )  # fmt: skip
        #: Who is told outward of what, and how far.
        self.webhooks = WebhookDesk(
            parts.webhooks, self.events, parts.results, parts.galleries, parts.keys, parts.audit,
            Post(settings.webhooks), self.by,
        )  # fmt: skip
        self.intake = Intake(parts.store, parts.ledger, parts.queue, settings)

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """A client of the installation that `settings` (default: the environment's) describe."""
        settings = settings or load()
        return cls(settings, connect(settings))

    def acting_as(self, by: str) -> Self:
        """The same client for somebody else: `by` is who did it, in the audit log. Cheap; nothing is opened."""
        return type(self)(self.settings, self._connections, by)

    def close(self) -> None:
        """Close the connections this client opened; nothing for parts that were handed in."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def put(self, picture: Picture, *, subject: str | None = None) -> ImageRef:
        """Store one image, a file under its path as the label.

        Raises OSError for a file that cannot be read, EmptyImage, ImageTooLarge, StoreUnavailable, StoreDenied.
        """
        if isinstance(picture, ImageRef):
            return replace(picture, subject=subject)
        if isinstance(picture, Path):
            return self.intake.put(picture.read_bytes(), subject=subject, label=label_of(str(picture)))
        return self.intake.put(picture, subject=subject)

    def upload_url(self, sha256: str) -> tuple[ImageRef, str]:
        """A place for a picture that somebody else has: the image to ask about, and the URL that takes its bytes.

        sha256: of the bytes, in hex. The other side sends them by HTTP PUT, needs no credentials, and must reach the
        store under the name it has here; the URL expires after `store.upload_expiry_s`. Then `identify([image])`, or
        enrol or verify. Other bytes than promised are rejected as `corrupt_image`, none as `missing_image`. (For the
        directory store it is a `file:` URL.) Raises MissingImage for what is no SHA-256.
        """
        image = ImageRef(key_of(sha256))
        return image, self.store.upload_url(image.key)

    def enrol(
        self,
        subject: str,
        pictures: Iterable[Picture],
        *,
        gallery: str | None = None,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Register `pictures` of `subject`, wait for the templates. One decision per picture, in order: `enrolled`, or
        why not.

        More than 64 become several jobs, all sent before the first is waited for; timeout_s is for each. Raises
        InvalidName, JobDead (its reason names the cause), NoAnswerYet, StoreUnavailable, StateUnavailable.
        """
        return self._decide(Kind.ENROL, pictures, subject_name(subject), gallery, content, timeout_s)

    def identify(
        self,
        pictures: Iterable[Picture],
        *,
        gallery: str | None = None,
        min_sequence: int = 0,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Who is on each of `pictures`? Raises as `enrol`; UnknownGallery before anything is stored."""
        self.galleries.info(self._name(gallery))
        return self._decide(Kind.IDENTIFY, pictures, None, gallery, content, timeout_s, min_sequence)

    def verify(
        self,
        subject: str,
        pictures: Iterable[Picture],
        *,
        gallery: str | None = None,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Is it `subject` on each of `pictures`? Raises as `identify`, and UnknownSubject."""
        self._galleries.show(self._name(gallery), subject)
        return self._decide(Kind.VERIFY, pictures, subject_name(subject), gallery, content, timeout_s)

    def submit(self, job: EmbedJob) -> Receipt:
        """Hand in a job made by `self.intake.job` and return at once; its decisions come by `results` or `wait`."""
        return self.intake.submit(job)

    def ask(self, job: EmbedJob, timeout_s: float) -> list[Decision]:
        """Submit a job and wait for all its decisions, in the order of its images."""
        return self.wait(self.submit(job).job_id, timeout_s)

    def wait(self, job_id: str, timeout_s: float) -> list[Decision]:
        """The decisions of a submitted job.

        Raises JobDead when it ended in the dead letters, NoAnswerYet when it is still open after `timeout_s` seconds.
        """
        return wait(self.ledger, self.results, job_id, timeout_s)

    def forget(
        self,
        subject: str,
        *,
        gallery: str | None = None,
        wait_s: float = 20.0,
        save: "Callable[[SignedReceipt], None]" = lambda _: None,
    ) -> "SignedReceipt":
        """Erase a subject everywhere, see kith.forgetting; the receipt. Interrupted, the same call again completes it.

        wait_s: for workers to confirm. save: given the receipt before the call counts as completed. Raises
        UnknownGallery, UnknownSubject, and what the parts raise.
        """
        # Here, because the library of signatures takes its time to load and hardly any process signs.
        from kith.forgetting import Forgetting  # noqa: PLC0415

        forgetting = Forgetting(
            galleries=self._galleries,
            erasure=self.erasure,
            ledger=self.ledger,
            store=self.store,
            samples=self.samples,
            audit=self.audit,
            keys=self.keys,
            by=self.by,
            watched=self._watched,
        )
        return forgetting.forget(self._name(gallery), subject, wait_s=wait_s, save=save)

    def forget_gallery(
        self,
        gallery: str,
        *,
        wait_s: float = 20.0,
        save: "Callable[[SignedReceipt], None]" = lambda _: None,
        told: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> "SignedReceipt":
        """Erase a whole gallery everywhere, see kith.forgetting_galleries; else as `forget`. Its cameras are paused.

        told: how many things of each kind are gone by now. Raises UnknownGallery, and what the parts raise.
        """
        from kith.forgetting_galleries import GalleryForgetting  # noqa: PLC0415 (as above)

        forgetting = GalleryForgetting(
            galleries=self._galleries, gone=self.gone, erasure=self.erasure, ledger=self.ledger,
            store=self.store, samples=self.samples, cameras=self.cameras, watched=self._watched, audit=self.audit,
            keys=self.keys, by=self.by, told=told,
        )  # fmt: skip
        return forgetting.forget(gallery, wait_s=wait_s, save=save)

    def check_forgotten(self, signed: "SignedReceipt", names: tuple[str, ...] = ()) -> "Iterator[Leftover]":
        """What is left of somebody forgotten, see kith.forget_check; nothing, it should be."""
        from kith.forget_check import Checker  # noqa: PLC0415 (as above)

        checker = Checker(self.erasure, self.gone, self.store, self.ledger, self.keys, self.settings.redis.prefix)
        return checker.check(signed, names)

    def snapshot(self, gallery: str | None = None) -> Snapshot:
        """A whole gallery with its vectors, as the workers load it. Raises UnknownGallery."""
        return self.galleries.snapshot(self._name(gallery))

    def status(self) -> Status:
        """Queues, workers, galleries. Raises StateUnavailable; a broker that is away shows as None."""
        return status(self.ledger, self.results, self.queue, self.galleries)

    def _enrol_crops(self, gallery: str, subject: str, crops: Sequence[ImageRef]) -> list[Decision]:
        return self.enrol(subject, crops, gallery=gallery, content=Content.ALIGNED)

    def _name(self, gallery: str | None) -> str:
        return gallery or self.settings.gallery.default

    def _decide(
        self,
        kind: Kind,
        pictures: Iterable[Picture],
        subject: str | None,
        gallery: str | None,
        content: Content,
        timeout_s: float,
        min_sequence: int = 0,
    ) -> list[Decision]:
        images = [self.put(picture, subject=subject) for picture in pictures]
        jobs = [
            self.intake.job(
                kind,
                images[start : start + MAX_IMAGES_PER_JOB],
                gallery=gallery,
                content=content,
                min_sequence=min_sequence,
            )
            for start in range(0, len(images), MAX_IMAGES_PER_JOB)
        ]
        receipts = self.intake.submit_many(jobs)
        return [decision for receipt in receipts for decision in self.wait(receipt.job_id, timeout_s)]
