"""A picture is erased only when nobody needs it, whatever happens between one look and the next."""

from collections.abc import Collection, Iterator
from typing import Any

from kith import wire
from kith.backends.audit_memory import MemoryAudit
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.gallery_settings import GallerySettings
from kith.jobs import Decision, EmbedJob, ImageRef, Kind, Lane, Outcome
from kith.settings import Settings
from workers.retention import Retention

PICTURE = "ab/ab" + "0" * 62
OLD = Decision("d", "j", 0, Kind.IDENTIFY, "door", Lane.BULK, PICTURE, Outcome.UNKNOWN, created_ms=1, decided_ms=2)


class Busy:
    """What is kept: one old decision about a picture, and a job that enrols somebody from the same picture. It is done
    right after the first look at either."""

    def __init__(self) -> None:
        self.looks = 0
        self.deleted: list[str] = []

    def _look(self) -> bool:
        self.looks += 1
        return self.looks > 1

    def in_use(self, images: Collection[str]) -> set[str]:
        return set(images) if self._look() else set()

    def open_jobs(self) -> Iterator[tuple[str, dict[str, str]]]:
        job = EmbedJob("e", Kind.ENROL, "door", Lane.BULK, (ImageRef(PICTURE, subject="Ann"),), created_ms=1)
        return iter([] if self._look() else [("e", {"payload": wire.to_json(job)})])

    def results(self, after: str, *_: str) -> Iterator[tuple[str, str | None]]:
        return iter([("5-0", wire.to_json(OLD)), ("5-0", None)] if after == "0-0" else [])

    def spared(self) -> set[str]:
        return set()

    def reached(self, _: str) -> str:
        return "0-0"

    def reach(self, *_: str) -> None:
        pass

    def delete(self, key: str) -> bool:
        self.deleted.append(key)
        return True


def test_a_picture_whose_job_ends_meanwhile_stays() -> None:
    busy: Any = Busy()
    galleries, audit = MemoryGalleryStore(), MemoryAudit()
    galleries.create("door", model_id="m", dimension=4, settings=GallerySettings(keep_probes_s=1))
    Retention(galleries, busy, busy, audit, Settings()).run()
    assert (busy.looks, busy.deleted) == (2, [])
