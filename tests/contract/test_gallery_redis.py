"""The Redis store alone: snapshots under writes, a full server, a server that goes, and what a forget leaves behind."""

import gc
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis

from kith.backends import gallery_redis_snapshot
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.gallery_script import GalleryScript
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.straight_values import Value, read_values
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import CannotUndo, Misconfigured, StateFull, StateUnavailable
from kith.gallery import BLOCK_ROWS, Enrolment, GalleryDamaged, GallerySettings, Snapshot
from kith.replica import Follower, Replica
from tests.gallery_contents import content, face, owned, view_content
from tests.gallery_schema import read
from tests.plain_gallery import DIMENSION, unit


def assert_nothing_unowned(snapshot: Snapshot) -> None:
    taken = owned(snapshot.owners)
    for slot in range(len(snapshot.blocks) * BLOCK_ROWS):
        assert slot in taken or not snapshot.row(slot).any()


class Meddled:
    """A Redis client before whose every command somebody else does something, inside pipelines too."""

    def __init__(self, client: redis.Redis, act: Callable[[str], None]) -> None:
        self.client, self.act = client, act

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)

        def meddled(*args: Any, **knobs: Any) -> Any:
            self.act(name)
            return call(*args, **knobs)

        return meddled

    def pipeline(self, transaction: bool) -> "MeddledPipeline":
        assert not transaction
        return MeddledPipeline(self)


class MeddledPipeline:
    """Commands one by one: all that a pipeline without a transaction promises."""

    def __init__(self, client: Meddled) -> None:
        self._client = client
        self._queue: list[tuple[str, tuple[Any, ...]]] = []

    def __enter__(self) -> "MeddledPipeline":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self._queue.append((name, args))

    def execute(self, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        replies: list[Any] = []
        for name, args in self._queue:
            try:
                replies.append(getattr(self._client, name)(*args))
            except redis.ResponseError as fault:
                replies.append(fault)
        return replies


def read_one_by_one(client: Any, keys: Sequence[str]) -> list[Value]:
    """In place of `read_values`: through a Meddled, one at a time."""
    if not isinstance(client, Meddled):
        return read_values(client, keys)
    values = []
    for key in keys:
        client.act("get")
        values += read_values(client.client, [key])
    return values


class TestSnapshotsUnderWrites:
    @pytest.fixture
    def written(self, redis_client: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch) -> RedisGalleryStore:
        monkeypatch.setattr(gallery_redis_snapshot, "_BYTES_AT_ONCE", 1)
        monkeypatch.setattr(gallery_redis_snapshot, "read_values", read_one_by_one)
        store = RedisGalleryStore(redis_client, prefix)
        store.create("door", model_id="m", dimension=DIMENSION)
        store.enrol("door", [face(f"n{seed % 700}", seed) for seed in range(2500)])
        return store

    @pytest.mark.parametrize("seed", range(12))
    def test_writes_between_any_two_reads_leave_an_exact_snapshot(
        self, written: RedisGalleryStore, redis_client: redis.Redis, prefix: str, seed: int
    ) -> None:
        chance = random.Random(seed)
        names = [f"n{number}" for number in range(700)]
        fresh = iter(range(10_000, 99_999))

        def act(_: str) -> None:
            for _ in range(chance.randrange(4)):
                verb = chance.choice(
                    ["enrol", "enrol", "forget", "rename", "move", "merge", "remove", "undo", "settings"]
                )
                # Few names, so that the same subjects and slots are hit again and again.
                at = chance.randrange(8)
                if verb == "enrol":
                    written.enrol("door", [face(names[at], next(fresh))])
                elif verb == "forget":
                    written.enrol("door", [face(names[at], next(fresh))])
                    written.forget("door", names[at])
                elif verb in ("move", "remove"):
                    one = face(names[at], next(fresh))
                    written.enrol("door", [one])
                    if verb == "move":
                        written.move("door", names[at], [one.template_id], names[(at + 1) % 8])
                    else:
                        written.remove("door", names[at], [one.template_id])
                elif verb == "merge":
                    written.enrol("door", [face(names[at], next(fresh)), face(names[(at + 1) % 8], next(fresh))])
                    written.merge("door", names[at], names[(at + 1) % 8])
                elif verb == "undo":
                    with suppress(CannotUndo):
                        written.undo("door", written.info("door").sequence - chance.randrange(3))
                elif verb == "rename":
                    written.enrol("door", [face(names[at], next(fresh))])
                    names[at] = f"renamed {next(fresh)}"
                    written.rename("door", written.subjects("door")[chance.randrange(700) % 600].name, names[at])
                else:
                    written.configure("door", GallerySettings(cutoff=chance.random()))

        meddled: Any = Meddled(redis_client, act)
        snapshot = gallery_redis_snapshot.read_snapshot(GalleryScript(meddled, prefix), "door")
        quiet = written.snapshot("door")
        assert quiet.sequence >= snapshot.sequence > 2500
        assert_nothing_unowned(snapshot)
        # Brought forward by the rest of the log, both must be the same to the byte.
        snapshot.apply(written.changes("door", snapshot.sequence))
        assert content(snapshot) == content(quiet)
        assert (owned(snapshot.owners), snapshot.settings) == (owned(quiet.owners), quiet.settings)
        assert snapshot.names == quiet.names

    def test_a_writer_who_never_stops_does_not_bend_any_snapshot(
        self, written: RedisGalleryStore, valkey: EmbeddedValkey, prefix: str
    ) -> None:
        #: Sequence number → order-free fingerprint of who has which vectors, as the writer knows it.
        prints = {2500: 0}
        people = {f"n{number}": [unit(seed).tobytes() for seed in range(number, 2500, 700)] for number in range(700)}
        for name, vectors in people.items():
            for vector in vectors:
                prints[2500] ^= hash((name, vector))
        stop = threading.Event()

        def write() -> None:
            chance, now, sequence = random.Random(1), prints[2500], 2500
            with redis.Redis.from_url(valkey.url) as client:
                store = RedisGalleryStore(client, prefix)
                for seed in range(5000, 50_000):
                    if stop.is_set():
                        return
                    name = chance.choice(list(people))
                    if chance.random() < 0.4:
                        for vector in people.pop(name):
                            now ^= hash((name, vector))
                        sequence = store.forget("door", name).sequence
                    else:
                        name = chance.choice([name, f"x{seed}"])
                        people.setdefault(name, []).append(unit(seed).tobytes())
                        now ^= hash((name, unit(seed).tobytes()))
                        sequence = store.enrol("door", [face(name, seed)])[0]
                    prints[sequence] = now

        writer = threading.Thread(target=write)
        writer.start()
        try:
            # On a busy machine the writer's first change may come long after its thread's start.
            while len(prints) < 2 and writer.is_alive():
                time.sleep(0.001)
            taken = [written.snapshot("door") for _ in range(12)]
        finally:
            stop.set()
            writer.join()
        assert taken[-1].sequence > taken[0].sequence > 2500
        for snapshot in taken:
            found = 0
            for name, vectors in content(snapshot).items():
                for vector in vectors:
                    found ^= hash((name, vector))
            assert found == prints[snapshot.sequence]

    def test_a_subject_forgotten_between_the_parts_and_the_log_is_gone_at_a_number_that_says_so(
        self, written: RedisGalleryStore, redis_client: redis.Redis, prefix: str
    ) -> None:
        numbers: list[int] = []

        def act(call: str) -> None:
            if call == "get" and "get" not in seen:
                written.enrol("door", [face("late", 9000)])
            elif call == "evalsha" and not numbers:
                numbers.append(written.forget("door", "late").sequence)
            seen.append(call)

        seen: list[str] = []
        meddled: Any = Meddled(redis_client, act)
        snapshot = gallery_redis_snapshot.read_snapshot(GalleryScript(meddled, prefix), "door")
        assert "late" not in content(snapshot)
        assert numbers == [2502]
        assert snapshot.sequence >= 2502

    def test_a_vector_read_before_its_forget_and_its_owner_after_it_does_not_linger(
        self, written: RedisGalleryStore, redis_client: redis.Redis, prefix: str
    ) -> None:
        def act(call: str) -> None:
            seen.append(call)
            # Between a block and its owners.
            if call == "get" and seen.count("get") == 2:
                written.forget("door", "n1")

        seen: list[str] = []
        meddled: Any = Meddled(redis_client, act)
        snapshot = gallery_redis_snapshot.read_snapshot(GalleryScript(meddled, prefix), "door")
        assert "n1" not in content(snapshot)
        assert_nothing_unowned(snapshot)

    def test_a_log_trimmed_during_the_load_makes_it_begin_again(
        self, written: RedisGalleryStore, redis_client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def act(call: str) -> None:
            if call == "evalsha" and "again" not in caplog.text:
                written.trim("door", -1)
            elif call == "get":
                for seed in range(9000, 9005):
                    written.enrol("door", [face("late", seed)])
                    written.remove("door", "late", [face("late", seed).template_id])

        meddled: Any = Meddled(redis_client, act)
        script = GalleryScript(meddled, prefix)
        snapshot = gallery_redis_snapshot.read_snapshot(script, "door")
        assert "loading again" in caplog.text
        assert content(snapshot) == content(written.snapshot("door"))


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A server whose settings a test may turn."""
    with EmbeddedValkey(tmp_path_factory.mktemp("private")) as server:
        yield server


def everything(client: redis.Redis) -> bytes:
    """Every byte the server holds, serialised as it would be on disk, uncompressed."""
    client.config_set("rdbcompression", "no")
    return b"".join(key + (client.dump(key) or b"") for key in client.scan_iter(count=1000))


class TestRedisOnly:
    @pytest.mark.parametrize("dimension", [8, 64, 512])
    def test_forgetting_leaves_no_byte_of_vectors_or_names_in_the_server(
        self, private: EmbeddedValkey, prefix: str, dimension: int
    ) -> None:
        with redis.Redis.from_url(private.url) as client:
            client.flushall()
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=dimension)
            mixed = [face(who, seed, dimension=dimension) for seed in range(40) for who in ("Other", "Secret Person")]
            mixed = [
                Enrolment(each.subject, each.template_id, unit(i, dimension), f"img{i}", 0.5, "m")
                for i, each in enumerate(mixed)
            ]
            store.enrol("door", mixed)
            store.rename("door", "Secret Person", "Hidden Person")
            store.rename("door", "Hidden Person", "Covert Person")
            secrets = [each.vector.tobytes() for each in mixed if each.subject == "Secret Person"]
            names = [b"Secret Person", b"Hidden Person", b"Covert Person"]
            before = everything(client)
            assert all(secret in before for secret in secrets), "the scan is blind"
            assert all(name in before for name in names), "the scan is blind"
            store.forget("door", "Covert Person")
            after = everything(client)
            assert not any(secret[:16] in after or secret[-16:] in after for secret in secrets)
            assert not any(name in after for name in names)
            assert all(each.vector.tobytes() in after for each in mixed if each.subject == "Other")

    def test_forgetting_erases_whatever_merges_moves_and_removals_told_of_somebody(
        self, private: EmbeddedValkey, prefix: str
    ) -> None:
        with redis.Redis.from_url(private.url) as client:
            client.flushall()
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=64)
            for number, who in enumerate(("Secret One", "Secret Two", "Other", "Another")):
                for seed in range(3):
                    store.enrol("door", [face(who, 10 * number + seed, dimension=64)])
            store.describe("door", "Secret One", external_id="secret-7", metadata={"note": "secret note"})
            store.remove("door", "Secret One", [face("Secret One", 0).template_id])
            merge = store.merge("door", "Secret One", "Another")
            store.undo("door", merge)
            store.merge("door", "Secret Two", "Secret One")
            # Enrolled as somebody else, and the other way round.
            store.move("door", "Other", [face("Other", 21).template_id], "Secret One")
            store.move("door", "Secret One", [face("Secret Two", 11).template_id], "Other")
            gone = [unit(seed, 64).tobytes() for seed in (0, 1, 2, 10, 12, 21)]
            stays = [unit(seed, 64).tobytes() for seed in (11, 20, 22, 30, 31, 32)]
            before = everything(client)
            assert all(vector in before for vector in gone + stays), "the scan is blind"
            store.forget("door", "Secret One")
            after = everything(client)
            assert not any(vector[:16] in after or vector[-16:] in after for vector in gone)
            assert b"ecret" not in after
            assert all(vector in after for vector in stays)
            # Whoever comes late sees none of it either, and the rest whole.
            follower = Replica(Snapshot("door", "m", 64, store.info("door").epoch))
            follower.apply(store.changes("door", 0))
            assert view_content(follower.view) == content(store.snapshot("door"))
            assert sorted(view_content(follower.view)) == ["Another", "Other"]

    def test_xdel_would_have_left_the_bytes_which_is_why_payloads_stand_beside_the_stream(
        self, private: EmbeddedValkey, prefix: str
    ) -> None:
        with redis.Redis.from_url(private.url) as client:
            for number in (1, 2, 3):
                client.xadd(prefix, {"vector": unit(number).tobytes()}, id=f"{number}-0")
            client.xdel(prefix, "2-0")
            assert len(client.xrange(prefix)) == 2
            assert unit(2).tobytes() in everything(client)

    def test_out_of_memory_refuses_enrolments_whole_while_reading_and_forgetting_go_on(
        self, private: EmbeddedValkey, prefix: str
    ) -> None:
        with redis.Redis.from_url(private.url) as client:
            client.flushall()
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=512)
            store.enrol("door", [face(f"n{seed % 20}", seed, dimension=512) for seed in range(400)])
            follower = Follower(store)
            follower.view("door")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 300_000)
            try:
                with pytest.raises(StateFull, match="raise maxmemory"):
                    store.enrol("door", [face("late", seed, dimension=512) for seed in range(1000, 3000)])
                # Far over now, so that no buffer that is freed makes room for a small write.
                client.config_set("maxmemory", 1_000_000)
                for verb in (
                    lambda: store.enrol("door", [face("late", 9999, dimension=512)]),
                    lambda: store.rename("door", "n1", "other"),
                    lambda: store.configure("door", GallerySettings()),
                    lambda: store.create("gate", model_id="m", dimension=2),
                ):
                    with pytest.raises(StateFull):
                        verb()
                info, snapshot = store.info("door"), store.snapshot("door")
                assert info.templates == len(owned(snapshot.owners)) > 400
                assert info.sequence == snapshot.sequence
                assert len(store.show("door", "n1").templates) == 20
                assert follower.view("door", at_least=info.sequence, timeout_s=30).templates == info.templates
                for number in range(10):
                    gone = store.forget("door", f"n{number}")
                assert follower.view("door", at_least=gone.sequence, timeout_s=30).row_of("n9") is None
                assert content(store.snapshot("door")) == view_content(follower.view("door"))
                assert store.trim("door", -1) > 350
                client.config_set("maxmemory", 0)
                assert store.enrol("door", [face("late", 9999, dimension=512)])[0] == gone.sequence + 1
                client.config_set("maxmemory", 1_000_000)
                assert store.drop("door", store.info("door").epoch).sequence == gone.sequence + 1
            finally:
                follower.stop()
                client.config_set("maxmemory", 0)

    def test_a_server_that_goes_and_comes_back_is_followed_again_and_every_verb_says_unavailable_meanwhile(
        self, tmp_path_factory: pytest.TempPathFactory, prefix: str
    ) -> None:
        server = EmbeddedValkey(tmp_path_factory.mktemp("gone"))
        server.start()
        with redis.Redis.from_url(server.url, socket_timeout=5) as client:
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=DIMENSION)
            store.enrol("door", [face("Ann", 1)])
            word = store.incarnation()
            follower = Follower(store, block_ms=50)
            follower.view("door")
            server.stop()
            verbs: list[Callable[[], object]] = [
                lambda: store.create("gate", model_id="m", dimension=2),
                lambda: store.info("door"),
                store.galleries,
                lambda: store.configure("door", GallerySettings()),
                lambda: store.enrol("door", [face("Bob", 2)]),
                lambda: store.remove("door", "Ann", ["t"]),
                lambda: store.move("door", "Ann", ["t"], "Bob"),
                lambda: store.merge("door", "Ann", "Bob"),
                lambda: store.describe("door", "Ann"),
                lambda: store.by_external_id("door", "7"),
                lambda: store.history("door"),
                lambda: store.undo("door", 1),
                lambda: store.subjects("door"),
                lambda: store.show("door", "Ann"),
                lambda: store.rename("door", "Ann", "Anna"),
                lambda: store.forget("door", "Ann"),
                lambda: store.snapshot("door"),
                lambda: store.changes("door", 0),
                lambda: store.trim("door", 0),
                store.incarnation,
            ]
            client.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))
            for verb in verbs:
                with pytest.raises(StateUnavailable):
                    verb()
            assert view_content(follower.view("door")) == {"Ann": [unit(1).tobytes()]}
            server.start()
            try:
                sequence = store.enrol("door", [face("Bob", 2)])[0]
                assert follower.view("door", at_least=sequence, timeout_s=30).subjects == 2
                assert store.incarnation() != word
            finally:
                follower.stop()
                server.stop()

    def test_scripts_flushed_from_the_server_are_loaded_again(self, redis_client: redis.Redis, prefix: str) -> None:
        store = RedisGalleryStore(redis_client, prefix)
        for number in range(3):
            redis_client.script_flush()
            store.create("door", model_id="m", dimension=DIMENSION)
            redis_client.script_flush()
            assert store.enrol("door", [face("Ann", number)]) == [number + 1]

    def test_what_is_read_after_a_script_was_loaded_again_stays_in_no_cycle(
        self, redis_client: redis.Redis, prefix: str
    ) -> None:
        store = RedisGalleryStore(redis_client, prefix)
        # Several in one round trip: each is told that there is no script.
        for name in ("door", "gate", "yard"):
            store.create(name, model_id="m", dimension=DIMENSION)
            store.enrol(name, [face("Ann", 1)])
        redis_client.script_flush()
        gc.disable()
        try:
            changes = store.changes_many({"door": 0, "gate": 0, "yard": 0})
            there = [weakref.ref(change.vectors) for [change] in changes.values() if change.vectors is not None]
            assert len(there) == 3
            del changes
            assert [each() for each in there] == [None] * 3
        finally:
            gc.enable()

    @pytest.mark.parametrize("rubbish", [b"[1", b"1", b"[1,2]\n", b"\x00" * 33, b"\xff"])
    @pytest.mark.parametrize("part", ["b:0", "o:0", "n:0"])
    def test_a_gallery_damaged_in_redis_is_named_with_the_place_and_no_other_is_harmed(
        self, redis_client: redis.Redis, prefix: str, part: str, rubbish: bytes
    ) -> None:
        store = RedisGalleryStore(redis_client, prefix)
        for name in ("door", "gate"):
            store.create(name, model_id="m", dimension=DIMENSION)
            store.enrol(name, [face("Ann", 1)])
        key = f"{prefix}:g:door:{part}"
        assert redis_client.exists(key)
        redis_client.set(key, rubbish)
        with pytest.raises(GalleryDamaged, match=f"gallery door was damaged in Redis, at {key}") as told:
            store.snapshot("door")
        assert "restore" in str(told.value)
        assert store.snapshot("gate").names

    @pytest.mark.parametrize(
        "part",
        ["payload", "settings", "sequence", "created_ms", "epoch", "kind of meta", "kind of log", "kind of templates"],
    )
    def test_a_gallery_damaged_in_redis_keeps_nobody_from_following_the_others(
        self,
        redis_client: redis.Redis,
        prefix: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        part: str,
    ) -> None:
        monkeypatch.setattr("kith.replica._LOOK_EVERY_S", 0.05)
        store, meta = RedisGalleryStore(redis_client, prefix), f"{prefix}:g:door:meta"
        for name in ("door", "gate"):
            store.create(name, model_id="m", dimension=DIMENSION)
            store.enrol(name, [face("Ann", 1)])
        follower = Follower(store, block_ms=20)
        try:
            assert {name: follower.view(name).sequence for name in ("door", "gate")} == {"door": 1, "gate": 1}
            if part == "payload":
                # All in one step: no reader sees the change without the damage.
                with redis_client.pipeline() as pipe:
                    pipe.xadd(f"{prefix}:g:door:log", {"op": "rename", "n": 1, "at": 0}, id="2-0")
                    pipe.hset(f"{prefix}:g:door:payloads", "2", "rubbish")
                    pipe.hset(meta, "sequence", 2)
                    pipe.execute()
            elif part == "epoch":
                redis_client.hdel(meta, part)
            elif part.startswith("kind of "):
                redis_client.set(f"{prefix}:g:door:{part.removeprefix('kind of ')}", b"rubbish")
            else:
                redis_client.hset(meta, part, "rubbish")
            for seed in range(2, 8):
                [after] = store.enrol("gate", [face(f"n{seed}", seed)])
                assert follower.view("gate", at_least=after, timeout_s=30).subjects == seed
                time.sleep(0.03)
            deadline = time.monotonic() + 30
            while "door cannot be followed" not in caplog.text and "loading gallery door afresh" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert "loading gallery gate afresh" not in caplog.text
            assert follower.view("door").subjects == 1
        finally:
            follower.stop()

    def test_of_a_dropped_gallery_nothing_stands_in_redis_but_what_tells_of_pictures_also_beside_another_model(
        self, redis_client: redis.Redis, prefix: str
    ) -> None:
        store = RedisGalleryStore(redis_client, prefix)
        for name in ("door", "door-1", "gate"):
            store.create(name, model_id="m", dimension=DIMENSION)
            store.enrol(name, [face(f"p{seed}", seed) for seed in range(BLOCK_ROWS + 3)])
        assert redis_client.exists(*(f"{prefix}:g:door:{part}" for part in ("b:1", "o:1", "n:1", "log"))) == 4
        beside = RedisMigrationStore(redis_client, prefix)
        beside.begin("door", model_id="n", dimension=4, pack="n")
        beside.put("door", "n", {face("p1", 1).template_id: unit(1, 4)}, {})
        store.remove("door", "p2", [face("p2", 2).template_id])
        store.forget("door", "p3")
        epoch, others = store.info("door").epoch, [read(redis_client, prefix, name) for name in ("door-1", "gate")]
        store.drop("door", epoch)
        left = {key.decode() for key in redis_client.keys(f"{prefix}:g:door:*")}
        assert {key for key in left if not key.startswith(f"{prefix}:g:door:r:")} == set()
        assert {key.decode() for key in redis_client.keys(f"{prefix}:gone:*")} == {
            f"{prefix}:gone:{epoch}:templates",
            f"{prefix}:gone:{epoch}:payloads",
            f"{prefix}:gone:{epoch}:extent",
        }
        assert [read(redis_client, prefix, name) for name in ("door-1", "gate")] == others

    def test_a_client_that_decodes_replies_is_refused(self, valkey: EmbeddedValkey) -> None:
        with redis.Redis.from_url(valkey.url, decode_responses=True) as client, pytest.raises(Misconfigured):
            RedisGalleryStore(client)

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_it_speaks_both_protocols(self, valkey: EmbeddedValkey, prefix: str, protocol: int) -> None:
        with redis.Redis.from_url(valkey.url, protocol=protocol, socket_timeout=2) as client:
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=DIMENSION)
            store.enrol("door", [face("Ann", 1), face("Bob", 2)])
            assert [change.subject for change in store.changes("door", 0)] == ["Ann", "Bob"]
            assert store.changes("door", 2, block_ms=20) == []
            assert len(store.subjects("door")) == 2
            assert store.show("door", "Ann").templates[0].sequence == 1
            assert isinstance(store.incarnation(), str)

    def test_a_wait_longer_than_the_socket_allows_comes_back_empty_instead_of_failing(
        self, valkey: EmbeddedValkey, prefix: str
    ) -> None:
        with redis.Redis.from_url(valkey.url, socket_timeout=1.0) as client:
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=DIMENSION)
            assert store.changes("door", 0, block_ms=10_000) == []

    def test_everything_it_writes_carries_the_prefix(self, private: EmbeddedValkey, prefix: str) -> None:
        with redis.Redis.from_url(private.url) as client:
            client.flushall()
            store = RedisGalleryStore(client, prefix)
            store.create("door", model_id="m", dimension=DIMENSION)
            store.enrol("door", [face("Ann", 1)])
            store.forget("door", "Ann")
            keys = list(client.scan_iter())
            assert len(keys) >= 4
            assert all(key.startswith(prefix.encode() + b":") for key in keys)
