"""The one way in: put the images, write the ledger, send the job. Every producer and the client end here.

The order is the guarantee. The ledger knows the job before the broker does, so a broker that is away, or loses the
message, delays the job until the sweeper sends it; it cannot lose it.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from kith import wire
from kith.errors import BrokerUnavailable, EmptyImage, ImageTooLarge, Overloaded, StateFull
from kith.imagestore import ImageStore
from kith.jobs import Content, EmbedJob, ImageRef, Kind, Lane, new_job_id, now_ms
from kith.ledger import Accepted, IdempotencyKeyReused, Ledger
from kith.settings import Settings

_log = logging.getLogger(__name__)


class JobQueue(Protocol):
    """The broker as Kith needs it. Every method raises BrokerUnavailable after a bounded time."""

    def send(self, payload: str, lane: Lane) -> None:
        """Send one job's JSON to its lane."""
        ...

    def send_many(self, payloads: Sequence[tuple[str, Lane]]) -> None:
        """Send many jobs at the price of few."""
        ...

    def send_saved(self, job_id: str) -> None:
        """Tell the publish workers which jobs' decisions are saved: an id, or a JSON list of ids."""
        ...

    def depth(self, queue: str) -> int:
        """Messages waiting in a lane or in `kith.jobs.PUBLISH_QUEUE`, those a worker holds not counted."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submission got: the job's id, and whether it was new or known (`open`, `done`, `dead`); of `offer` also
    that it was not accepted (`full`, `other`)."""

    job_id: str
    accepted: Accepted


class Intake:
    """Submits jobs. Safe to call from many threads; needs neither torch nor a worker to be up."""

    def __init__(self, store: ImageStore, ledger: Ledger, queue: JobQueue, settings: Settings) -> None:
        self._store = store
        self._ledger = ledger
        self._queue = queue
        self._settings = settings

    def put(self, data: bytes, *, subject: str | None = None, label: str | None = None) -> ImageRef:
        """Store one image. Its bytes are judged by the worker that decodes them, but for what no worker should meet.

        Raises EmptyImage, ImageTooLarge (bytes), InvalidName, StoreUnavailable, StoreDenied.
        """
        named = f" ({label})" if label else ""
        if not data:
            raise EmptyImage(f"the image{named} has no bytes")
        limit = self._settings.limits.image_bytes
        if len(data) > limit:
            raise ImageTooLarge(f"the image{named} has {len(data)} bytes, the limit is {limit} (limits.image_bytes)")
        # Checked before the upload: a refused name must not leave an orphan in the store.
        reference = ImageRef("pending", subject=subject, label=label)
        return replace(reference, key=self._store.put(data))

    def job(
        self,
        kind: Kind,
        images: Sequence[ImageRef],
        *,
        gallery: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
        content: Content = Content.PHOTO,
        model_id: str | None = None,
        expires_ms: int | None = None,
        min_sequence: int = 0,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
        asked: str | None = None,
    ) -> EmbedJob:
        """Make a job with the settings' defaults; a live one gets its deadline here if it has none."""
        gallery = gallery or self._settings.gallery.default
        created = now_ms()
        if lane is Lane.LIVE and expires_ms is None:
            expires_ms = created + round(self._settings.jobs.live_expiry_s * 1000)
        return EmbedJob(
            job_id=new_job_id(gallery, idempotency_key),
            kind=kind,
            gallery=gallery,
            lane=lane,
            images=tuple(images),
            created_ms=created,
            content=content,
            model_id=model_id,
            expires_ms=expires_ms,
            min_sequence=min_sequence,
            idempotency_key=idempotency_key,
            traceparent=traceparent,
            asked=asked,
        )

    def submit(self, job: EmbedJob) -> Receipt:
        """Accept a job for good, also when the broker is away. Raises Overloaded, IdempotencyKeyReused,
        StateUnavailable, StateFull."""
        return self.submit_many([job])[0]

    def submit_many(self, jobs: Iterable[EmbedJob]) -> list[Receipt]:
        """Accept many jobs, sending their messages together."""
        receipts: list[Receipt] = []
        waiting = iter(jobs)
        while chunk := list(islice(waiting, 64)):
            receipts += self._accepted(self.offer(chunk))
        return receipts

    def offer(self, jobs: Sequence[EmbedJob]) -> list[Receipt]:
        """Accept some jobs, each for itself: what is not accepted says so in its receipt. Raises StateFull where there
        is room for none, StateUnavailable; some of the jobs may have been accepted then, which whoever offers them
        again learns."""
        answers = self._ledger.accept_many(jobs)
        receipts = [Receipt(job.job_id, answer) for job, answer in zip(jobs, answers, strict=True)]
        # A job that is open already has a message under way; should that one be lost, the sweeper knows.
        fresh = [job for job, answer in zip(jobs, answers, strict=True) if answer is Accepted.NEW]
        try:
            self._queue.send_many([(wire.to_json(job), job.lane) for job in fresh])
        except BrokerUnavailable as away:
            _log.warning("%s; %d accepted jobs will be sent by the sweeper", away, len(fresh))
        return receipts

    def _accepted(self, receipts: list[Receipt]) -> list[Receipt]:
        # Only now: what was accepted beside it is under way.
        for receipt in receipts:
            if receipt.accepted is Accepted.OTHER:
                raise IdempotencyKeyReused(f"job {receipt.job_id} was asked for something else under this key")
        if any(receipt.accepted is Accepted.NO_ROOM for receipt in receipts):
            raise StateFull(no_room(receipts))
        refused = sum(receipt.accepted is Accepted.FULL for receipt in receipts)
        if refused:
            raise Overloaded(
                f"{self._settings.jobs.max_open} jobs are open (jobs.max_open); {len(receipts) - refused} of these "
                f"{len(receipts)} were accepted, submit the same again when some are decided"
            )
        return receipts


def no_room(receipts: Sequence[Receipt]) -> str:
    """What is said where Redis refused to write some of the jobs."""
    refused = sum(receipt.accepted is Accepted.NO_ROOM for receipt in receipts)
    return (
        f"Redis refuses writes; {len(receipts) - refused} of these {len(receipts)} jobs were accepted: free memory or "
        "disk, or raise maxmemory, and submit the same again"
    )
