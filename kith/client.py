"""Kith from Python: enrol, identify, verify, submit, read results. Needs no torch; the workers do the work.

    from kith.client import Client

    with Client.open() as kith:
        kith.enrol("Ada Lovelace", [Path("ada.jpg")])
        [decision] = kith.identify([Path("somebody.jpg")])
        print(decision.subject or "nobody we know")

This is a composition root: it opens the same backends as the workers, from the same settings.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kith.backends.connect import image_store, redis_client
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.ledger_redis import RedisLedger
from kith.backends.queue_celery import CeleryQueue, make_app
from kith.backends.results_redis import RedisResults
from kith.errors import BrokerUnavailable, JobDead, KithError, NoAnswerYet
from kith.gallery import Forgotten, GalleryInfo, GalleryStore
from kith.imagestore import ImageStore
from kith.intake import Intake, JobQueue, Receipt
from kith.jobs import LANES, PUBLISH_QUEUE, Content, Decision, EmbedJob, ImageRef, Kind
from kith.ledger import Ledger, WorkerBeat
from kith.names import subject_name
from kith.results import Results
from kith.settings import Settings, load

#: An image as callers have it.
Picture = bytes | Path

#: Pauses between looks at a job that is being waited for: a warm worker answers within the first few.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.005, 0.1


@dataclass(frozen=True, slots=True)
class Status:
    """The system at a glance. lanes: messages waiting per queue, None where the broker did not answer."""

    lanes: dict[str, int | None]
    open_jobs: int
    dead_letters: int
    results: int
    workers: tuple[WorkerBeat, ...]
    galleries: tuple[GalleryInfo, ...]


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
    ) -> None:
        self.settings = settings
        self.store = store
        self.ledger = ledger
        self.galleries = galleries
        self.results = results
        self.intake = Intake(store, ledger, queue, settings)
        self._queue = queue

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """A client of the installation that `settings` (default: the environment's) describe."""
        settings = settings or load()
        state = redis_client(settings)
        client = cls(
            settings,
            store=image_store(settings),
            ledger=RedisLedger(state, settings),
            queue=CeleryQueue(make_app(settings), settings),
            galleries=RedisGalleryStore(state, settings.redis.prefix),
            results=RedisResults(state, settings),
        )
        client.close = state.close  # type: ignore[method-assign]
        return client

    def close(self) -> None:
        """Close the connections this client opened; nothing for parts that were handed in."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def enrol(
        self, subject: str, pictures: Sequence[Picture], *, gallery: str | None = None, timeout_s: float = 30.0
    ) -> list[Decision]:
        """Register `pictures` (1..64) of `subject`, wait for the templates. One decision per picture: `enrolled`, or
        why not.

        Raises InvalidName, JobDead (its reason names the cause), NoAnswerYet, StoreUnavailable, StateUnavailable.
        """
        images = [self._put(picture, subject_name(subject)) for picture in pictures]
        return self.ask(self.intake.job(Kind.ENROL, images, gallery=gallery), timeout_s)

    def identify(
        self,
        pictures: Sequence[Picture],
        *,
        gallery: str | None = None,
        min_sequence: int = 0,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Who is on each of `pictures` (1..64)? Raises as `enrol`; UnknownGallery before anything is sent."""
        self._require(gallery)
        images = [self._put(picture) for picture in pictures]
        job = self.intake.job(Kind.IDENTIFY, images, gallery=gallery, min_sequence=min_sequence, content=content)
        return self.ask(job, timeout_s)

    def verify(
        self, subject: str, pictures: Sequence[Picture], *, gallery: str | None = None, timeout_s: float = 30.0
    ) -> list[Decision]:
        """Is it `subject` on each of `pictures`? Raises as `identify`, and UnknownSubject."""
        self._require(gallery)
        self.galleries.show(gallery or self.settings.gallery.default, subject)
        images = [self._put(picture, subject_name(subject)) for picture in pictures]
        return self.ask(self.intake.job(Kind.VERIFY, images, gallery=gallery), timeout_s)

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
        deadline_s = time.monotonic() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            state = self.ledger.state(job_id)
            if state.state == "done":
                decisions = [entry.decision for entry in self.results.fetch(state.entries)]
                return sorted(decisions, key=lambda decision: decision.index)
            if state.state == "dead":
                raise JobDead(f"job {job_id} is a dead letter: {state.reason} (kith dead show {job_id})")
            if time.monotonic() > deadline_s:
                raise NoAnswerYet(self._why_not(job_id, state.state, state.reason, timeout_s))
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, _LAST_PAUSE_S)

    def forget(self, subject: str, *, gallery: str | None = None) -> Forgotten:
        """Remove a subject: its vectors from the gallery and its log, its pictures from the store.

        A picture that another subject of any gallery was enrolled from stays. Raises UnknownGallery, UnknownSubject.
        """
        forgotten = self.galleries.forget(gallery or self.settings.gallery.default, subject)
        still_used = self._images_of_others(forgotten.images)
        for key in forgotten.images:
            if key not in still_used:
                self.store.delete(key)
        return forgotten

    def status(self) -> Status:
        """Queues, workers, galleries. Raises StateUnavailable; a broker that is away shows as None."""
        return Status(
            lanes={queue: self._depth(queue) for queue in (*LANES, PUBLISH_QUEUE)},
            open_jobs=self.ledger.open_count(),
            dead_letters=self.ledger.dead_count(),
            results=self.results.count(),
            workers=tuple(self.ledger.workers()),
            galleries=tuple(self.galleries.galleries()),
        )

    def _put(self, picture: Picture, subject: str | None = None) -> ImageRef:
        if isinstance(picture, Path):
            return self.intake.put(picture.read_bytes(), subject=subject, label=str(picture)[-1024:])
        return self.intake.put(picture, subject=subject)

    def _require(self, gallery: str | None) -> None:
        self.galleries.info(gallery or self.settings.gallery.default)

    def _images_of_others(self, images: Sequence[str]) -> set[str]:
        wanted = set(images)
        return {
            template.image
            for gallery in self.galleries.galleries()
            for subject in self.galleries.subjects(gallery.name)
            for template in self.galleries.show(gallery.name, subject.name).templates
            if template.image in wanted
        }

    def _depth(self, queue: str) -> int | None:
        try:
            return self._queue.depth(queue)
        except BrokerUnavailable:
            return None

    def _why_not(self, job_id: str, stage: str, reason: str | None, timeout_s: float) -> str:
        message = f"job {job_id} is not decided after {timeout_s:g} s (stage: {stage}"
        message += f", last trouble: {reason})" if reason else ")"
        try:
            if not any(beat.role == "embed" for beat in self.ledger.workers()):
                message += "; no embed worker is up, start one with `kith up`"
        except KithError:
            pass
        return message
