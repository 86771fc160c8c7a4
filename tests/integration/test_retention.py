"""What a gallery keeps no longer is erased: pictures before the decisions that tell of them, nothing that is in use."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from kith.audit import Action, Deed
from kith.backends.audit_redis import RedisAudit
from kith.backends.erasure_redis import RedisErasure
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.errors import StoreUnavailable
from kith.gallery import Enrolment, GallerySettings
from kith.jobs import EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.settings import Redis, Security, Settings
from tests.plain_gallery import unit
from workers.retention import Dropped, Retention


class House:
    def __init__(self, client: redis.Redis, prefix: str, folder: Path) -> None:
        settings = Settings(redis=Redis(prefix=prefix), security=Security(audit_keep_s=1))
        self.galleries = RedisGalleryStore(client, prefix)
        self.ledger, self.results = RedisLedger(client, settings), RedisResults(client, settings)
        self.store, self.audit = DirectoryImageStore(folder), RedisAudit(client, prefix)
        self.retention = Retention(self.galleries, RedisErasure(client, prefix), self.store, self.audit, settings)
        self._number = 0

    def ask(self, gallery: str, picture: bytes) -> str:
        """A picture asked about and decided; its key."""
        self._number += 1
        key = self.store.put(picture)
        job = EmbedJob(f"j{self._number}", Kind.IDENTIFY, gallery, Lane.BULK, (ImageRef(key),), now_ms())
        self.ledger.accept_many([job])
        self.ledger.publish(job.job_id, [decide(job, 0, Outcome.UNKNOWN, face=Face(Outcome.UNKNOWN))])
        return key

    def keep(self, gallery: str, **times: int) -> None:
        self.galleries.create(gallery, model_id="m", dimension=4)
        self.galleries.configure(gallery, replace(GallerySettings(), **times))  # type: ignore[arg-type]

    def kept(self) -> list[str]:
        return [entry.decision.job_id for entry in self.results.after("0")]


@pytest.fixture
def house(redis_client: redis.Redis, prefix: str, tmp_path: Path) -> House:
    return House(redis_client, prefix, tmp_path)


def test_pictures_and_decisions_go_when_their_gallery_says_so_and_those_of_other_galleries_stay(house: House) -> None:
    house.keep("door", keep_probes_s=1)
    house.keep("gate", keep_probes_s=1, keep_decisions_s=1)
    house.keep("yard", keep_decisions_s=1)
    house.keep("hall")
    old = [house.ask(gallery, gallery.encode()) for gallery in ("door", "gate", "yard", "hall")]
    house.results.join("readers")
    assert house.retention.run() == Dropped()
    time.sleep(1.1)
    late = house.ask("gate", b"late")
    assert house.retention.run() == Dropped(pictures=2, decisions=2)
    assert [house.store.exists(key) for key in old] == [False, False, True, True]
    assert house.store.exists(late)
    assert house.kept() == ["j1", "j4", "j5"]
    assert [entry.decision.job_id for entry in house.results.take("readers", "a")] == ["j1", "j4", "j5"]
    assert house.retention.run() == Dropped()
    time.sleep(1.1)
    assert house.retention.run() == Dropped(pictures=1, decisions=1)


def test_a_picture_that_a_template_was_made_of_or_an_open_job_asks_about_stays(house: House) -> None:
    house.keep("door", keep_probes_s=1)
    enrolled, asked, gone = (house.ask("door", each) for each in (b"enrolled", b"asked", b"gone"))
    house.galleries.enrol("door", [Enrolment("Ann", "t", unit(1, 4), enrolled, 1.0, "m")])
    again = EmbedJob("again", Kind.IDENTIFY, "door", Lane.BULK, (ImageRef(asked),), now_ms())
    house.ledger.accept_many([again])
    time.sleep(1.1)
    assert house.retention.run() == Dropped(pictures=1)
    assert [house.store.exists(key) for key in (enrolled, asked, gone)] == [True, True, False]


def test_interrupted_it_loses_sight_of_no_picture(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.keep("door", keep_probes_s=1, keep_decisions_s=1)
    keys = [house.ask("door", f"p{n}".encode()) for n in range(5)]
    time.sleep(1.1)
    delete, calls = house.store.delete, [0]

    def fails(key: str) -> bool:
        calls[0] += 1
        if calls[0] == 3:
            raise StoreUnavailable
        return delete(key)

    monkeypatch.setattr(house.store, "delete", fails)
    with pytest.raises(StoreUnavailable):
        house.retention.run()
    assert len(house.kept()) == 5
    assert house.retention.run() == Dropped(pictures=3, decisions=5)
    assert not any(house.store.exists(key) for key in keys)


def test_a_flood_is_worked_off_run_by_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.retention._MOST", 500)
    house.keep("door", keep_probes_s=1)
    for n in range(1100):
        house.ask("door", f"p{n}".encode())
    time.sleep(1.1)
    runs: list[int] = []
    while (dropped := house.retention.run()) != Dropped():
        runs.append(dropped.pictures)
    assert sum(runs) == 1100
    assert len(runs) >= 2


def test_the_audit_log_is_cut_at_its_age(house: House) -> None:
    house.audit.record(Deed("cli:a@b", Action.LOOKED, "door"))
    time.sleep(1.1)
    house.audit.record(Deed("cli:a@b", Action.LOOKED, "door"))
    house.retention.run()
    assert [entry.number for entry in house.audit.latest(9)] == [2]
    assert house.audit.verify().broken is None
