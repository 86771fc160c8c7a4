"""Pictures that nothing tells of any more are found and removed, and no other ones, whatever holds them in Redis."""

import json
import os
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from typer.testing import CliRunner, Result

from kith import cli
from kith.audit import Action
from kith.backends.audit_redis import RedisAudit
from kith.backends.erasure_redis import RedisErasure
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.backends.ledger_redis import RedisLedger
from kith.backends.samples_redis import RedisSamples
from kith.calibration_samples import SearchSample, Truth
from kith.cli import images
from kith.errors import StateFull
from kith.gallery import Enrolment, GallerySettings
from kith.jobs import EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.ledger import DeadLetter
from kith.orphans import Orphaned, Orphans
from kith.settings import Redis, Settings
from tests.plain_gallery import unit

GRACE_S = 3600


class House:
    """A store of pictures of which some are told of in every way there is, all put two hours ago."""

    def __init__(self, client: redis.Redis, prefix: str, folder: Path) -> None:
        settings = Settings(redis=Redis(prefix=prefix))
        self.client, self.prefix = client, prefix
        self.galleries, self.ledger = RedisGalleryStore(client, prefix), RedisLedger(client, settings)
        self.samples, self.audit = RedisSamples(client, prefix), RedisAudit(client, prefix)
        self.store, self.folder = DirectoryImageStore(folder), folder
        self.orphans = Orphans(self.store, RedisErasure(client, prefix), self.audit, "cli:test@here")
        self.galleries.create("door", model_id="m", dimension=4, settings=GallerySettings())
        self._number = 0

    def put(self, name: str, age_s: float = 2 * GRACE_S) -> str:
        key = self.store.put(name.encode())
        at_s = time.time() - age_s
        os.utime(self.folder / key, (at_s, at_s))
        return key

    def ask(self, key: str) -> EmbedJob:
        self._number += 1
        job = EmbedJob(f"j{self._number}", Kind.IDENTIFY, "door", Lane.BULK, (ImageRef(key),), now_ms())
        self.ledger.accept_many([job])
        return job

    def enrol(self, who: str, key: str) -> None:
        self.galleries.enrol("door", [Enrolment(who, f"of {who}", unit(len(who), 4), key, 1.0, "m")])

    def in_use(self) -> set[str]:
        """One picture for each thing that can tell of one."""
        keys = {
            name: self.put(name) for name in ("enrolled", "removed", "merged", "asked", "decided", "buried", "watched")
        }
        for who in ("enrolled", "removed", "merged"):
            self.enrol(who, keys[who])
        self.galleries.remove("door", "removed", ["of removed"])
        self.galleries.merge("door", "merged", "enrolled")
        self.ask(keys["asked"])
        job = self.ask(keys["decided"])
        self.ledger.publish(job.job_id, [decide(job, 0, Outcome.UNKNOWN, face=Face(Outcome.UNKNOWN))])
        job = self.ask(keys["buried"])
        payload = self.ledger.payload(job.job_id) or ""
        letter = DeadLetter(job.job_id, "poisoned_job", "poisoned_job: x", payload, Lane.BULK, now_ms())
        assert self.ledger.bury(letter)
        # What is told of by its name alone, as pictures that await their end.
        self.client.hset(f"{self.prefix}:watch:door:litter", keys["watched"], 0)
        return set(keys.values())

    def kept(self) -> set[str]:
        return {each.key for each in self.store.listed()}


@pytest.fixture
def house(redis_client: redis.Redis, prefix: str, tmp_path: Path) -> House:
    return House(redis_client, prefix, tmp_path / "images")


def test_only_pictures_that_nothing_tells_of_and_that_are_old_enough_are_found_and_removed(house: House) -> None:
    kept = house.in_use()
    fresh, gone = house.put("fresh", age_s=60), {house.put(f"gone {number}") for number in range(30)}
    sizes = sum(each.size_bytes for each in house.store.listed())
    found = house.orphans.find(GRACE_S)
    assert {each.key for each in found.unused} == gone
    assert (found.looked_at, found.size_bytes) == (38, sizes)
    assert house.kept() == kept | {fresh} | gone
    assert house.orphans.remove(found.unused) == 30
    assert house.kept() == kept | {fresh}
    [entry] = house.audit.latest(9)
    assert (entry.deed.action, entry.deed.actor) == (Action.DELETED, "cli:test@here")
    assert entry.deed.detail == {"what": "unused pictures", "count": 30}
    assert house.orphans.find(GRACE_S) == Orphaned(8, sum(each.size_bytes for each in house.store.listed()), ())


def test_a_judged_search_does_without_its_picture(house: House) -> None:
    key = house.put("probe")
    house.samples.put(
        SearchSample("j:0", "door", Truth.NONMATED, 0.2, "g", 1, 1, "m", "", key, sampled=True, at_ms=now_ms())
    )
    assert [each.key for each in house.orphans.find(GRACE_S).unused] == [key]


def test_what_is_put_again_asked_about_or_enrolled_while_somebody_thinks_about_it_stays(house: House) -> None:
    again, asked, enrolled, gone = (house.put(name) for name in ("again", "asked", "enrolled", "gone"))
    found = house.orphans.find(GRACE_S).unused
    assert len(found) == 4
    house.store.put(b"again")
    house.ask(asked)
    house.enrol("Ann", enrolled)
    assert house.orphans.remove(found) == 1
    assert house.kept() == {again, asked, enrolled}
    assert not house.store.exists(gone)


def test_a_job_that_comes_after_everything_was_read_is_seen_before_its_picture_goes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = house.put("late")
    found = house.orphans.find(GRACE_S).unused
    record = house.audit.record
    # Between the reading and the deleting there is the entry of the audit log; a put makes the picture a new one.
    monkeypatch.setattr(house.audit, "record", lambda deed: (house.store.put(b"late"), record(deed))[1])
    assert house.orphans.remove(found) == 0
    assert house.store.exists(key)


def test_nothing_is_deleted_that_cannot_be_recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    key = house.put("gone")

    def full(_: object) -> None:
        raise StateFull

    monkeypatch.setattr(house.audit, "record", full)
    with pytest.raises(StateFull):
        house.orphans.remove(house.orphans.find(GRACE_S).unused)
    assert house.store.exists(key)


def test_many_are_worked_off_in_rounds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kith.orphans._ROUND", 20)
    monkeypatch.setattr("kith.orphans._PAGE", 7)
    kept, gone = house.in_use(), {house.put(f"gone {number}") for number in range(50)}
    told: list[tuple[int, int]] = []
    found = house.orphans.find(GRACE_S, lambda *far: told.append(far))
    assert {each.key for each in found.unused} == gone
    assert told == sorted(told)
    assert len(told) == 9
    assert house.orphans.remove(found.unused) == 50
    assert house.kept() == kept
    assert sum(int(entry.deed.detail["count"]) for entry in house.audit.latest(99)) == 50


class TestCommand:
    @pytest.fixture
    def run(self, house: House, monkeypatch: pytest.MonkeyPatch) -> object:
        client = SimpleNamespace(
            store=house.store, erasure=RedisErasure(house.client, house.prefix), audit=house.audit, by="cli:me@here"
        )
        monkeypatch.setattr(images, "client_for", lambda _: nullcontext(client))

        def invoke(*words: str) -> Result:
            return CliRunner().invoke(cli.app, ["images", "unused", *words])

        return invoke

    def test_by_default_it_only_says_what_there_is(self, house: House, run: "type[Result]") -> None:
        house.in_use()
        old = house.put("x" * 2500, age_s=8 * 86_400)
        house.put("y", age_s=6 * 86_400)
        said = run().stdout
        assert said.splitlines() == [
            "9 pictures of 2.5 kB are in the store",
            "1 of 2.5 kB are older than 7 days, and nothing tells of them any more",
        ]
        [line] = [json.loads(line) for line in run("--json").stdout.splitlines()]
        assert (line["key"], line["size_bytes"]) == (old, 2500)
        assert len(house.kept()) == 9
        assert len(run("--older-than", "5", "--json").stdout.splitlines()) == 2
        assert run("--older-than", "0.01").exit_code == 2

    def test_it_asks_before_it_deletes(self, house: House, run: "type[Result]") -> None:
        key = house.put("gone", age_s=8 * 86_400)
        assert run("--remove").exit_code == 2
        assert house.store.exists(key)
        assert "1 pictures are deleted" in run("--remove", "--yes").stdout
        assert not house.store.exists(key)
        assert house.audit.latest(1)[0].deed.actor == "cli:me@here"
        assert "0 pictures are deleted" in run("--remove").stdout
