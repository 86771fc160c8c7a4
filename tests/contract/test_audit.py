"""One contract for every audit log: the one in a process, and Redis (a real Valkey server)."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.audit import GENESIS, MAX_DETAIL, Action, AuditEntry, AuditLog, Deed, Head, Where, command_line_actor
from kith.audit_chain import Chain, columns_of, deed_of, digest_of, linked
from kith.backends.audit_memory import MemoryAudit
from kith.backends.audit_redis import RedisAudit
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.errors import InvalidName, Rejected, StateFull, StateUnavailable

ANN, BOB = "a" * 16, "b" * 16


@pytest.fixture(params=["memory", "redis"])
def audit(request: pytest.FixtureRequest) -> AuditLog:
    if request.param == "memory":
        return MemoryAudit()
    return RedisAudit(request.getfixturevalue("redis_client"), request.getfixturevalue("prefix"))


@pytest.fixture
def over_redis(redis_client: redis.Redis, prefix: str) -> RedisAudit:
    return RedisAudit(redis_client, prefix)


def deed(number: int = 0, **parts: Any) -> Deed:
    known: dict[str, Any] = {"actor": "cli:ada@desk", "action": Action.ENROLLED, "gallery": "door", "sequence": number}
    return Deed(**(known | parts))


def numbers(entries: tuple[AuditEntry, ...] | list[AuditEntry]) -> list[int]:
    return [each.number for each in entries]


def naive_digest(previous: str, entry: AuditEntry) -> str:
    told = entry.deed
    detail = json.dumps(dict(told.detail), sort_keys=True, separators=(",", ":")) if told.detail else ""
    text = ""
    for part in (
        *(previous, str(entry.number), str(entry.at_ms), told.actor, told.action.value, told.gallery),
        *(told.subject_id or "", "" if told.sequence is None else str(told.sequence), detail),
    ):
        text += f"{len(part.encode())}:{part},"
    return sha256(text.encode()).hexdigest()


class TestRecording:
    def test_what_is_recorded_is_read_again_as_it_was(self, audit: AuditLog) -> None:
        full = deed(7, subject_id=ANN, detail={"templates": 3, "by": "é\n\t", "share": 0.25, "dry": True})
        bare = Deed("key:4711", Action.LOOKED)

        first, second = audit.record(full), audit.record(bare)

        assert audit.page().entries == (first, second)
        assert (first.number, first.deed, second.number, second.deed) == (1, full, 2, bare)
        assert abs(first.at_ms / 1000 - time.time()) < 60
        assert first.at_ms <= second.at_ms

    def test_each_digest_covers_the_one_before_and_the_whole_entry(self, audit: AuditLog) -> None:
        previous = GENESIS
        for made in [audit.record(deed(number, subject_id=ANN, detail={"n": number})) for number in range(5)]:
            assert made.digest == naive_digest(previous, made)
            previous = made.digest
        assert audit.head() == Head(5, previous)

    def test_many_are_recorded_in_order(self, audit: AuditLog) -> None:
        made = audit.record_many([deed(number) for number in range(1203)])

        assert numbers(made) == list(range(1, 1204))
        assert audit.record_many([]) == []
        assert audit.verify().checked == 1203
        assert audit.head() == Head(1203, made[-1].digest)

    def test_threads_and_processes_that_write_at_once_make_one_chain(
        self, request: pytest.FixtureRequest, audit: AuditLog
    ) -> None:
        # A log object of its own for each thread, as processes have: they meet in Redis alone.
        client, prefix = request.getfixturevalue("redis_client"), request.getfixturevalue("prefix")
        logs = [RedisAudit(client, prefix) for _ in range(4)] if isinstance(audit, RedisAudit) else [audit] * 4
        made: list[AuditEntry] = []

        def write(log: AuditLog, who: int) -> None:
            made.extend(log.record(deed(number, actor=f"writer:{who}")) for number in range(25))

        writers = [threading.Thread(target=write, args=(log, who)) for who, log in enumerate(logs)]
        for each in writers:
            each.start()
        for each in writers:
            each.join()

        assert sorted(numbers(made)) == list(range(1, 101))
        assert audit.verify().checked == 100
        for who in range(4):
            own = [each.deed.sequence for each in audit.page().entries if each.deed.actor == f"writer:{who}"]
            assert own == list(range(25))


class TestReading:
    def test_pages_follow_one_another_and_the_last_says_so(self, audit: AuditLog) -> None:
        audit.record_many([deed(number) for number in range(7)])

        seen: list[int] = []
        cursor, more = 0, True
        while more:
            page = audit.page(cursor, limit=3)
            seen += numbers(page.entries)
            cursor, more = page.cursor, page.more
        assert seen == [1, 2, 3, 4, 5, 6, 7]
        assert audit.page(7).entries == ()
        assert audit.page(99).cursor == 99

    def test_filters_agree_with_each_other_and_leave_out_the_rest(self, audit: AuditLog) -> None:
        for number in range(40):
            audit.record(
                deed(
                    number,
                    gallery="door" if number % 2 else "gate",
                    subject_id=ANN if number % 3 else BOB,
                    action=Action.FORGOT if number % 5 == 0 else Action.ENROLLED,
                )
            )
        every = audit.page().entries
        for where in (
            Where("door"),
            Where(subject_id=BOB),
            Where(action=Action.FORGOT),
            Where("door", ANN, Action.ENROLLED),
            Where("none"),
        ):
            expected = [each for each in every if _agrees(each.deed, where)]
            assert list(audit.page(where=where).entries) == expected
            assert list(audit.latest(1000, where)) == expected
            assert list(audit.latest(4, where)) == expected[-4:]
            first = audit.page(limit=2, where=where)
            assert list(first.entries + audit.page(first.cursor, where=where).entries) == expected

    def test_filters_find_one_in_more_entries_than_a_request_reads(self, audit: AuditLog) -> None:
        audit.record_many([deed(number, subject_id=BOB if number in (3, 1100) else ANN) for number in range(1200)])

        assert numbers(audit.page(where=Where(subject_id=BOB)).entries) == [4, 1101]
        assert numbers(audit.latest(1, Where(subject_id=BOB))) == [1101]
        assert numbers(audit.latest(2, Where(subject_id=BOB))) == [4, 1101]
        page = audit.page(limit=1, where=Where(subject_id=BOB))
        assert (page.cursor, page.more) == (4, True)

    def test_a_follower_is_woken_by_what_comes_and_not_before(self, audit: AuditLog) -> None:
        audit.record(deed(1))
        started = time.monotonic()
        assert audit.page(1, block_s=0.05).entries == ()
        assert time.monotonic() - started >= 0.04

        later = threading.Timer(0.1, lambda: audit.record(deed(2)))
        later.start()
        page = audit.page(1, block_s=10)
        later.join()
        assert numbers(page.entries) == [2]
        assert time.monotonic() - started < 9


class TestTrimming:
    def test_old_entries_go_and_the_chain_holds_from_its_anchor(self, audit: AuditLog) -> None:
        made = audit.record_many([deed(number) for number in range(700)])
        time.sleep(0.5)
        began_s = time.monotonic()
        kept = audit.record_many([deed(number) for number in range(3)])

        assert audit.trim(3600) == 0
        # Between the two, however long it took since.
        assert audit.trim(time.monotonic() - began_s + 0.4) == 700
        assert audit.trim(time.monotonic() - began_s + 0.4) == 0
        assert audit.page().entries == tuple(kept)
        verdict = audit.verify()
        assert (verdict.broken, verdict.checked) == (None, 3)
        assert verdict.anchor == Head(700, made[-1].digest)
        assert audit.verify(Head(700, made[-1].digest)).broken is None

    def test_an_empty_log_goes_on_where_it_was(self, audit: AuditLog) -> None:
        last = audit.record_many([deed(1), deed(2)])[-1]
        time.sleep(0.02)
        assert audit.trim(0.0) == 2
        assert audit.page().entries == ()
        assert audit.head() == Head(2, last.digest)
        assert audit.verify().broken is None

        made = audit.record(deed(3))
        assert (made.number, made.digest) == (3, naive_digest(last.digest, made))
        assert audit.verify().checked == 1

    def test_a_log_that_was_never_written_is_whole(self, audit: AuditLog) -> None:
        verdict = audit.verify()
        assert (verdict.checked, verdict.broken, verdict.head) == (0, None, Head(0, GENESIS))
        assert audit.trim(1) == 0
        assert audit.latest(5) == ()


class TestEnds:
    def test_an_end_that_was_kept_is_found_in_the_chain(self, audit: AuditLog) -> None:
        audit.record_many([deed(1), deed(2)])
        kept = audit.head()
        audit.record(deed(3))
        assert (audit.verify(kept).broken, audit.verify(kept).compared) == (None, True)
        assert audit.verify().compared is None

    def test_an_end_from_before_the_anchor_proves_nothing_and_it_is_said(self, audit: AuditLog) -> None:
        audit.record_many([deed(1), deed(2), deed(3)])
        kept = Head(1, "f" * 64)
        time.sleep(0.002)
        audit.record(deed(4))
        assert audit.trim(0.001) >= 3
        assert (audit.verify(kept).broken, audit.verify(kept).compared) == (None, False)
        assert audit.verify(audit.head()).compared is True

    def test_another_log_with_the_same_numbers_is_not_the_same(self, audit: AuditLog) -> None:
        audit.record_many([deed(1), deed(2), deed(3)])
        verdict = audit.verify(Head(2, "f" * 64))
        assert (verdict.broken, verdict.why) == (2, "its digest is not the one that was kept: the log was written anew")
        assert audit.verify(Head(9, "f" * 64)).broken == 4


class TestTampering:
    """What somebody with the Redis password can do, and how it shows."""

    @pytest.fixture
    def stream(self, over_redis: RedisAudit, prefix: str) -> str:
        over_redis.record_many([deed(number, subject_id=ANN, detail={"n": number}) for number in range(6)])
        assert over_redis.verify().broken is None
        return f"{prefix}:audit"

    def rewrite(self, client: redis.Redis, stream: str, change: Callable[[list[Any]], list[Any]]) -> None:
        rows: Any = client.xrange(stream)
        client.delete(stream)
        for number, fields in change(rows):
            client.xadd(stream, fields, id=number)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *((b"at", b"1"), (b"actor", b"cli:eve@desk"), (b"action", b"looked"), (b"gallery", b"gate")),
            *((b"subject", BOB.encode()), (b"sequence", b"9"), (b"detail", b'{"n":9}'), (b"digest", b"0" * 64)),
            *((b"detail", b'{"n": 3}'), (b"action", b"nonsense"), (b"actor", b"\xff")),
            *((b"detail", b"[1]"), (b"detail", b"7"), (b"detail", b"[" * 100_000), (b"sequence", b"9" * 5000)),
        ],
    )
    def test_an_altered_entry(
        self, field: bytes, value: bytes, over_redis: RedisAudit, redis_client: redis.Redis, stream: str
    ) -> None:
        def alter(rows: list[Any]) -> list[Any]:
            rows[3][1][field] = value
            return rows

        self.rewrite(redis_client, stream, alter)
        verdict = over_redis.verify()
        assert (verdict.broken, verdict.checked, verdict.head.number) == (4, 3, 3)

    def test_a_removed_entry(self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str) -> None:
        redis_client.xdel(stream, "3-0")
        verdict = over_redis.verify()
        assert (verdict.broken, verdict.why) == (3, "it is missing: the log goes on with 4")

    def test_a_cut_off_beginning(self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str) -> None:
        redis_client.xtrim(stream, minid="3-0", approximate=False)
        assert over_redis.verify().broken == 1

    def test_a_cut_off_end(self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str) -> None:
        redis_client.xdel(stream, "6-0")
        assert (over_redis.verify().broken, over_redis.verify().why) == (
            6,
            "it is missing: the log should end with 6",
        )

    def test_an_end_that_is_stated_wrongly(
        self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str
    ) -> None:
        redis_client.hset(f"{stream}:ends", "digest", "0" * 64)
        verdict = over_redis.verify()
        assert (verdict.broken, verdict.why) == (6, "its digest is not that of the end that the log states")

    def test_a_cut_off_end_with_the_end_rewritten_shows_against_a_kept_one(
        self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str
    ) -> None:
        kept = over_redis.head()
        before: Any = redis_client.xrange(stream, "5-0", "5-0")
        redis_client.xdel(stream, "6-0")
        redis_client.hset(f"{stream}:ends", mapping={"number": 5, "digest": before[0][1][b"digest"]})

        assert over_redis.verify().broken is None
        assert over_redis.verify(kept).broken == 6

    def test_two_entries_exchanged(self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str) -> None:
        def swap(rows: list[Any]) -> list[Any]:
            rows[2], rows[3] = (rows[2][0], rows[3][1]), (rows[3][0], rows[2][1])
            return rows

        self.rewrite(redis_client, stream, swap)
        assert over_redis.verify().broken == 3

    def test_an_entry_that_cannot_be_read_hides_none_behind_it(
        self, over_redis: RedisAudit, redis_client: redis.Redis, stream: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def alter(rows: list[Any]) -> list[Any]:
            rows[3][1][b"action"] = b"invented"
            return rows

        self.rewrite(redis_client, stream, alter)
        assert numbers(over_redis.page().entries) == [1, 2, 3, 5, 6]
        assert numbers(over_redis.latest(2)) == [5, 6]
        assert "entry 4 of the audit log is skipped" in caplog.text


class TestRedisAlone:
    def test_an_append_whose_answer_was_lost_is_not_made_twice(
        self, over_redis: RedisAudit, redis_client: redis.Redis, prefix: str
    ) -> None:
        over_redis.record(deed(1))
        script = over_redis._script
        calls: list[str] = []

        def twice(keys: list[str], args: list[Any]) -> Any:
            calls.append(args[0])
            if args[0] == "append":
                script(keys=keys, args=args)
                # Meanwhile somebody else goes on.
                RedisAudit(redis_client, prefix).record(deed(3))
            return script(keys=keys, args=args)

        over_redis._script = twice  # type: ignore[assignment]
        made = over_redis.record_many([deed(2), deed(2)])

        assert calls == ["head", "append"]
        assert numbers(made) == [2, 3]
        assert [each.deed.sequence for each in over_redis.page().entries] == [1, 2, 2, 3]
        assert over_redis.verify().broken is None

    def test_a_full_server_takes_that_somebody_is_forgotten_and_nothing_else(self, tmp_path: Path) -> None:
        with EmbeddedValkey(tmp_path / "valkey") as server, redis.Redis.from_url(server.url) as client:
            audit = RedisAudit(client, "kith")
            audit.record(deed(1))
            client.config_set("maxmemory", 1_000_000)
            with pytest.raises(StateFull):
                audit.record(deed(2))
            audit.record(deed(2, action=Action.FORGOT, subject_id=ANN))
            assert [each.deed.action for each in audit.page().entries] == [Action.ENROLLED, Action.FORGOT]
            assert audit.verify().broken is None

    def test_trimming_in_the_midst_of_a_walk_is_no_theft(
        self, over_redis: RedisAudit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        over_redis.record_many([deed(number) for number in range(3)])
        time.sleep(0.02)
        rows = over_redis._rows
        trimmed: list[int] = []

        def late(after: int, block_s: float) -> Any:
            if not trimmed:
                trimmed.append(over_redis.trim(0.0))
                over_redis.record(deed(4))
            return rows(after, block_s)

        monkeypatch.setattr(over_redis, "_rows", late)
        verdict = over_redis.verify()
        assert (verdict.broken, verdict.checked, verdict.anchor.number) == (None, 1, 3)

    def test_a_clock_that_went_back_does_not_take_the_log_along(
        self, over_redis: RedisAudit, redis_client: redis.Redis, prefix: str
    ) -> None:
        first = over_redis.record(deed(1))
        redis_client.hset(f"{prefix}:audit:ends", "at", first.at_ms + 60_000)
        assert over_redis.record(deed(2)).at_ms == first.at_ms + 60_000

    def test_nothing_personal_is_in_any_of_its_keys(
        self, over_redis: RedisAudit, redis_client: redis.Redis, prefix: str
    ) -> None:
        over_redis.record(deed(1, subject_id=ANN))
        found: Any = redis_client.keys(f"{prefix}*")
        assert sorted(key.decode() for key in found) == [f"{prefix}:audit", f"{prefix}:audit:ends"]

    def test_a_server_that_is_away_is_named(self, prefix: str) -> None:
        with redis.Redis.from_url("redis://127.0.0.1:1/0") as nobody, pytest.raises(StateUnavailable, match="audit"):
            RedisAudit(nobody, prefix).record(deed(1))


class TestDeeds:
    @pytest.mark.parametrize(
        "parts",
        [
            {"actor": ""},
            {"actor": "x" * 201},
            {"actor": "a\nb"},
            {"subject_id": "Ada Lovelace"},
            {"detail": {"vector": [0.5, 0.5]}},
            {"detail": {"text": "x" * MAX_DETAIL}},
        ],
    )
    def test_what_does_not_belong_in_a_log_is_refused(self, parts: dict[str, Any]) -> None:
        with pytest.raises(Rejected):
            deed(1, **parts)

    def test_a_gallery_is_a_gallerys_name(self) -> None:
        with pytest.raises(InvalidName):
            deed(1, gallery="../etc")

    def test_the_command_line_says_who_runs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: "ada")
        monkeypatch.setattr("platform.node", lambda: "desk")
        assert command_line_actor() == "cli:ada@desk"
        monkeypatch.setattr("getpass.getuser", _no_name)
        assert command_line_actor() == "cli:unknown@desk"

    _texts = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
    _deeds = st.builds(
        Deed,
        _texts,
        st.sampled_from(Action),
        st.sampled_from(["", "door", "gate-2"]),
        st.one_of(st.none(), st.just(ANN)),
        st.one_of(st.none(), st.integers(0, 2**53)),
        st.dictionaries(_texts, st.one_of(_texts, st.integers(), st.booleans(), st.floats(-1e9, 1e9)), max_size=4),
    )

    @settings(deadline=None)
    @given(_deeds)
    def test_a_deed_is_written_in_one_way_and_read_as_it_was(self, made: Deed) -> None:
        assert deed_of(columns_of(made)) == made

    @settings(deadline=None)
    @given(_deeds, _deeds)
    def test_two_deeds_have_one_digest_only_when_they_are_one(self, one: Deed, other: Deed) -> None:
        same = digest_of(GENESIS, 1, 1, one) == digest_of(GENESIS, 1, 1, other)
        assert same == (columns_of(one) == columns_of(other))

    @settings(deadline=None)
    @given(st.lists(_deeds, min_size=1, max_size=6), st.data())
    def test_a_chain_breaks_where_it_is_changed(self, deeds: list[Deed], data: st.DataObject) -> None:
        start = Head(0, GENESIS)
        entries = linked(start, 5, deeds)
        at = data.draw(st.integers(0, len(entries) - 1))
        entries[at] = replace(entries[at], at_ms=6)
        chain = Chain(start)
        walked = [chain.add(each) for each in entries[: at + 1]]

        assert walked == [True] * at + [False]
        assert chain.end(Head(len(entries), entries[-1].digest)).broken == at + 1


def _agrees(told: Deed, where: Where) -> bool:
    if where.gallery is not None and told.gallery != where.gallery:
        return False
    if where.subject_id is not None and told.subject_id != where.subject_id:
        return False
    return where.action is None or told.action is where.action


def _no_name() -> str:
    raise KeyError("uid 12345")
