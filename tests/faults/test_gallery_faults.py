"""What befalls a gallery while it changes: workers killed, the server killed or full, a worker that sleeps too long."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from kith.audit import Action, Where
from kith.backends.connect import redis_client
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.client import Client
from kith.enrolment import Enrolment
from kith.errors import StateUnavailable, UnknownSubject
from kith.gallery import GallerySettings, GalleryStore
from kith.jobs import Content, Kind, Lane, Outcome
from kith.replica import Replica
from kith.settings import Settings, as_environment
from kith.stack import Stack
from tests import gallery_schema
from tests.faults.cast import GALLERY, aligned_jpegs, enrol_half
from tests.faults.cutting_proxy import CuttingProxy
from tests.faults.load import PATIENCE_S, impatient
from tests.faults.victims import Killer
from tests.plain_gallery import DIMENSION, key, unit

KILLS = 5
RESTARTS = 3
CUTS = 10


def test_workers_killed_in_mid_enrolment_leave_each_template_once(tmp_path: Path) -> None:
    settings = impatient(tmp_path, seconds_per_batch=0.3)
    with Stack(settings, embed=2) as stack, Client.open(settings) as client:
        killer, jpegs = Killer(stack, client, settings), aligned_jpegs(64)
        jobs = []
        for start in range(0, len(jpegs), 4):
            # Four pictures of one person a job; the embedder takes longer than a job is likely to live.
            some = [client.intake.put(jpeg, subject=f"Person {start // 8}") for jpeg in jpegs[start : start + 4]]
            jobs.append(client.intake.job(Kind.ENROL, some, gallery=GALLERY, content=Content.ALIGNED, lane=Lane.BULK))
        for job in jobs:
            client.submit(job)
        for _ in range(KILLS):
            killer.kill_one_in_the_middle_of_a_job()
        decisions = [each for job in jobs for each in client.wait(job.job_id, PATIENCE_S)]
        assert killer.in_the_middle == KILLS
        assert Counter(each.outcome for each in decisions) == {Outcome.ENROLLED: len(jpegs)}
        info = client.galleries.info(GALLERY)
        assert (info.templates, info.subjects) == (len(jpegs), len(jpegs) // 8)
        for subject in client.galleries.subjects(GALLERY):
            assert len({each.image for each in client.galleries.show(GALLERY, subject.name).templates}) == 8
        gallery_schema.check(gallery_schema.read(redis_client(settings), settings.redis.prefix, GALLERY))


def test_valkey_killed_in_mid_import_loses_and_doubles_nothing_it_acknowledged(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey").start()
    settings = impatient(tmp_path)
    settings = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": SecretStr(server.url)})})
    store = RedisGalleryStore(redis_client(settings), "import")
    store.create("door", model_id="m", dimension=DIMENSION)
    acknowledged: dict[str, int] = {}
    stop = threading.Event()

    def enrol() -> None:
        for seed in range(100_000):
            if stop.is_set():
                return
            some = [
                Enrolment(f"p{seed % 50}", key(f"p{seed % 50}", 8 * seed + n), unit(8 * seed + n), "ab/1", 0.5, "m")
                for n in range(8)
            ]
            while True:
                try:
                    numbers = store.enrol("door", some)
                except StateUnavailable:
                    # As an import does: the same call again completes it.
                    time.sleep(0.05)
                    continue
                break
            acknowledged.update(zip((each.template_id for each in some), numbers, strict=True))

    importing = threading.Thread(target=enrol)
    importing.start()
    try:
        for _ in range(RESTARTS):
            wanted = len(acknowledged) + 400
            while len(acknowledged) < wanted:
                assert importing.is_alive()
                time.sleep(0.01)
            os.kill(server.pid or 0, signal.SIGKILL)
            server.stop()
            time.sleep(0.2)
            server.start()
    finally:
        stop.set()
        importing.join()
    try:
        stored = gallery_schema.read(redis_client(settings), "import", "door")
        gallery_schema.check(stored)
        assert {each: known[5] for each, known in stored.templates.items()} == acknowledged
        assert Replica(store.snapshot("door")).view.templates == len(acknowledged) > 400 * RESTARTS
    finally:
        server.stop()


def test_connections_cut_before_the_answer_double_no_change_and_hide_none(tmp_path: Path) -> None:
    with (
        EmbeddedValkey(tmp_path / "valkey") as server,
        CuttingProxy(tmp_path / "proxy.sock", Path(server.url.removeprefix("unix://").partition("?")[0])) as proxy,
    ):
        settings = impatient(tmp_path)
        own = settings.redis.model_copy(update={"url": SecretStr(proxy.url)})
        store = RedisGalleryStore(redis_client(settings.model_copy(update={"redis": own})), "cut")
        plain = MemoryGalleryStore()
        for each in (store, plain):
            each.create("door", model_id="m", dimension=DIMENSION)
        verbs: list[Callable[[GalleryStore, int], int]] = [
            lambda store, n: store.enrol("door", _faces(n))[-1],
            lambda store, n: store.rename("door", f"p{n}", f"q{n}"),
            lambda store, n: store.remove("door", f"q{n}", [key(f"p{n}", 8 * n)]),
            lambda store, _: store.undo("door", store.info("door").sequence),
            lambda store, n: store.move("door", f"q{n}", [key(f"p{n}", 8 * n)], f"r{n}"),
            lambda store, n: store.merge("door", f"r{n}", f"q{n}"),
            lambda store, n: store.describe("door", f"q{n}", external_id=str(n)),
            lambda store, n: store.configure("door", GallerySettings(cutoff=n / 100)),
            lambda store, n: store.forget("door", f"q{n}").sequence,
        ]
        for n in range(CUTS):
            for verb in verbs:
                proxy.due = 1 + n % 2
                assert verb(store, n) == verb(plain, n)
                assert proxy.due == 0
        assert proxy.cut == CUTS * len(verbs) + CUTS // 2 * len(verbs)
        assert [(each.op, each.number) for each in store.history("door")] == [
            (each.op, each.number) for each in plain.history("door")
        ]
        with redis.Redis.from_url(server.url) as direct:
            gallery_schema.check(gallery_schema.read(direct, "cut", "door"))


def _faces(n: int) -> list[Enrolment]:
    return [Enrolment(f"p{n}", key(f"p{n}", seed), unit(seed), "ab/1", 0.5, "m") for seed in range(8 * n, 8 * n + 8)]


def test_a_worker_that_slept_past_the_trim_of_the_journal_loads_afresh_and_says_so(tmp_path: Path) -> None:
    settings = impatient(tmp_path)
    with Stack(settings, embed=1) as stack, Client.open(settings) as client:
        cast = enrol_half(client)
        [pid] = stack.pids("embed").values()
        ask = client.intake.job(Kind.IDENTIFY, cast.pictures, gallery=GALLERY, content=Content.ALIGNED)
        assert cast.wrong_answers([ask], client.ask(ask, PATIENCE_S)) == []
        model_id = client.galleries.info(GALLERY).model_id
        dimension = client.galleries.info(GALLERY).dimension
        os.kill(pid, signal.SIGSTOP)
        try:
            for seed in range(20):
                [last] = client.galleries.enrol(
                    GALLERY, [Enrolment("Late", f"late {seed}", unit(seed, dimension), "ab/1", 0.5, model_id)]
                )
            assert client.galleries.trim(GALLERY, -1) > 0
        finally:
            os.kill(pid, signal.SIGCONT)
        again = client.intake.job(
            *(Kind.IDENTIFY, cast.pictures), gallery=GALLERY, content=Content.ALIGNED, min_sequence=last
        )
        decisions = client.ask(again, PATIENCE_S)
        assert cast.wrong_answers([again], decisions) == []
        assert all(each.gallery_version == last for each in decisions)
        assert f"loading gallery {GALLERY} afresh: its log was trimmed past what we knew" in (
            stack.log_of("embed-1").read_text()
        )


def test_with_full_memory_enrolling_is_refused_with_a_remedy_while_people_are_matched_and_forgotten(
    tmp_path: Path,
) -> None:
    settings = impatient(tmp_path, seconds_per_batch=1.0)
    with Stack(settings, embed=1) as stack, Client.open(settings) as client:
        assert stack.valkey is not None
        cast = enrol_half(client)
        with redis.Redis.from_url(stack.valkey.url) as server:
            ask = client.intake.job(Kind.IDENTIFY, cast.pictures[:8], gallery=GALLERY, content=Content.ALIGNED)
            new = client.intake.put(aligned_jpegs(30)[-1], subject="New")
            enrol = client.intake.job(Kind.ENROL, [new], gallery=GALLERY, content=Content.ALIGNED)
            for job in (ask, enrol):
                client.submit(job)
            # In the worker's hands, which is at its slow batch.
            while client.ledger.state(ask.job_id).state == "sent":
                time.sleep(0.01)
            server.config_set("maxmemory", "1mb")
            try:
                assert cast.wrong_answers([ask], client.wait(ask.job_id, PATIENCE_S)) == []
                picture = tmp_path / "new.jpg"
                picture.write_bytes(aligned_jpegs(31)[-1])
                status, said = kith(settings, "enrol", "Newer", str(picture), "--gallery", GALLERY)
                assert status != 0
                assert "raise maxmemory" in said
                receipt = str(tmp_path / "receipt.json")
                person = "Person 0", "--gallery", GALLERY
                assert kith(settings, "forget", *person, "--yes", "--receipt", receipt)[0] == 0
                assert kith(settings, "forget", "--check", receipt)[0] == 0
                with pytest.raises(UnknownSubject):
                    RedisGalleryStore(redis_client(settings), settings.redis.prefix).show(GALLERY, "Person 0")
                assert [each.deed.action for each in client.audit.latest(2)] == [Action.FORGOT, Action.FORGOT]
                assert client.ledger.state(enrol.job_id).state != "done"
            finally:
                server.config_set("maxmemory", "0")
            [enrolled] = client.wait(enrol.job_id, PATIENCE_S)
            assert enrolled.outcome == Outcome.ENROLLED
            [entry] = client.audit.latest(1, Where(action=Action.ENROLLED))
            assert (entry.deed.actor, entry.deed.sequence) == ("worker:embed-1", enrolled.gallery_version)


def kith(settings: Settings, *words: str) -> tuple[int, str]:
    """The command; its exit status and what it said on stderr, in one line."""
    said = subprocess.run(
        [Path(sys.executable).with_name("kith"), *words],
        env=os.environ | as_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    return said.returncode, " ".join(said.stderr.split())
