"""Forgetting a gallery whole, on a real server: nothing of it is left in any byte, every other gallery is untouched."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import redis
from typer.testing import CliRunner

from kith import cli, wire
from kith.audit import Action
from kith.backends.gone_redis import RedisGoneGalleries
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.calibration_samples import SearchSample, Truth
from kith.cameras import Camera
from kith.client import Client
from kith.connections import connect
from kith.deleting import Deleting
from kith.errors import JobDead, Misconfigured, StateFull, StoreUnavailable, UnknownGallery
from kith.forgetting_galleries import GalleryForgetting
from kith.gallery import BeingForgotten, Enrolment, GalleryDamaged, template_id
from kith.held import ForgottenBySomebody
from kith.jobs import EmbedJob, Face, ImageRef, Kind, Lane, Outcome, Quality, decide, now_ms
from kith.keys import SIGNING
from kith.ledger import DeadLetter, Start, WorkerBeat
from kith.receipts import Kind as What
from kith.receipts import SignedReceipt, signing_key, verify
from kith.settings import Redis, Security, Settings, Store
from kith.watching.events import Event, EventKind
from kith.watching.news import TrackBegun
from kith.watching.state import Changes
from kith.watching.store import Step
from tests.plain_gallery import unit

D = 64
WAIT_S = 0.2
#: Long enough for a busy machine to renew it in time.
LEASE_S = 4.0
_GOOD = Quality(0.6, 0.8, 0.9, 0.9, 1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path_factory.mktemp("forget")) as server:
        yield server


@dataclass
class House:
    """A client on a server of its own, and what a busy week has left behind in gallery `staff`. theirs: pictures that
    must go; stay: that must not. vectors: of people of staff; others: of guests."""

    client: Client
    redis: redis.Redis
    settings: Settings
    theirs: list[str]
    stay: list[str]
    vectors: list[bytes]
    others: list[bytes]

    def forget(self) -> SignedReceipt:
        return self.client.forget_gallery("staff", wait_s=WAIT_S)

    def left(self, signed: SignedReceipt) -> list[tuple[str, str]]:
        return [(each.what, each.where) for each in self.client.check_forgotten(signed)]

    def everything(self, but: bytes = b"\0") -> bytes:
        """Every byte the server holds, serialised as on disk, uncompressed."""
        self.redis.config_set("rdbcompression", "no")
        keys = [key for key in self.redis.scan_iter(count=1000) if but not in key]
        return b"".join(key + (self.redis.dump(key) or b"") for key in keys)

    def of_guests(self) -> dict[bytes, bytes | None]:
        return {key: self.redis.dump(key) for key in self.redis.scan_iter("kith:g:guests:*")}


def enrol(client: Client, gallery: str, name: str, seed: int, image: str | None = None) -> str:
    key = image or client.store.put(f"{gallery} {name} {seed}".encode())
    known = template_id(gallery, name, key)
    client._galleries.enrol(gallery, [Enrolment(name, known, unit(seed, D), key, 0.5, "m")])
    return key


def job(job_id: str, gallery: str, *images: ImageRef, kind: Kind = Kind.IDENTIFY) -> EmbedJob:
    return EmbedJob(job_id, kind, gallery, Lane.BULK, images, now_ms())


def publish(client: Client, asked: EmbedJob, *faces: Face) -> None:
    client.ledger.accept_many([asked])
    client.ledger.publish(asked.job_id, [decide(asked, at, face.outcome, face=face) for at, face in enumerate(faces)])


@pytest.fixture(params=["plain", "sealed"])
def house(server: EmbeddedValkey, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    settings = Settings(
        home=tmp_path / "home",
        redis=Redis(url=server.url),
        store=Store(directory=tmp_path / "images"),
        security=Security(encrypt=request.param == "sealed", keys_directory=tmp_path / "keys"),
    )
    with redis.Redis.from_url(server.url) as raw, Client(settings, connect(settings)) as client:
        raw.flushall()
        yield inhabited(client, raw, settings)


def inhabited(client: Client, raw: redis.Redis, settings: Settings) -> House:
    for name in ("staff", "guests"):
        client.galleries.create(name, model_id="m", dimension=D)
    both = client.store.put(b"in both galleries")
    theirs = [enrol(client, "staff", "Ada Lovelace", 1), enrol(client, "staff", "Ada Lovelace", 2)]
    theirs += [enrol(client, "staff", "Grace Hopper", 3)]
    enrol(client, "staff", "Ada Lovelace", 4, image=both)
    removed = template_id("staff", "Ada Lovelace", theirs[1])
    client.galleries.remove("staff", "Ada Lovelace", [removed])
    client.galleries.describe("staff", "Grace Hopper", external_id="emp-1906", metadata={"site": "Arlington"})
    client.galleries.rename("staff", "Grace Hopper", "Amazing Grace")
    stay = [both, enrol(client, "guests", "Ada Lovelace", 11), enrol(client, "guests", "Vera Rubin", 12, image=both)]
    probes = [client.store.put(f"probe {n}".encode()) for n in range(9)]
    nobody = Face(Outcome.UNKNOWN, None, None, 0.1)
    publish(client, job("who", "staff", ImageRef(probes[0])), Face(Outcome.MATCH, "Ada Lovelace", "1", 0.8))
    publish(client, job("none", "staff", ImageRef(probes[1], label="cam 1")), nobody)
    publish(client, job("guest", "guests", ImageRef(probes[2])), nobody)
    # Of staff: open, one decided already, one about a picture that guests ask about too; buried, and unreadable.
    waiting, saved = (
        job("waiting", "staff", ImageRef(probes[3], "Ada Lovelace")),
        job("saved", "staff", ImageRef(probes[4])),
    )
    shared, asking = job("shared", "staff", ImageRef(probes[5])), job("asking", "guests", ImageRef(probes[5]))
    client.ledger.accept_many([waiting, saved, shared, asking])
    client.ledger.save("saved", [decide(saved, 0, Outcome.MATCH, face=Face(Outcome.MATCH, "Ada Lovelace", "1", 0.8))])
    for name, payload in (
        ("buried", wire.to_json(job("buried", "staff", ImageRef(probes[6], "Ada Lovelace"), kind=Kind.VERIFY))),
        ("newer", json.dumps({"wire": 99, "gallery": "staff", "created_ms": now_ms(), "who": "Ada Lovelace"})),
        ("guests", wire.to_json(job("g", "guests", ImageRef(stay[1], "Vera Rubin"), kind=Kind.VERIFY))),
    ):
        client.ledger.bury(DeadLetter(name, "no_such_subject", "Ada Lovelace", payload, Lane.BULK, now_ms()))
    for gallery in ("staff", "guests"):
        sample = SearchSample(
            f"d-{gallery}", gallery, Truth.NONMATED, 0.5, "x", 5, 5, "m", "", probes[0], True, now_ms()
        )
        client.samples.put(sample)
        client.cameras.add(Camera(f"at-{gallery}", "rtsp://127.0.0.1:9/", gallery))
        watched(client, gallery, probes[7] if gallery == "staff" else probes[8])
    theirs += [probes[at] for at in (0, 1, 3, 4, 6, 7)]
    stay += [probes[at] for at in (2, 5, 8)]
    vectors = [unit(seed, D).tobytes() for seed in (1, 2, 3, 4)]
    return House(client, raw, settings, theirs, stay, vectors, [unit(seed, D).tobytes() for seed in (11, 12)])


def watched(client: Client, gallery: str, picture: str) -> None:
    """A camera saw somebody: an event is told, a crop is kept, and news wait for the watcher."""
    store = client._connections.watched.store
    rows = unit(21, D)[np.newaxis]
    event = Event(f"e-{gallery}", EventKind.NEW, gallery, at_ms=now_ms(), subject="Ada Lovelace", snapshot=picture)
    kept = Changes({"next": "2"}, {"s:1": rows}, {picture: now_ms()})
    assert store.lead("w", 60)
    assert store.commit("w", Step(gallery, 1, "0-0", kept, [event])) == "done"
    store.leave("w")
    client.sightings.tell(gallery, [TrackBegun(f"at-{gallery}", f"at-{gallery}.r.1", now_ms())])


NAMES = [b"Amazing Grace", b"Grace Hopper", b"emp-1906", b"Arlington", b"cam 1"]


def counts(signed: SignedReceipt) -> dict[str, int]:
    return {each.kind.value: each.count for each in signed.receipt.erased if each.count}


def test_no_byte_of_the_gallery_is_left_and_every_other_one_is_as_it_was(house: House) -> None:
    before, guests = house.everything(), house.of_guests()
    sealed = house.settings.security.encrypt
    assert all(name in before for name in NAMES), "the scan is blind"
    assert sealed or all(vector in before for vector in house.vectors), "the scan is blind"
    epoch, sequence = (house.client.galleries.info("staff").epoch, house.client.galleries.info("staff").sequence)

    signed = house.forget()

    after = house.everything()
    assert not any(vector[:16] in after or vector[-16:] in after for vector in house.vectors)
    assert not any(name in after for name in NAMES)
    assert sealed or all(vector in after for vector in house.others)
    assert house.of_guests() == guests
    assert [each.name for each in house.client.galleries.galleries()] == ["guests"]
    assert not any(house.client.store.exists(key) for key in house.theirs)
    assert all(house.client.store.exists(key) for key in house.stay)
    assert (signed.receipt.subject_id, signed.receipt.epoch, signed.receipt.sequence) == (None, epoch, sequence)
    assert counts(signed) == {
        "vectors": 3, "journal_payloads": 7, "enrolment_images": 3, "probe_images": 6, "results": 2, "events": 1,
        "open_jobs": 3, "dead_letters": 2, "calibration_samples": 1, **({"keys": 1} if sealed else {}),
    }  # fmt: skip
    assert house.left(signed) == []
    assert ("staff" in house.client.keys.galleries()) is False
    # What names the gallery and nobody in it: settings, the audit log, and answers to changes, for some minutes.
    bearing = {key.decode() for key in house.redis.scan_iter("*staff*")}
    assert {key for key in bearing if not key.startswith("kith:g:staff:r:")} <= {"kith:cameras:counts:at-staff"}
    with pytest.raises(UnknownGallery):
        house.forget()


def test_what_is_others_is_still_there_and_open_jobs_end(house: House) -> None:
    client = house.client
    house.forget()
    assert [entry.decision.job_id for entry in client.results.after("0")] == ["guest"]
    assert [entry.event.gallery for entry in client.events.after("0-0")] == ["guests"]
    assert len(client.samples.samples("guests")) == 1
    assert client.samples.samples("staff") == []
    assert set(dict(client.erasure.dead_letters())) == {"guests"}
    assert client.sightings.galleries() == ["guests"]
    assert set(client._connections.watched.store.load("guests").vectors) == {"s:1"}
    assert {camera.name: camera.paused_why for camera in client.cameras.all()} == {
        "at-staff": "gallery staff was forgotten",
        "at-guests": None,
    }
    # Whoever waits for one is told that nothing comes, and its message finds nothing to do.
    assert {name: client.ledger.state(name).state for name in ("waiting", "shared", "saved", "asking")} == {
        "waiting": "cancelled",
        "shared": "cancelled",
        "saved": "cancelled",
        "asking": "sent",
    }
    assert client.ledger.start("waiting", "w", "d1") is Start.FINISHED
    for each in ("waiting", "saved"):
        with pytest.raises(JobDead, match="cancelled, or its gallery was forgotten"):
            client.wait(each, 5)
    asking = wire.from_json(EmbedJob, client.ledger.payload("asking") or "")
    assert client.store.exists(asking.images[0].key)


def test_the_receipt_is_signed_names_nobody_and_says_what_waits_for_whom(house: House) -> None:
    signed = house.forget()
    public = [signing_key(key).public_key() for key in house.client.keys.ring(SIGNING).keys]
    assert verify(signed, *public) == signed.receipt
    text = wire.to_json(signed.receipt)
    assert not any(name.decode() in text for name in [*NAMES, b"Ada Lovelace"])
    [picture] = [image.key for image in wire.from_json(EmbedJob, house.client.ledger.payload("asking") or "").images]
    assert signed.receipt.silent == (f"a job that asks about picture {picture}",)
    assert picture in house.client.erasure.spared()
    deeds = [each.deed for each in house.client.audit.latest(50) if each.deed.action is Action.FORGOT]
    assert [(each.gallery, each.subject_id, each.detail["stage"]) for each in deeds] == [
        ("staff", None, "begun"),
        ("staff", None, "done"),
    ]


class Interrupted(BaseException):
    """Somebody pulled the plug."""


def interrupted(house: House, monkeypatch: pytest.MonkeyPatch, part: Any, verb: str, at: int, *, after: bool) -> bool:
    """Forget, broken off before or after the `at`-th call of a part; whether it came to that."""
    # Some are called by several threads.
    calls, whole = count(1), getattr(part, verb)

    def broken(*arguments: Any, **more: Any) -> Any:
        now = next(calls) == at
        if now and not after:
            raise Interrupted
        answer = whole(*arguments, **more)
        if now:
            raise Interrupted
        return answer

    with monkeypatch.context() as patch, suppress(Interrupted):
        patch.setattr(part, verb, broken)
        house.forget()
        return False
    return True


PARTS: dict[str, Callable[[Client], tuple[Any, str]]] = {
    **{
        f"gone.{verb}": lambda c, verb=verb: (c._connections.gone, verb)
        for verb in ("note", "ask", "standing", "finish")
    },
    **{f"gone.{verb}": lambda c, verb=verb: (c._connections.gone, verb) for verb in ("dropped", "going")},
    **{f"erasure.{verb}": lambda c, verb=verb: (c.erasure, verb) for verb in ("amend_result", "amend_letter", "spare")},
    **{f"ledger.{verb}": lambda c, verb=verb: (c.ledger, verb) for verb in ("cancel", "workers")},
    "erasure.forget_pending": lambda c: (c.erasure, "forget_pending"),
    **{f"keys.{verb}": lambda c, verb=verb: (c.keys, verb) for verb in ("destroy", "check_changeable", "ring")},
    **{f"watched.{verb}": lambda c, verb=verb: (c._watched, verb) for verb in ("leave_gallery", "kept", "wipe")},
    "events.amend": lambda c: (c.events, "amend"),
    "galleries.drop": lambda c: (c._galleries, "drop"),
    "store.delete": lambda c: (c.store, "delete"),
    "samples.forget_gallery": lambda c: (c.samples, "forget_gallery"),
    "audit.record": lambda c: (c.audit, "record"),
    "cameras.pause": lambda c: (c.cameras, "pause"),
}


@pytest.mark.parametrize("house", ["sealed"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", PARTS)
def test_broken_off_anywhere_the_same_call_goes_on_to_the_same_end(
    house: House, monkeypatch: pytest.MonkeyPatch, where: str, after: bool
) -> None:
    at, part = 0, PARTS[where](house.client)
    while interrupted(house, monkeypatch, *part, at := at + 1, after=after):
        if "staff" in {each.name for each in house.client.galleries.galleries()}:
            continue
        if not house.redis.hexists("kith:gone", "staff"):
            # All was done but the answer.
            at += 1
            break
        with pytest.raises(BeingForgotten, match="kith gallery forget staff"):
            house.client.galleries.create("staff", model_id="m", dimension=D)
    assert at > 1, "it was never broken off"
    everything = house.everything()
    assert not any(name in everything for name in NAMES)
    assert not any(house.client.store.exists(key) for key in house.theirs)
    assert all(house.client.store.exists(key) for key in house.stay)
    assert not list(house.redis.scan_iter("kith:gone*"))
    assert not list(house.redis.scan_iter("kith:watch:staff*"))
    assert [each.name for each in house.client.galleries.galleries()] == ["guests"]
    deeds = [each.deed for each in house.client.audit.latest(200) if each.deed.action is Action.FORGOT]
    done = [each.detail for each in deeds if each.detail["stage"] == "done"][-1]
    # What was erased right before it was broken off may not have been counted; what the gallery held always is.
    assert (done["vectors"], done["journal_payloads"], done["keys"]) == (3, 7, 1)
    if not after:
        expected = {"results": 2, "events": 1, "dead_letters": 2, "calibration_samples": 1, "enrolment_images": 3}
        if where not in ("gone.note", "store.delete", "events.amend", "erasure.amend_result", "erasure.amend_letter"):
            assert {kind: done.get(kind, 0) for kind in expected} == expected


def test_the_name_is_free_when_all_is_done_and_what_comes_then_is_the_next_one_s(house: House) -> None:
    client = house.client
    signed = house.forget()
    client.galleries.create("staff", model_id="m", dimension=D)
    enrolled = enrol(client, "staff", "Emmy Noether", 31)
    probe = client.store.put(b"a later probe")
    publish(client, job("later", "staff", ImageRef(probe)), Face(Outcome.MATCH, "Emmy Noether", "1", 0.9))
    watched(client, "staff", probe)
    # A worker that enrolled somebody in it, and holds no copy of it.
    client.ledger.beat(beat("enrols", {"staff": 1}, {}))
    assert house.left(signed) == []
    assert (client.store.exists(enrolled), client.store.exists(probe)) == (True, True)
    assert client.galleries.info("staff").subjects == 1


@pytest.mark.parametrize("house", ["plain"], indirect=True)
def test_two_do_not_forget_it_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kith.held._LEASE_S", LEASE_S)
    entered, goes_on = threading.Event(), threading.Event()
    whole = house.client._galleries.drop

    def drop(name: str, epoch: str) -> Any:
        entered.set()
        assert goes_on.wait(30)
        return whole(name, epoch)

    monkeypatch.setattr(house.client._galleries, "drop", drop)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(house.forget)
        assert entered.wait(30)
        # However long that takes.
        time.sleep(1.5 * LEASE_S)
        with pytest.raises(ForgottenBySomebody, match="by somebody else just now"):
            house.forget()
        goes_on.set()
        assert counts(first.result(30))["vectors"] == 3
    with pytest.raises(UnknownGallery):
        house.forget()


def test_jobs_handed_in_meanwhile_end_too_and_make_no_gallery_of_the_name(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, late = house.client, house.client.store.put(b"somebody new")
    whole = client._galleries.drop

    def drop(name: str, epoch: str) -> Any:
        answer = whole(name, epoch)
        client.ledger.accept_many([job("late", "staff", ImageRef(late, "Emmy Noether"), kind=Kind.ENROL)])
        # A worker takes it now.
        with pytest.raises(BeingForgotten):
            client._galleries.create("staff", model_id="m", dimension=D)
        client.ledger.accept_many([job("in hand", "staff", ImageRef(late, "Emmy Noether"), kind=Kind.ENROL)])
        client.ledger.start("in hand", "w", "d1")
        return answer

    monkeypatch.setattr(client._galleries, "drop", drop)
    signed = house.forget()
    assert client.ledger.state("late").state == "cancelled"
    assert "job in hand" in signed.receipt.silent
    # What its worker decides is published nowhere.
    decided = decide(job("in hand", "staff", ImageRef(late), kind=Kind.IDENTIFY), 0, Outcome.UNKNOWN)
    client.ledger.publish("in hand", [decided])
    assert [entry.decision.job_id for entry in client.results.after("0")] == ["guest"]
    assert not client.store.exists(late)
    assert house.left(signed) == []
    assert [each.name for each in client.galleries.galleries()] == ["guests"]
    # Nor was a key made for one.
    assert "staff" not in client.keys.galleries()


@pytest.mark.parametrize("rubbish", ["rubbish", "inf", "nan", "-1", None])
@pytest.mark.parametrize("field", ["settings", "sequence", "created_ms", "next_slot", "next_subject", "epoch"])
def test_a_damaged_gallery_can_be_forgotten(house: House, field: str, rubbish: str | None) -> None:
    if rubbish is None:
        house.redis.hdel("kith:g:staff:meta", field)
    else:
        house.redis.hset("kith:g:staff:meta", field, rubbish)
    house.redis.hset("kith:g:staff:payloads", "1", "rubbish")
    if (field, rubbish) not in (("sequence", "-1"), ("created_ms", "-1")) and field not in (
        "next_slot",
        "next_subject",
        "epoch",
    ):
        with pytest.raises(GalleryDamaged, match="kith gallery forget"):
            house.client.galleries.info("staff")
        assert [each.name for each in house.client.galleries.galleries()] == ["guests"]
    assert counts(house.forget())["vectors"] == 3
    assert not any(house.client.store.exists(key) for key in house.theirs)
    assert not [key for key in house.redis.scan_iter("kith:g:staff:*") if b":r:" not in key]


@pytest.mark.parametrize("house", ["sealed"], indirect=True)
@pytest.mark.parametrize("asleep", ["before the drop", "while it waits", "before it erases"])
def test_who_sleeps_longer_than_others_wait_wakes_and_touches_nothing_of_the_next_gallery(
    house: House, monkeypatch: pytest.MonkeyPatch, asleep: str
) -> None:
    client = house.client
    part, verb = {
        "before the drop": (client.keys, "check_changeable"),
        "while it waits": (client.ledger, "workers"),
        "before it erases": (client._watched, "kept"),
    }[asleep]
    monkeypatch.setattr("kith.held._LEASE_S", LEASE_S)
    whole, later = getattr(part, verb), list[str]()

    def sleeps(*arguments: Any) -> Any:
        monkeypatch.setattr(part, verb, whole)
        # Stopped, with the thread that holds the gallery, until others may go on.
        gone = client._connections.gone
        awake, hold = threading.Event(), gone.hold
        monkeypatch.setattr(gone, "hold", lambda *given: awake.wait(30) and hold(*given))
        time.sleep(1.2 * LEASE_S)
        GalleryForgetting(
            galleries=client._galleries, gone=RedisGoneGalleries(house.redis, "kith"), erasure=client.erasure,
            ledger=client.ledger, store=client.store, samples=client.samples, cameras=client.cameras,
            watched=client._watched, audit=client.audit, keys=client.keys, by="cli:other@there",
        ).forget("staff", wait_s=WAIT_S)  # fmt: skip
        client.galleries.create("staff", model_id="m", dimension=D)
        later.append(enrol(client, "staff", "Emmy Noether", 31))
        later.append(client.store.put(b"a later probe"))
        publish(client, job("later", "staff", ImageRef(later[1])), Face(Outcome.MATCH, "Emmy Noether", "1", 0.9))
        awake.set()
        return whole(*arguments)

    monkeypatch.setattr(part, verb, sleeps)
    with pytest.raises((ForgottenBySomebody, UnknownGallery)):
        house.forget()
    assert all(client.store.exists(key) for key in later)
    assert len(client.keys.ring("staff").keys) == 1
    assert client._galleries.snapshot("staff").names
    assert [entry.decision.job_id for entry in client.results.after("0")] == ["guest", "later"]
    assert client.gone.all() == {}
    # It can be forgotten like any other.
    assert counts(house.forget())["vectors"] == 1


def test_a_forgetting_of_a_person_that_was_broken_off_is_not_gone_on_with_in_the_next_gallery(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = house.client
    with monkeypatch.context() as patch, suppress(Interrupted):
        patch.setattr(client.samples, "forget_subject", raising)
        client.forget("Amazing Grace", gallery="staff", wait_s=WAIT_S)
    assert house.redis.hlen("kith:forgetting") == 1
    noted = house.redis.hgetall("kith:forgetting")
    house.forget()
    assert house.redis.hlen("kith:forgetting") == 0
    client.galleries.create("staff", model_id="m", dimension=D)
    enrolled = enrol(client, "staff", "Amazing Grace", 41)
    # Nor where the note has come back, with a copy of the state.
    house.redis.hset("kith:forgetting", mapping=noted)
    signed = client.forget("Amazing Grace", gallery="staff", wait_s=WAIT_S)
    assert {each.kind: each.count for each in signed.receipt.erased}[What.VECTORS] == 1
    assert client.galleries.info("staff").subjects == 0
    assert not client.store.exists(enrolled)


def raising(*_: Any) -> None:
    raise Interrupted


def test_a_picture_that_another_gallery_asks_about_a_moment_before_it_is_deleted_stays(house: House) -> None:
    client = house.client
    one, two = client.store.put(b"one"), client.store.put(b"two")
    with Deleting(client.erasure, client.store) as deleting:
        assert deleting.delete({one}) == 1
        client.ledger.accept_many([job("now", "guests", ImageRef(two, "Vera Rubin"), kind=Kind.ENROL)])
        assert deleting.delete({two}) == 0
        assert deleting.left == {two}
        assert client.store.exists(two)
        # And goes once nobody asks.
        client.ledger.cancel("now")
        assert deleting.delete({two}) == 1


def test_it_works_when_redis_is_full(house: House) -> None:
    house.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StateFull):
            house.client.galleries.create("late", model_id="m", dimension=D)
        signed = house.forget()
    finally:
        house.redis.config_set("maxmemory", 0)
    assert counts(signed)["vectors"] == 3
    assert "cameras that could not be paused, for Redis is full: at-staff" in signed.receipt.silent
    assert not any(house.client.store.exists(key) for key in house.theirs)
    assert house.left(signed) == []


def beat(worker_id: str, galleries: dict[str, int], epochs: dict[str, str], seen_ms: int | None = None) -> WorkerBeat:
    return WorkerBeat(worker_id, "embed", "h", 1, 0, seen_ms or now_ms(), galleries=galleries, epochs=epochs)


def test_workers_have_to_say_that_their_copies_are_gone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    client, epoch = house.client, house.client.galleries.info("staff").epoch
    looks = iter(range(1, 1000))

    def workers() -> list[WorkerBeat]:
        look = next(looks)
        return [
            # Lets it go at the third look, wiped at the fourth.
            beat(
                "lets go",
                {"staff": [9, 9, -1][look - 1]} if look < 4 else {},
                {"staff": epoch} if look < 3 else {},
                look,
            ),
            beat("has another", {"staff": 2}, {"staff": "another"}, look),
            beat("never had it", {"guests": 2}, {}, look),
            beat("holds on", {"staff": 9}, {"staff": epoch}, look),
            beat("not wiped", {"staff": -1}, {}, look),
            beat("stopped", {}, {}, 7),
        ]

    monkeypatch.setattr(client.ledger, "workers", workers)
    signed = client.forget_gallery("staff", wait_s=1.0)
    assert [each.worker_id for each in signed.receipt.replicas] == ["lets go"]
    assert signed.receipt.silent[:3] == ("holds on", "not wiped", "stopped")
    left = {where for what, where in house.left(signed) if what == "replica"}
    assert left == {"worker holds on", "worker not wiped"}


def test_the_checker_finds_whatever_is_put_back(house: House) -> None:
    client = house.client
    epoch = client.galleries.info("staff").epoch
    results, events = house.redis.hgetall("kith:results:told"), house.redis.hgetall("kith:events:told")
    signed = house.forget()
    assert house.left(signed) == []
    for key, kept in (("kith:results:told", results), ("kith:events:told", events)):
        house.redis.hset(key, mapping={field: text for field, text in kept.items() if b'"staff"' in text})
    house.redis.hset(f"kith:gone:{epoch}:templates", "t", '[1,0,"ab/cd"]')
    house.redis.set(f"kith:gone:{epoch}:b:0", b"1")
    house.redis.set("kith:g:staff:n:0", b"1")
    house.redis.hset("kith:watch:staff", "next", "2")
    early = replace(job("early", "staff", ImageRef("ab/cd")), created_ms=signed.receipt.at_ms - 1)
    client.ledger.accept_many([early])
    client.ledger.bury(DeadLetter("b", "x", "y", wire.to_json(replace(early, job_id="b")), Lane.BULK, now_ms()))
    assert sorted(what for what, _ in house.left(signed)) == [
        "decision", "decision", "event", "gallery", "gallery", "name", "name", "picture", "picture",
    ]  # fmt: skip
    # Another gallery of the name answers for what came after it.
    later = replace(early, job_id="later", created_ms=signed.receipt.at_ms + 60_000)
    client.ledger.accept_many([later])
    assert not any("later" in where for _, where in house.left(signed))


@pytest.mark.parametrize("house", ["plain"], indirect=True)
def test_keys_that_others_keep_are_named_in_the_receipt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(gallery: str) -> None:
        raise Misconfigured(f"the keys of {gallery} stand in the settings")

    monkeypatch.setattr(house.client.keys, "check_changeable", elsewhere)
    signed = house.forget()
    assert "whoever keeps the keys of gallery staff: the keys of staff stand in the settings" in signed.receipt.silent


def test_while_the_store_is_away_nothing_that_tells_of_pictures_is_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(key: str) -> bool:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(house.client.store, "delete", away)
        with pytest.raises(StoreUnavailable):
            house.forget()
    # Nobody is matched in it any more all the same.
    with pytest.raises(UnknownGallery):
        house.client.galleries.info("staff")
    house.forget()
    assert not any(house.client.store.exists(key) for key in house.theirs)


class TestFromTheCommandLine:
    @pytest.fixture
    def run(self, house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        monkeypatch.setenv("KITH_REDIS__URL", house.settings.redis.url.get_secret_value())
        monkeypatch.setenv("KITH_STORE__DIRECTORY", str(house.settings.store.directory))
        monkeypatch.setenv("KITH_SECURITY__KEYS_DIRECTORY", str(house.settings.keys_directory))
        monkeypatch.setenv("KITH_HOME", str(house.settings.home))
        monkeypatch.setattr("kith.confirming._LOOK_EVERY_S", 0.01)
        return lambda *arguments, **more: CliRunner().invoke(cli.app, arguments, **more)

    def test_the_name_is_typed_and_the_receipt_is_written_and_checked(
        self, house: House, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run("gallery", "forget", "staff").exit_code == 2
        monkeypatch.setattr("kith.cli.asking.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
        refused = run("gallery", "forget", "staff", input="stuff\n")
        assert (refused.exit_code, house.client.galleries.info("staff").subjects) == (1, 2)
        assert "2 people with 3 templates" in refused.stderr
        done = run("gallery", "forget", "staff", "--yes")
        assert done.exit_code == 0, done.output
        assert "everybody of gallery staff was forgotten" in done.stdout
        assert "paused, for their gallery is gone: at-staff" in done.stdout
        [file] = (house.settings.home / "receipts").glob("staff-*.json")
        assert run("forget", "--check", str(file)).exit_code == 0
        assert run("gallery", "forget", "staff", "--yes").exit_code == 1

    def test_one_that_was_broken_off_is_listed_and_gone_on_with_unasked(
        self, house: House, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert interrupted(house, monkeypatch, house.client._connections.galleries, "drop", 1, after=True)
        listed = run("gallery", "list")
        assert "staff is being forgotten" in listed.stderr
        assert "staff" not in listed.stdout
        done = run("gallery", "forget", "staff")
        assert done.exit_code == 0, done.output
        assert "being forgotten" not in run("gallery", "list").stderr

    def test_with_json_it_prints_the_receipt(self, run: Callable[..., Any]) -> None:
        told = json.loads(run("gallery", "forget", "staff", "--yes", "--json").stdout)
        assert (told["gallery"], told["subject_id"], told["cameras"]) == ("staff", None, ["at-staff"])
        assert {each["kind"] for each in told["erased"]} >= {What.VECTORS, What.KEYS, What.RESULTS}
