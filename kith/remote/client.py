"""Kith over HTTP, as kith.client has it at home.

    from kith.remote.client import Client

    with Client("http://127.0.0.1:8600", KEY) as kith:
        kith.enrol("Ada Lovelace", [Path("ada.jpg")])
        [decision] = kith.identify([Path("somebody.jpg")])
        print(decision.subject or "nobody we know")

What is lost on the way is sent again (kith.remote.patience), what could be done twice by that never is. Errors are
those of kith.errors, ApiUnavailable and ApiRefused among them. The asynchronous one: kith.remote.async_client.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kith.calibration_samples import SearchSample
from kith.errors import NoAnswerYet
from kith.folder import label_of
from kith.jobs import MAX_IMAGES_PER_JOB, Content, Decision, ImageRef, Kind, Lane
from kith.remote import verbs
from kith.remote.calls import Method
from kith.remote.connection import Connection
from kith.remote.gallery import Gallery
from kith.remote.records import Job, record
from kith.remote.webhooks import Webhooks
from kith.results import Entry
from kith.status import Status
from kith.subjects import GalleryInfo
from kith.watching.event_log import EventEntry
from kith.watching.events import Event

#: An image as callers have it; an ImageRef is one that is stored already, by `Client.put`.
Picture = bytes | Path | ImageRef


class Client(Connection):
    """The verbs of an installation elsewhere. Safe to call from many threads."""

    def put(self, picture: Picture, *, subject: str | None = None) -> ImageRef:
        """Store one picture, to be named in jobs. Raises what is wrong with it (ImageRejected)."""
        if isinstance(picture, ImageRef):
            return ImageRef(picture.key, subject=subject, label=picture.label)
        label = label_of(str(picture)) if isinstance(picture, Path) else None
        return ImageRef(self.send(verbs.put(_bytes(picture))), subject=subject, label=label)

    def image(self, key: str) -> bytes:
        """The bytes of a stored picture: of a decision, a template, an event. Raises MissingImage."""
        return self.send(verbs.image(key))

    def submit(
        self,
        kind: Kind,
        pictures: Sequence[Picture],
        *,
        subject: str | None = None,
        gallery: str | None = None,
        lane: Lane | None = None,
        content: Content = Content.PHOTO,
        min_sequence: int = 0,
        expires_ms: int | None = None,
        idempotency_key: str | None = None,
        wait_s: float = 0.0,
    ) -> Job:
        """Hand in one job of 1..64 pictures, and wait up to `wait_s` seconds for its end.

        From the answer on it is accepted: decided, or dead-lettered with a reason. idempotency_key: the same key in the
        same gallery is the same job, also in another process. Raises UnknownGallery, Overloaded, ImageRejected.
        """
        labels = [label_of(str(each)) if isinstance(each, Path) else None for each in pictures]
        images: list[bytes | ImageRef] = [each if isinstance(each, ImageRef) else _bytes(each) for each in pictures]
        if sum(len(each) for each in images if isinstance(each, bytes)) > verbs.INLINE_BYTES:
            images = [self._stored(each, label) for each, label in zip(images, labels, strict=True)]
        return self.send(
            verbs.submit(
                kind, images, labels=labels, subject=subject, gallery=gallery, lane=lane, content=content,
                min_sequence=min_sequence, expires_ms=expires_ms, idempotency_key=idempotency_key, wait_s=wait_s,
            )
        )  # fmt: skip

    def job(self, job_id: str, *, wait_s: float = 0.0) -> Job:
        """Where a job stands, when it has ended or after `wait_s` seconds."""
        return self.send(verbs.job(job_id, wait_s))

    def cancel(self, job_id: str) -> None:
        """Cancel a job that nobody has begun on. Raises TooLate."""
        self.send(verbs.cancel(job_id))

    def wait(self, job_id: str, timeout_s: float) -> list[Decision]:
        """The decisions of a job. Raises JobDead; NoAnswerYet when it is still open after `timeout_s` seconds."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            job = self.job(job_id, wait_s=max(0.0, deadline_s - time.monotonic()))
            decisions = job.answer()
            if decisions is not None:
                return decisions
            if time.monotonic() >= deadline_s:
                raise NoAnswerYet(f"job {job_id} is not decided after {timeout_s:g} s (it is {job.state})")

    def enrol(
        self,
        subject: str,
        pictures: Iterable[Picture],
        *,
        gallery: str | None = None,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Register pictures of somebody, wait for the templates. One decision for each, in order: `enrolled`, or why
        not. More than 64 become several jobs; timeout_s is for each. Raises as `submit` and `wait`."""
        return self._decide(Kind.ENROL, pictures, timeout_s, subject=subject, gallery=gallery, content=content)

    def identify(
        self,
        pictures: Iterable[Picture],
        *,
        gallery: str | None = None,
        min_sequence: int = 0,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Who is on each picture? Raises as `enrol`."""
        return self._decide(
            Kind.IDENTIFY, pictures, timeout_s, gallery=gallery, min_sequence=min_sequence, content=content
        )

    def verify(
        self,
        subject: str,
        pictures: Iterable[Picture],
        *,
        gallery: str | None = None,
        content: Content = Content.PHOTO,
        timeout_s: float = 30.0,
    ) -> list[Decision]:
        """Is it this person on each picture? Raises as `enrol`."""
        return self._decide(Kind.VERIFY, pictures, timeout_s, subject=subject, gallery=gallery, content=content)

    def decisions(self, *, after: str | None = None, **filters: Any) -> Iterator[Entry]:
        """What was decided and is kept, oldest first, to the newest. filters: since_ms, gallery, camera, kind, lane,
        outcome, subject."""
        return self.pages(lambda place: verbs.decisions(place or after, **filters))

    def events(self, *, after: str | None = None, **filters: Any) -> Iterator[EventEntry]:
        """What cameras told. filters: since_ms, gallery, camera, kind, subject."""
        return self.pages(lambda place: verbs.events(place or after, **filters))

    def follow_decisions(self, *, last: str | None = None, gallery: str | None = None) -> Iterator[Entry]:
        """Decisions as they are told, without end: from now on, or from behind the entry `last`.

        A connection that breaks off is taken up where it was: none is missed, none told twice. Raises ApiUnavailable
        when it cannot be taken up.
        """
        for place, data in self.follow("/v1/decisions/stream", "decision", last, gallery=gallery):
            yield Entry(place, record(Decision)(data.encode()))

    def follow_events(
        self, *, last: str | None = None, gallery: str | None = None, camera: str | None = None
    ) -> Iterator[EventEntry]:
        """Events of cameras, in the same way."""
        for place, data in self.follow("/v1/events/stream", "event", last, gallery=gallery, camera=camera):
            yield EventEntry(place, record(Event)(data.encode()))

    def decision(self, decision_id: str) -> Decision:
        """One decision. Raises UnknownDecision."""
        return self.send(verbs.decision(decision_id))

    def judge(
        self,
        decision_id: str,
        verdict: str,
        *,
        actually: str | None = None,
        group: str | None = None,
        sampled: bool = False,
    ) -> SearchSample:
        """Say whether a decision was `right`, `wrong` (actually: who it is) or of a `stranger`: the cutoff learns."""
        return self.send(verbs.judge(decision_id, verdict, actually, group, sampled))

    def withdraw(self, decision_id: str) -> bool:
        """Take back what was said of a decision; whether something was."""
        return self.send(verbs.withdraw(decision_id))

    def galleries(self) -> list[GalleryInfo]:
        """Those that the key may see."""
        return self.send(verbs.galleries())

    def gallery(self, name: str) -> Gallery:
        """The people of one gallery. Nothing is asked yet."""
        return Gallery(self, name)

    @property
    def webhooks(self) -> Webhooks:
        """Who is told by HTTP what happens."""
        return Webhooks(self)

    def status(self) -> Status:
        """Queues, workers, galleries."""
        return self.send(verbs.status())

    def ask(self, method: Method, path: str, *, body: Mapping[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        """Whatever else the API has (/openapi.json): cameras, cutoffs, models, the audit log."""
        return self.send(verbs.anything(method, path, params, body))

    def _stored(self, picture: bytes | ImageRef, label: str | None) -> ImageRef:
        return picture if isinstance(picture, ImageRef) else ImageRef(self.send(verbs.put(picture)), label=label)

    def _decide(self, kind: Kind, pictures: Iterable[Picture], timeout_s: float, **more: Any) -> list[Decision]:
        waiting = iter(pictures)
        jobs: list[Job] = []
        while some := list(islice(waiting, MAX_IMAGES_PER_JOB)):
            # A single job answers at once where it can; several are all under way before the first is waited for.
            wait_s = timeout_s if not jobs and len(some) < MAX_IMAGES_PER_JOB else 0.0
            jobs.append(self.submit(kind, some, wait_s=wait_s, **more))
        decisions = []
        for job in jobs:
            answer = job.answer()
            decisions += self.wait(job.job_id, timeout_s) if answer is None else answer
        return decisions


def _bytes(picture: bytes | Path) -> bytes:
    return picture.read_bytes() if isinstance(picture, Path) else picture
