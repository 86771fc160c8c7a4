"""Kith from Python: enrol, identify, verify, submit, read results. Needs no torch; the workers do the work.

    from kith.client import Client

    with Client.open() as kith:
        kith.enrol("Ada Lovelace", [Path("ada.jpg")])
        [decision] = kith.identify([Path("somebody.jpg")])
        print(decision.subject or "nobody we know")

This is a composition root: it opens the same backends as the workers, from the same settings.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kith.audit import AuditLog, command_line_actor
from kith.audited import AuditedGalleryStore
from kith.backends.audit_redis import RedisAudit
from kith.backends.connect import gallery_store, image_store, key_store, redis_client
from kith.backends.erasure_redis import RedisErasure
from kith.backends.ledger_redis import RedisLedger
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.queue_celery import CeleryQueue, make_app
from kith.backends.results_redis import RedisResults
from kith.backends.samples_redis import RedisSamples
from kith.calibration_samples import SampleStore
from kith.erasure import Erasure
from kith.feedback import Feedback
from kith.folder import label_of
from kith.gallery import GalleryStore, Snapshot
from kith.imagestore import ImageStore, key_of
from kith.intake import Intake, JobQueue, Receipt
from kith.jobs import MAX_IMAGES_PER_JOB, Content, Decision, EmbedJob, ImageRef, Kind
from kith.keys import KeyStore
from kith.ledger import Ledger
from kith.migration import MigrationStore
from kith.names import subject_name
from kith.results import Results
from kith.settings import Settings, load
from kith.status import Status, status
from kith.waiting import wait

if TYPE_CHECKING:
    from kith.forget_check import Leftover
    from kith.receipts import SignedReceipt

#: An image as callers have it; an ImageRef is one that is stored already, by `Client.put` or by `Client.upload_url`.
Picture = bytes | Path | ImageRef


class Client:
    """The verbs of Kith. Safe to call from many threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: ImageStore,
        ledger: Ledger,
        queue: JobQueue,
        galleries: GalleryStore,
        results: Results,
        samples: SampleStore,
        migrations: MigrationStore,
        erasure: Erasure,
        audit: AuditLog,
        keys: KeyStore,
        by: str | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.ledger = ledger
        self.by = by or command_line_actor()
        #: What is done through it stands in the audit log.
        self.galleries: GalleryStore = AuditedGalleryStore(galleries, audit, self.by)
        self._galleries = galleries
        self._erasure = erasure
        self.results = results
        self.samples = samples
        self.feedback = Feedback(galleries, ledger, results, samples)
        self.migrations = migrations
        self.audit = audit
        self.keys = keys
        self.intake = Intake(store, ledger, queue, settings)
        self._queue = queue

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """A client of the installation that `settings` (default: the environment's) describe."""
        settings = settings or load()
        state, keys = redis_client(settings), key_store(settings)
        client = cls(
            settings,
            store=image_store(settings),
            ledger=RedisLedger(state, settings),
            queue=CeleryQueue(make_app(settings), settings),
            galleries=gallery_store(settings, state, keys),
            results=RedisResults(state, settings),
            samples=RedisSamples(state, settings.redis.prefix),
            migrations=RedisMigrationStore(state, settings.redis.prefix, keys),
            erasure=RedisErasure(state, settings.redis.prefix),
            audit=RedisAudit(state, settings.redis.prefix),
            keys=keys,
        )
        client.close = state.close  # type: ignore[method-assign]
        return client

    def close(self) -> None:
        """Close the connections this client opened; nothing for parts that were handed in."""

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
            erasure=self._erasure,
            ledger=self.ledger,
            store=self.store,
            samples=self.samples,
            audit=self.audit,
            keys=self.keys,
            by=self.by,
        )
        return forgetting.forget(self._name(gallery), subject, wait_s=wait_s, save=save)

    def check_forgotten(self, signed: "SignedReceipt", names: tuple[str, ...] = ()) -> "Iterator[Leftover]":
        """What is left of somebody forgotten, see kith.forget_check; nothing, it should be."""
        from kith.forget_check import Checker  # noqa: PLC0415 (as above)

        checker = Checker(self._erasure, self.store, self.ledger, self.keys, self.settings.redis.prefix)
        return checker.check(signed, names)

    def snapshot(self, gallery: str | None = None) -> Snapshot:
        """A whole gallery with its vectors, as the workers load it. Raises UnknownGallery."""
        return self.galleries.snapshot(self._name(gallery))

    def status(self) -> Status:
        """Queues, workers, galleries. Raises StateUnavailable; a broker that is away shows as None."""
        return status(self.ledger, self.results, self._queue, self.galleries)

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
