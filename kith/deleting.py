"""Deleting pictures that nothing needs any more, many of them: `Deleting`."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from kith.erasure import Erasure, pictures_of
from kith.imagestore import ImageStore

#: Pictures deleted at a time: a store takes some milliseconds for each.
_AT_A_TIME = 16


class Deleting:
    """A context. left: pictures that stay for open jobs, of which retention finds later whether they are free; it was
    told (Erasure.spare). Raises what the parts raise; pictures of the same call may be deleted by then."""

    def __init__(self, erasure: Erasure, store: ImageStore) -> None:
        self._erasure, self._store = erasure, store
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "kith-delete")
        self.left: set[str] = set()
        #: What each open job asks about. That is read once: of thousands, for each page of pictures, it would take most
        #: of the time.
        self._jobs: dict[str, set[str]] = {}

    def delete(self, pictures: Collection[str]) -> int:
        """How many there were. Those that a template of any gallery is of stay, and those that open jobs ask about."""
        # In this order, see kith.erasure.asked_about.
        waiting = set(pictures).intersection(self._asked_about())
        free = set(pictures) - self._erasure.in_use(pictures)
        waiting &= free
        self._erasure.spare(waiting)
        self.left |= waiting
        return sum(self._threads.map(self._store.delete, sorted(free - waiting)))

    def _asked_about(self) -> set[str]:
        ids = self._erasure.open_job_ids()
        self._jobs = {job_id: asked for job_id, asked in self._jobs.items() if job_id in ids}
        for job_id in ids - self._jobs.keys():
            self._jobs[job_id] = pictures_of(self._erasure.open_job(job_id).get("payload", ""))
        return set().union(*self._jobs.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._threads.shutdown()
