"""A folder of images into jobs: thousands at a time, resumable, one bad file never costs another.

    with Client.open() as kith, Bulk(kith.intake, kith.settings, Path("photos"), gallery="staff") as bulk:
        for step in bulk.run():
            print(step.before + step.handed_in, "of", step.total)
        answers = Answers(kith.ledger, kith.results, bulk.record.jobs)

What makes a submission resumable, and why a kill at any moment neither loses nor repeats an image, stands in
kith.submission.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from kith import folder
from kith.addresses import address_of
from kith.errors import ImageTooLarge, Overloaded, Rejected, Retryable, StateUnavailable, StoreUnavailable
from kith.folder import Image, label_of, subject_of
from kith.intake import Intake
from kith.jobs import Content, EmbedJob, ImageRef, Kind, Lane, new_job_id
from kith.settings import Settings
from kith.submission import PlannedJob, Record

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Jobs sent together: one round trip to the ledger, one sync of the record, one batch of messages.
_JOBS_PER_BATCH = 4
#: Batches whose images are uploaded ahead of the one being sent.
_BATCHES_AHEAD = 2

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run has come. total = before + handed_in + failed + what is left.

    before: images handed in by earlier runs, also of files that have changed or gone since. failed: of this run.
    job_ids: accepted since the last step.
    """

    total: int
    before: int = 0
    handed_in: int = 0
    failed: int = 0
    job_ids: tuple[str, ...] = ()


class Bulk:
    """One folder on its way into one gallery. Use as a context manager; the lock on its record ends with it.

    kind: IDENTIFY, or ENROL: then the folder holds SUBJECT/IMAGE files. patience_s: how long a part that is away, or
    a full ledger, is waited for without any progress. again: forget earlier runs. failures: label → reason, of files
    that could not be handed in.
    """

    def __init__(
        self,
        intake: Intake,
        settings: Settings,
        directory: Path,
        *,
        gallery: str | None = None,
        kind: Kind = Kind.IDENTIFY,
        lane: Lane = Lane.BULK,
        content: Content = Content.PHOTO,
        again: bool = False,
        threads: int = 8,
        patience_s: float = 300.0,
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        self._intake = intake
        self._settings = settings
        self._folder = directory.resolve()
        self._gallery = gallery or settings.gallery.default
        self._kind = kind
        self._lane = lane
        self._content = content
        self._patience_s = patience_s
        self._notify = notify
        self._threads = threads
        #: Wakes whoever waits for a part that is away: the caller asked for an end, or this run is being abandoned.
        self._stopping = threading.Event()
        self._ended = False
        self.failures: dict[str, str] = {}
        # Without credentials: with a new password it is the same installation, and nothing is submitted twice.
        installation = f"{address_of(settings.redis.url.get_secret_value())}\0{settings.redis.prefix}"
        self.record = Record.open(
            settings.home.expanduser(), installation, self._folder, self._gallery, kind, content, again=again
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.record.close()

    def stop(self) -> None:
        """End for good, after the batch in hand; from any thread or a signal handler."""
        self._ended = True
        self._stopping.set()

    def scan(self) -> list[Image]:
        """The images now in the folder."""
        return folder.scan(self._folder, lambda path, fault: self._fail(path, f"unreadable: {fault.strerror}"))

    def run(self, images: Sequence[Image] | None = None) -> Iterator[Step]:
        """Hand in `images` (default: all of the folder), as far as no earlier run did; one Step per batch.

        Files that cannot be handed in end up in `failures`, and are tried again by the next run. Raises
        StoreUnavailable, StateUnavailable or Overloaded once patience is at its end, StoreDenied and StateFull at once;
        the next run goes on from there.
        """
        # An abandoned run must not keep the next one from working.
        self._stopping.clear()
        images = self.scan() if images is None else images
        fresh = [image for image in images if not self.record.has(image)]
        left_over = self.record.unfinished()
        again = sum(len(job.images) for job in left_over)
        before = sum(len(job.images) for job in self.record.jobs.values()) - again
        step = Step(total=before + again + len(fresh), before=before)
        failed_before = len(self.failures)
        yield step
        for jobs in _batches(left_over, _JOBS_PER_BATCH):
            self._send(jobs)
            step = _advanced(step, jobs, len(self.failures) - failed_before)
            yield step
        # Closed before the pool waits for its threads, whatever happens here: it calls off what is still queued.
        with ThreadPoolExecutor(self._threads, "upload") as uploads, closing(self._uploaded(uploads, fresh)) as batches:
            for batch in batches:
                jobs = self._grouped(batch)
                self.record.plan(jobs)
                self._send(jobs)
                step = _advanced(step, jobs, len(self.failures) - failed_before)
                yield step

    def _uploaded(
        self, uploads: ThreadPoolExecutor, images: Sequence[Image]
    ) -> Generator[list[tuple[Image, ImageRef]]]:
        """Batches of uploaded images in order, the next ones under way meanwhile."""
        size = self._settings.jobs.images_per_job * _JOBS_PER_BATCH
        waiting = iter(_batches(images, size))
        ahead: deque[list[tuple[Image, Future[ImageRef | None]]]] = deque()
        try:
            while not self._ended:
                for batch in islice(waiting, _BATCHES_AHEAD - len(ahead)):
                    ahead.append([(image, uploads.submit(self._put, image)) for image in batch])
                if not ahead:
                    return
                done = [(image, future.result()) for image, future in ahead.popleft()]
                yield [(image, reference) for image, reference in done if reference is not None]
        except BaseException:
            # Abandoned or failed: upload threads that wait for the store must not keep the caller waiting too.
            self._stopping.set()
            raise
        finally:
            for _, future in (pair for batch in ahead for pair in batch):
                future.cancel()

    def _put(self, image: Image) -> ImageRef | None:
        try:
            return self._insist(lambda: self._reference(image), StoreUnavailable)
        except OSError as unreadable:
            self._fail(image.path, f"unreadable: {unreadable.strerror or unreadable}")
        except Rejected as refused:
            self._fail(image.path, refused.reason)
        return None

    def _reference(self, image: Image) -> ImageRef:
        limit = self._settings.limits.image_bytes
        if image.size > limit:
            # Before it is read: a folder may hold a film.
            raise ImageTooLarge(f"{image.size} bytes, the limit is {limit} (limits.image_bytes)")
        data = (self._folder / image.path).read_bytes()
        return self._intake.put(data, subject=self._subject(image.path), label=label_of(image.path))

    def _subject(self, path: str) -> str | None:
        return None if self._kind is Kind.IDENTIFY else subject_of(path)

    def _grouped(self, uploaded: Sequence[tuple[Image, ImageRef]]) -> list[PlannedJob]:
        return [
            self._planned([image for image, _ in group], [reference for _, reference in group])
            for group in _batches(uploaded, self._settings.jobs.images_per_job)
        ]

    def _planned(self, images: Sequence[Image], references: Sequence[ImageRef]) -> PlannedJob:
        # From the content alone, and from the nonce, so that `again` means again and not "known already".
        parts = [self.record.nonce, *(f"{each.key}\0{each.subject}\0{each.label}" for each in references)]
        key = sha256("\0".join(parts).encode()).hexdigest()
        job_id = new_job_id(self._gallery, key)
        return PlannedJob(job_id, tuple(images), tuple(each.key for each in references), key)

    def _send(self, planned: Sequence[PlannedJob]) -> None:
        jobs = [self._job(each) for each in planned]
        # Repeating the whole batch is safe: the ledger answers "open" for those it took before it was full or away.
        receipts = self._insist(lambda: self._intake.submit_many(jobs), Overloaded, StateUnavailable)
        self.record.accept([receipt.job_id for receipt in receipts])

    def _job(self, planned: PlannedJob) -> EmbedJob:
        references = [
            ImageRef(key, subject=self._subject(image.path), label=label_of(image.path))
            for image, key in zip(planned.images, planned.keys, strict=True)
        ]
        job = self._intake.job(
            self._kind,
            references,
            gallery=self._gallery,
            lane=self._lane,
            content=self._content,
            idempotency_key=planned.idempotency_key,
        )
        return replace(job, job_id=planned.job_id)

    def _insist(self, attempt: Callable[[], _T], *signals: type[Retryable]) -> _T:
        give_up_s = time.monotonic() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except signals as later:
                if time.monotonic() + pause_s > give_up_s or self._ended or self._stopping.is_set():
                    raise
                if pause_s >= 1:
                    self._notify(f"{later}; trying again")
            # Spread out, so that eight upload threads do not knock in step; woken early by `stop`.
            self._stopping.wait(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _fail(self, path: str, reason: str) -> None:
        self.failures[label_of(path)] = reason


def _advanced(step: Step, jobs: Sequence[PlannedJob], failed: int) -> Step:
    images = sum(len(job.images) for job in jobs)
    return replace(step, handed_in=step.handed_in + images, failed=failed, job_ids=tuple(job.job_id for job in jobs))


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch
