"""Forgetting on a real server: nothing of the person is left in any byte of it, everybody else is whole."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis

from kith import wire
from kith.audit import Action
from kith.backends.audit_redis import RedisAudit
from kith.backends.erasure_redis import RedisErasure
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.gone_redis import RedisGoneGalleries
from kith.backends.images_directory import DirectoryImageStore
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.ledger_redis import RedisLedger
from kith.backends.results_redis import RedisResults
from kith.backends.samples_redis import RedisSamples
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.calibration_samples import SearchSample, Truth, group_of
from kith.erasure import asked_about
from kith.errors import StoreUnavailable, UnknownSubject
from kith.forget_check import Checker, Leftover
from kith.forgetting import Forgetting
from kith.gallery import Enrolment, template_id
from kith.jobs import Decision, EmbedJob, Face, ImageRef, Kind, Lane, Outcome, decide, now_ms
from kith.keys import SIGNING
from kith.ledger import DeadLetter, Start, WorkerBeat
from kith.receipts import Kind as What
from kith.receipts import SignedReceipt, signing_key, verify
from kith.settings import Settings
from tests.plain_gallery import unit
from workers.retention import Dropped, Retention

D = 64
NAME = "Ada Lovelace"
OLD_NAME = "Augusta Byron"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("forget")) as server:
        yield server


@dataclass
class House:
    """The parts, on a server of their own."""

    redis: redis.Redis
    galleries: RedisGalleryStore
    ledger: RedisLedger
    results: RedisResults
    samples: RedisSamples
    store: DirectoryImageStore
    audit: RedisAudit
    keys: DirectoryKeys
    erasure: RedisErasure

    def forget(self, name: str = NAME, wait_s: float = 0.3) -> SignedReceipt:
        forgetting = Forgetting(
            galleries=self.galleries, erasure=self.erasure, ledger=self.ledger, store=self.store, samples=self.samples,
            audit=self.audit, keys=self.keys, by="cli:test@here",
        )  # fmt: skip
        return forgetting.forget("staff", name, wait_s=wait_s)

    def left(self, signed: SignedReceipt, *names: str) -> list[Leftover]:
        gone = RedisGoneGalleries(self.redis, "kith")
        return list(Checker(self.erasure, gone, self.store, self.ledger, self.keys, "kith").check(signed, names))

    def enrol(self, name: str, seed: int, gallery: str = "staff", image: str | None = None) -> str:
        key = image or self.store.put(f"{name} {seed}".encode())
        known = template_id(gallery, name, key)
        self.galleries.enrol(gallery, [Enrolment(name, known, unit(seed, D), key, 0.5, "m")])
        return key

    def publish(self, job: EmbedJob, *decisions: Decision) -> None:
        self.ledger.accept_many([job])
        self.ledger.publish(job.job_id, decisions)

    def everything(self) -> bytes:
        """Every byte the server holds, serialised as on disk, uncompressed."""
        self.redis.config_set("rdbcompression", "no")
        return b"".join(key + (self.redis.dump(key) or b"") for key in self.redis.scan_iter(count=1000))


@pytest.fixture
def house(server: EmbeddedValkey, tmp_path: Path) -> Iterator[House]:
    settings = Settings()
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        galleries = RedisGalleryStore(client)
        for name in ("staff", "guests"):
            galleries.create(name, model_id="m", dimension=D)
        yield House(
            client, galleries, RedisLedger(client, settings), RedisResults(client, settings), RedisSamples(client),
            DirectoryImageStore(tmp_path / "images"), RedisAudit(client, "kith"), DirectoryKeys(tmp_path / "keys"),
            RedisErasure(client, "kith"),
        )  # fmt: skip


def job(job_id: str, *images: ImageRef, kind: Kind = Kind.IDENTIFY, lane: Lane = Lane.BULK) -> EmbedJob:
    return EmbedJob(job_id, kind, "staff", lane, images, now_ms())


def face(house: House, outcome: Outcome, name: str | None, nearest: str | None = None) -> Face:
    ids = {each.name: each.subject_id for each in house.galleries.subjects("staff")}
    near = nearest or name
    return Face(outcome, name, ids[name] if name else None, 0.8, near, ids[near] if near else None)


@dataclass
class Told:
    """What a busy week has left behind. hers: pictures that must go; stay: that must not."""

    hers: list[str]
    stay: list[str]
    vectors: list[bytes]
    others: list[bytes]


@pytest.fixture
def told(house: House) -> Told:
    hers = [house.enrol(OLD_NAME, 1), house.enrol(OLD_NAME, 2)]
    house.galleries.rename("staff", OLD_NAME, NAME)
    house.galleries.describe("staff", NAME, external_id="emp-1815", metadata={})
    hers.append(house.enrol(NAME, 3))
    removed = template_id("staff", NAME, hers[-1])
    house.galleries.remove("staff", NAME, [removed])
    hers.append(house.enrol("A. Lovelace", 4))
    house.galleries.merge("staff", "A. Lovelace", NAME)
    both = house.store.put(b"both of them")
    house.enrol(NAME, 5, image=both)
    stay = [house.enrol("Grace", 10), house.enrol("Grace", 11, image=both), house.enrol(NAME, 12, gallery="guests")]
    probes = [house.store.put(f"probe {n}".encode()) for n in range(6)]
    # Entries of others before, between and after hers, as they lie in one node of the stream.
    for n, (image, seen) in enumerate(
        [
            (probes[0], face(house, Outcome.MATCH, "Grace")),
            (probes[1], face(house, Outcome.MATCH, NAME)),
            (probes[2], replace(face(house, Outcome.MATCH, "Grace"), runner_up=NAME, runner_up_score=0.4)),
            (probes[3], face(house, Outcome.UNKNOWN, None, nearest=NAME)),
            (probes[0], face(house, Outcome.MATCH, "Grace")),
        ]
    ):
        asked = job(f"search{n}", ImageRef(image, label=f"cam{n}"))
        house.publish(asked, decide(asked, 0, seen.outcome, face=seen))
    asked = job("enrol", ImageRef(hers[0], OLD_NAME), kind=Kind.ENROL)
    known = template_id("staff", OLD_NAME, hers[0])
    enrolled = decide(asked, 0, Outcome.ENROLLED, face=Face(Outcome.ENROLLED, OLD_NAME), template_id=known)
    house.publish(asked, enrolled)
    asked = job("claim", ImageRef(probes[4], NAME), kind=Kind.VERIFY)
    house.publish(asked, decide(asked, 0, Outcome.UNKNOWN, face=Face(Outcome.UNKNOWN, score=0.1, nearest=NAME)))
    # Open: one image of hers among others'; decided but not published; buried; buried and unreadable.
    mixed = job("mixed", ImageRef(probes[5], "Grace"), ImageRef(hers[1], NAME, "ada/2.jpg"), kind=Kind.ENROL)
    saved = job("saved", ImageRef(probes[1]))
    buried = job("buried", ImageRef(probes[1], NAME), ImageRef(probes[0], "Grace"), kind=Kind.VERIFY)
    house.ledger.accept_many([mixed, saved, buried])
    house.ledger.save("saved", [decide(saved, 0, Outcome.MATCH, face=face(house, Outcome.MATCH, NAME))])
    reason = f"no_such_subject: nobody is called {NAME!r}"
    house.ledger.bury(DeadLetter("buried", "no_such_subject", reason, wire.to_json(buried), Lane.BULK, now_ms()))
    broken = json.dumps({"wire": 99, "who": NAME})
    house.ledger.bury(DeadLetter("broken", "unknown_wire_version", "newer", broken, Lane.BULK, now_ms()))
    her_id = house.galleries.show("staff", NAME).subject_id
    for n, (who, image) in enumerate([(her_id, "elsewhere"), ("", probes[1]), ("", probes[0])]):
        house.samples.put(
            SearchSample(f"d{n}", "staff", Truth.MATED if who else Truth.NONMATED, 0.5, group_of(who) if who else "x",
                         5, 5, "m", who, image, True, now_ms())
        )  # fmt: skip
    return Told(
        hers=[*hers, probes[1], probes[4]],
        stay=[*stay, both, probes[0], probes[2], probes[3], probes[5]],
        vectors=[unit(seed, D).tobytes() for seed in (1, 2, 3, 4, 5)],
        others=[unit(seed, D).tobytes() for seed in (10, 11, 12)],
    )


NAMES = [NAME, OLD_NAME, "A. Lovelace", "emp-1815", "ada/2.jpg"]


def test_no_byte_of_the_person_is_left_and_nothing_of_anybody_else_is_missing(house: House, told: Told) -> None:
    house.results.join("door")
    before = house.everything()
    assert all(vector in before for vector in told.vectors), "the scan is blind"
    assert all(name.encode() in before for name in NAMES), "the scan is blind"
    ids = [each.subject_id for each in house.galleries.subjects("staff") if each.name == NAME]

    signed = house.forget()

    # She has a namesake among the guests, whom nobody forgot.
    assert house.galleries.forget("guests", NAME).templates == 1
    after = house.everything()
    assert not any(vector[:16] in after or vector[-16:] in after for vector in told.vectors)
    assert not any(name.encode() in after for name in NAMES)
    assert all(vector in after for vector in told.others[:2])
    assert not any(house.store.exists(key) for key in told.hers)
    assert all(house.store.exists(key) for key in told.stay)
    # Her id stands in the audit log, and nowhere else.
    traces = b"".join(key + (house.redis.dump(key) or b"") for key in house.redis.scan_iter() if b"audit" not in key)
    assert ids[0].encode() not in traces
    assert house.left(signed, *NAMES) == []


def test_readers_and_groups_go_on_with_what_is_others(house: House, told: Told) -> None:
    house.results.join("door")
    taken = house.results.take("door", "a", limit=2)
    house.forget()
    kept = [entry.decision for entry in house.results.after("0")]
    assert [each.job_id for each in kept] == ["search0", "search2", "search3", "search4"]
    assert [each.face.subject for each in kept if each.face] == ["Grace", "Grace", None, "Grace"]
    assert kept[1].face is not None
    assert kept[1].face.runner_up is None
    assert kept[2].face is not None
    assert (kept[2].face.nearest, kept[2].face.nearest_id, kept[2].face.score) == (None, None, 0.8)
    first = house.results.take("door", "a", limit=9)
    assert [entry.decision.job_id for entry in first] == ["search0"]
    house.results.acknowledge("door", [taken[0].entry_id])
    rest = [entry.decision.job_id for entry in house.results.take("door", "a", limit=9)]
    assert rest == ["search2", "search3", "search4"]


def test_a_job_under_way_is_done_without_the_person_and_with_everybody_else(house: House, told: Told) -> None:
    house.forget()
    assert house.ledger.start("mixed", "w", "d1") is Start.EDITED
    mixed = wire.from_json(EmbedJob, house.ledger.payload("mixed") or "")
    assert [image.subject for image in mixed.images] == ["Grace", "forgotten"]
    assert mixed.images[1].label is None
    assert house.ledger.state("mixed").state == "started"
    [saved] = house.ledger.saved("saved")
    assert (saved.outcome, saved.face, saved.subject) == (Outcome.EXPIRED, None, None)
    [letter] = house.ledger.dead_letters()
    assert (letter.dead_id, letter.reason) == ("buried", "no_such_subject")
    assert house.ledger.revive("buried")


def test_the_receipt_counts_names_nobody_and_is_signed(house: House, told: Told) -> None:
    signed = house.forget()
    receipt = verify(signed, signing_key(house.keys.ring(SIGNING).newest).public_key())
    counts = {each.kind: each.count for each in receipt.erased}
    assert counts[What.VECTORS] == 4
    assert counts[What.JOURNAL_PAYLOADS] >= 7
    assert (counts[What.ENROLMENT_IMAGES], counts[What.PROBE_IMAGES]) == (4, 2)
    assert (counts[What.RESULTS], counts[What.NAMED]) == (3, 2)
    assert (counts[What.OPEN_JOBS], counts[What.DEAD_LETTERS], counts[What.CALIBRATION_SAMPLES]) == (2, 2, 2)
    text = wire.to_json(receipt)
    assert not any(name in text for name in NAMES)
    begun, done = house.audit.latest(2)
    assert [each.deed.action for each in (begun, done)] == [Action.FORGOT, Action.FORGOT]
    assert (begun.deed.detail["stage"], done.deed.detail["stage"]) == ("begun", "done")
    assert done.deed.sequence == receipt.sequence
    assert receipt.audit.endswith(done.digest)
    with pytest.raises(UnknownSubject):
        house.forget()


@pytest.mark.parametrize("breaks_at", range(1, 40, 3))
def test_interrupted_anywhere_the_same_call_completes_it(
    house: House, told: Told, monkeypatch: pytest.MonkeyPatch, breaks_at: int
) -> None:
    """Every deletion and every note is a place to break off."""
    left = [breaks_at]

    def fails_once(owner: object, verb: str) -> None:
        real = getattr(owner, verb)

        def call(*args: object, **options: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise StoreUnavailable("gone for a moment")
            return real(*args, **options)

        monkeypatch.setattr(owner, verb, call)

    for owner, verb in (
        (house.store, "delete"), (house.erasure, "note"), (house.erasure, "amend_result"), (house.erasure, "amend_job"),
        (house.erasure, "amend_letter"), (house.samples, "forget_images"), (house.galleries, "forget"),
    ):  # fmt: skip
        fails_once(owner, verb)
    try:
        signed = house.forget()
    except StoreUnavailable:
        text = b"".join(house.redis.hgetall("kith:forgetting").values())
        assert not any(name.encode() in text for name in NAMES), "the note of what is under way names nobody"
        signed = house.forget()
    assert not any(house.store.exists(key) for key in told.hers)
    assert house.left(signed, OLD_NAME, "A. Lovelace", "emp-1815") == []
    assert house.redis.exists("kith:forgetting") == 0


def test_workers_that_have_the_change_are_listed_and_those_that_do_not_say_so_are_too(house: House, told: Told) -> None:
    at = house.galleries.info("staff").sequence
    for worker, sequence in (("quick", at + 1), ("slow", at), ("elsewhere", None)):
        galleries = {} if sequence is None else {"staff": sequence}
        beat = WorkerBeat(worker, "embed", "h", 1, now_ms(), now_ms(), galleries=galleries)
        house.ledger.beat(beat)
    signed = house.forget()
    assert [each.worker_id for each in signed.receipt.replicas] == ["quick"]
    assert signed.receipt.silent == ("elsewhere", "slow"), "who names no copy must be heard after the change"
    assert [each.what for each in house.left(signed)] == ["replica"]


def test_a_picture_stays_for_the_job_of_another_gallery_that_asks_about_it(house: House, told: Told) -> None:
    picture = sorted(told.hers)[0]
    job = EmbedJob("elsewhere", Kind.IDENTIFY, "gate", Lane.BULK, (ImageRef(picture),), now_ms())
    house.ledger.accept_many([job])
    signed = house.forget()
    assert [key for key in sorted(told.hers) if house.store.exists(key)] == [picture]
    assert all(picture not in each.identifiers for each in signed.receipt.erased)
    assert house.ledger.start("elsewhere", "w", "d1") is Start.GO
    assert signed.receipt.silent == (f"a job that asks about picture {picture}",)
    assert [each.what for each in house.left(signed) if picture in each.where and "upkeep" in each.where] == ["picture"]
    retention = Retention(house.galleries, house.erasure, house.store, house.audit, Settings())
    assert retention.run() == Dropped(), "the job is open"
    assert house.store.exists(picture)
    house.ledger.bury(DeadLetter("elsewhere", "timeout", "late", wire.to_json(job), Lane.BULK, now_ms()))
    assert retention.run() == Dropped(pictures=1)
    assert not house.store.exists(picture)
    assert house.erasure.spared() == set()
    assert [each for each in house.left(signed) if each.what == "picture"] == []


def test_a_picture_that_stayed_for_a_job_and_is_somebody_elses_by_now_stays(house: House) -> None:
    picture = house.enrol(NAME, 1)
    job = EmbedJob("elsewhere", Kind.ENROL, "guests", Lane.BULK, (ImageRef(picture, "Grace"),), now_ms())
    house.ledger.accept_many([job])
    house.forget()
    assert house.erasure.spared() == {picture}
    house.enrol("Grace", 1, gallery="guests", image=picture)
    house.ledger.publish("elsewhere", [decide(job, 0, Outcome.ENROLLED, face=Face(Outcome.ENROLLED, "Grace"))])
    Retention(house.galleries, house.erasure, house.store, house.audit, Settings()).run()
    assert house.store.exists(picture)
    assert house.erasure.spared() == set()


def test_a_picture_stays_for_a_job_that_only_newer_workers_can_read(house: House) -> None:
    picture = house.enrol(NAME, 1)
    newer = json.dumps({"wire": 99, "gallery": "guests", "asked": [{"picture": picture}]})
    house.redis.hset("kith:job:newer", mapping={"payload": newer, "stage": "accepted"})
    house.redis.hset("kith:job:broken", mapping={"payload": "{" + newer, "stage": "accepted"})
    assert asked_about(house.erasure) == {picture}
    house.forget()
    assert house.store.exists(picture)
    house.redis.delete("kith:job:newer")
    assert asked_about(house.erasure) == set(), "what nobody can read protects nothing"


def test_the_number_of_another_gallery_of_that_name_says_nothing(house: House, told: Told) -> None:
    info = house.galleries.info("staff")
    for worker, sequence, epoch in (("former", 10**6, "former"), ("new", info.sequence + 1, info.epoch)):
        numbers: dict[str, dict[str, Any]] = {"galleries": {"staff": sequence}, "epochs": {"staff": epoch}}
        house.ledger.beat(WorkerBeat(worker, "embed", "h", 1, now_ms(), now_ms(), **numbers))
    signed = house.forget()
    assert [each.worker_id for each in signed.receipt.replicas] == ["new"]
    assert signed.receipt.silent == ("former",)
    # Made anew since, it counts from 1: no worker's copy of that one is behind.
    numbers = {"galleries": {"staff": 1}, "epochs": {"staff": "later"}}
    house.ledger.beat(WorkerBeat("new", "embed", "h", 1, now_ms(), now_ms(), **numbers))
    assert house.left(signed) == []


GHOSTS: dict[str, Callable[[House, Told], object]] = {
    "vector in a block": lambda house, told: house.redis.setrange("kith:g:staff:b:0", 9 * 4 * D, told.vectors[0]),
    "vector in the journal": lambda house, told: house.redis.hset(
        "kith:g:staff:payloads", "99", b"{}\n" + told.vectors[1]
    ),
    "name in the journal": lambda house, told: house.redis.hset(
        "kith:g:staff:payloads", "99", json.dumps({"name": NAME})
    ),
    "name": lambda house, told: house.redis.hset("kith:g:staff:names", NAME, 7),
    "name in a list of names": lambda house, told: house.redis.append(
        "kith:g:staff:n:0", json.dumps([7, "id", NAME]) + "\n"
    ),
    "former name in a decision": lambda house, told: house.redis.hset(
        "kith:results:told", "9-9", json.dumps({"gallery": "staff", "face": {"nearest": OLD_NAME}})
    ),
    "external id": lambda house, told: house.redis.hset("kith:g:staff:external", "emp-1815", 7),
    "name in a dead letter": lambda house, told: house.redis.hset(
        "kith:dead", "x", json.dumps({"payload": json.dumps({"images": [{"subject": NAME}]})})
    ),
    "name in an open job": lambda house, told: house.redis.hset(
        "kith:job:x", "payload", json.dumps({"gallery": "staff", "images": [{"subject": NAME}]}, separators=(",", ":"))
    ),
    "name in a message of the broker": lambda house, told: house.redis.lpush(
        "kith.bulk",
        json.dumps(
            {
                "body": base64.b64encode(
                    json.dumps([[json.dumps({"images": [{"subject": NAME}]})], {}]).encode()
                ).decode()
            }
        ),
    ),
    "subject id in a sample": lambda house, told: house.redis.hset(
        "kith:samples:staff", "d", json.dumps({"subject_id": house.audit.latest(1)[0].deed.subject_id})
    ),
    "picture": lambda house, told: house.store.put(b"Augusta Byron 1"),
    "probe": lambda house, told: house.store.put(b"probe 1"),
}


@pytest.mark.parametrize("ghost", GHOSTS)
def test_the_checker_finds_a_ghost_wherever_it_stands(house: House, told: Told, ghost: str) -> None:
    signed = house.forget()
    assert house.left(signed) == []
    GHOSTS[ghost](house, told)
    assert len(house.left(signed)) == 1


def test_a_namesake_in_another_gallery_is_no_leftover(house: House, told: Told) -> None:
    signed = house.forget()
    asked = replace(job("other", ImageRef("k", NAME), kind=Kind.VERIFY), gallery="guests")
    house.publish(asked, decide(asked, 0, Outcome.MATCH, face=Face(Outcome.MATCH, NAME, nearest=NAME)))
    assert house.left(signed) == []


def test_somebody_who_was_merged_into_the_person_by_mistake_and_is_somebody_again_stays_whole(house: House) -> None:
    house.enrol(NAME, 1)
    mistaken = house.enrol("Ada Byron King", 2)
    house.galleries.undo("staff", house.galleries.merge("staff", "Ada Byron King", NAME))
    first = job("first", ImageRef(house.store.put(b"probe")))
    house.publish(first, decide(first, 0, Outcome.MATCH, face=face(house, Outcome.MATCH, "Ada Byron King")))
    signed = house.forget()
    assert house.left(signed) == []
    assert [each.name for each in house.galleries.subjects("staff")] == ["Ada Byron King"]
    assert house.store.get(mistaken) == b"Ada Byron King 2"
    assert [entry.decision.subject for entry in house.results.after("0")] == ["Ada Byron King"]


@pytest.mark.parametrize("how", ["undone", "merged", "merged on", "taken out since"])
def test_one_who_is_no_more_is_forgotten_by_the_name_he_had(house: House, how: str) -> None:
    gone, stay = [house.enrol(NAME, 1), house.enrol(NAME, 2)], [house.enrol("Grace", 3)]
    house.galleries.describe("staff", NAME, external_id="emp-1815", metadata={"room": "7"})
    [her_id] = house.galleries.ids("staff", NAME)
    probe = job("search", ImageRef(house.store.put(b"probe")))
    house.publish(probe, decide(probe, 0, Outcome.MATCH, face=face(house, Outcome.MATCH, NAME)))
    if how == "undone":
        for change in (2, 1):
            house.galleries.undo("staff", change)
    else:
        house.galleries.merge("staff", NAME, "Grace")
    if how == "merged on":
        stay.append(house.enrol("Hedy", 4))
        house.galleries.merge("staff", "Grace", "Hedy")
    if how == "taken out since":
        taken = [template_id("staff", NAME, gone[0]), template_id("staff", "Grace", stay[0])]
        house.galleries.remove("staff", "Grace", taken)
    vectors = [unit(seed, D).tobytes() for seed in (1, 2)]
    before = house.everything()
    assert all(vector in before for vector in vectors), "the scan is blind"
    assert NAME.encode() in before

    signed = house.forget()

    after = house.everything()
    assert not any(vector[:16] in after or vector[-16:] in after for vector in vectors)
    assert not any(name in after for name in (NAME.encode(), b"emp-1815"))
    assert unit(3, D).tobytes() in after
    assert not any(house.store.exists(key) for key in gone)
    assert all(house.store.exists(key) for key in stay)
    assert [entry.decision for entry in house.results.after("0")] == []
    assert (signed.receipt.subject_id, len(signed.receipt.traces.rows if signed.receipt.traces else ())) == (her_id, 2)
    assert house.left(signed, NAME, "emp-1815") == []
    assert {each.deed.subject_id for each in house.audit.latest(2)} == {her_id}
    with pytest.raises(UnknownSubject):
        house.forget()


def test_whoever_has_the_name_now_goes_with_whoever_had_it_and_ended(house: House) -> None:
    first = house.enrol(NAME, 1)
    house.galleries.undo("staff", 1)
    second = house.enrol(NAME, 2)
    ids = house.galleries.ids("staff", NAME)
    signed = house.forget()
    assert not house.store.exists(first)
    assert not house.store.exists(second)
    assert house.left(signed, NAME) == []
    begun = [each.deed.subject_id for each in house.audit.latest(9) if each.deed.detail["stage"] == "begun"]
    assert begun == ids
    assert len(ids) == 2


def test_one_who_gets_another_name_meanwhile_is_forgotten_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.enrol(NAME, 1)
    real = house.erasure.holdings

    def holdings(gallery: str, subject: str) -> object:
        found = real(gallery, subject)
        house.galleries.rename("staff", NAME, "Countess")
        house.enrol(NAME, 2)
        return found

    monkeypatch.setattr(house.erasure, "holdings", holdings)
    house.forget()
    assert [each.name for each in house.galleries.subjects("staff")] == [NAME], "his namesake, enrolled since, stays"
    assert unit(1, D).tobytes() not in house.everything()
