"""Views that never change under a search, and the thread that keeps making new ones."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.errors import GalleryBehind, StateUnavailable, UnknownGallery, UnknownKey
from kith.gallery import BLOCK_ROWS, Change, Enrolment, GalleryDamaged, GalleryInfo, GallerySettings, Op, Snapshot
from kith.journal import FREE
from kith.replica import Follower, GalleryView, Replica

DIMENSION = 4


def unit(seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def enrol(sequence: int, number: int, slot: int, name: str = "", op: Op = Op.ENROL, seed: int | None = None) -> Change:
    return Change(
        *(sequence, op, 0, number, f"id{number}", name or f"name{number}"),
        slots=(slot,),
        vectors=unit(sequence if seed is None else seed)[np.newaxis],
        qualities=np.array([0.25], np.float32),
    )


def forget(sequence: int, number: int, *slots: int, early: bool = False) -> Change:
    return Change(sequence, Op.FORGET, 0, number, slots=slots, gone=number, early=early)


def owned(owners: Sequence[np.ndarray]) -> dict[int, int]:
    return {
        block * BLOCK_ROWS + row: int(owner)
        for block, each in enumerate(owners)
        for row, owner in enumerate(each)
        if owner != FREE
    }


def state(view: GalleryView) -> tuple[object, ...]:
    """Everything a view says, in plain values."""
    owners = {slot: (number, *view.subject_at(number)) for slot, number in owned(view.owners).items()}
    vectors = {slot: view.vector(slot).tobytes() for slot in owners}
    qualities = {slot: float(view.qualities[slot // BLOCK_ROWS][slot % BLOCK_ROWS]) for slot in owners}
    return view.sequence, view.settings, view.subjects, view.templates, owners, vectors, qualities


def plain(snapshot: Snapshot) -> tuple[object, ...]:
    owners = {slot: (number, *snapshot.names[number]) for slot, number in owned(snapshot.owners).items()}
    vectors = {slot: snapshot.row(slot).tobytes() for slot in owners}
    qualities = {slot: float(snapshot.qualities[slot // BLOCK_ROWS][slot % BLOCK_ROWS]) for slot in owners}
    return snapshot.sequence, snapshot.settings, len(snapshot.names), len(owners), owners, vectors, qualities


class TestReplica:
    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_it_equals_the_plain_model_after_any_changes_and_old_views_stay_what_they_were(
        self, data: st.DataObject
    ) -> None:
        model, replica = Snapshot("door", "m", DIMENSION, "e"), Replica(Snapshot("door", "m", DIMENSION, "e"))
        kept = []
        sequence = 0
        slots = [0, 1, 2, 3, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS + 5]
        ops = [Op.ENROL, Op.ENROL, Op.ENROL, Op.MOVE, Op.REMOVE, Op.RENAME, Op.FORGET, Op.SETTINGS]
        for _ in range(data.draw(st.integers(1, 8))):
            batch = []
            for _ in range(data.draw(st.integers(1, 5))):
                sequence += 1
                op = data.draw(st.sampled_from(ops))
                taken = owned(model.owners)
                free = [slot for slot in slots if slot not in taken]
                who = data.draw(st.sampled_from([*model.names, 2000 + sequence]))
                name = model.names.get(who, ("", ""))[1]
                if op is Op.ENROL and free:
                    change = enrol(sequence, who, data.draw(st.sampled_from(free)), name)
                elif op is Op.MOVE and taken:
                    slot = data.draw(st.sampled_from(list(taken)))
                    change = enrol(sequence, who, slot, name, Op.MOVE, seed=0)
                    change = replace(change, vectors=model.row(slot)[np.newaxis].copy())
                elif op is Op.REMOVE and taken:
                    change = Change(sequence, op, 0, 0, slots=(data.draw(st.sampled_from(list(taken))),))
                elif op is Op.RENAME and who in model.names:
                    change = Change(sequence, op, 0, who, f"id{who}", f"other {sequence}")
                elif op is Op.FORGET and who in model.names:
                    change = forget(sequence, who, *(slot for slot, owner in taken.items() if owner == who))
                else:
                    change = Change(sequence, Op.SETTINGS, settings=GallerySettings(cutoff=sequence / 100))
                batch.append(change)
                model.apply([change])
            view = replica.apply(batch)
            assert view is replica.view
            assert state(view) == plain(model)
            owners = owned(model.owners)
            for number, (subject_id, name) in model.names.items():
                assert view.subject_at(number) == (subject_id, name)
                assert view.row_of(name) == number
                assert view.slots_of(number) == sorted(slot for slot, who in owners.items() if who == number)
            kept.append((view, state(view)))
        for view, before in kept:
            assert state(view) == before
        assert state(Replica(model).view) == state(replica.view)

    def test_a_change_applied_twice_changes_nothing(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        batch = [enrol(1, 1, 0), enrol(2, 2, 1)]
        view = replica.apply(batch)
        assert replica.apply(batch) is view

    def test_appending_copies_no_block_and_overwriting_leaves_the_old_view_alone(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        one = replica.apply([enrol(1, 1, 0)])
        two = replica.apply([enrol(2, 2, 1)])
        assert np.shares_memory(one.blocks[0], two.blocks[0])
        assert one.blocks[0].shape == (1, DIMENSION)
        three = replica.apply([forget(3, 1, 0)])
        assert not np.shares_memory(two.blocks[0], three.blocks[0])
        assert not three.vector(0).any()
        assert two.vector(0).tolist() == unit(1).tolist()

    def test_untouched_blocks_are_shared_between_views(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        one = replica.apply([enrol(1, 1, 0), enrol(2, 2, BLOCK_ROWS)])
        two = replica.apply([forget(3, 2, BLOCK_ROWS)])
        assert one.blocks[0] is two.blocks[0]
        assert one.owners[0] is two.owners[0]

    def test_nobody_can_write_into_a_view(self) -> None:
        view = Replica(Snapshot("door", "m", DIMENSION, "e")).apply([enrol(1, 1, 0)])
        with pytest.raises(ValueError, match="read-only"):
            view.blocks[0][0, 0] = 1
        with pytest.raises(ValueError, match="read-only"):
            view.owners[0][0] = 1

    def test_two_subjects_may_swap_names_through_a_third(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        replica.apply([enrol(1, 1, 0, "Ann"), enrol(2, 2, 1, "Bob")])
        renames = [(1, "x"), (2, "Ann"), (1, "Bob")]
        view = replica.apply(
            [Change(3 + i, Op.RENAME, 0, who, f"id{who}", name) for i, (who, name) in enumerate(renames)]
        )
        rows = {name: view.row_of(name) for name in ("Ann", "Bob", "x")}
        assert rows["x"] is None
        assert [view.subject_at(rows[name])[0] for name in ("Ann", "Bob")] == ["id2", "id1"]  # type: ignore[arg-type]

    def test_a_forget_that_came_early_makes_the_one_in_its_own_place_a_no_op(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        replica.apply([enrol(1, 1, 0), forget(2, 1, early=True), enrol(3, 2, 0), forget(4, 1)])
        assert (replica.view.sequence, replica.view.templates, replica.view.subjects) == (4, 1, 1)

    def test_a_moved_template_changes_its_owner_and_copies_no_vectors(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        one = replica.apply([enrol(1, 1, 0, seed=7)])
        two = replica.apply([enrol(2, 2, 0, op=Op.MOVE, seed=7)])
        assert np.shares_memory(one.blocks[0], two.blocks[0])
        assert (one.owners[0][0], two.owners[0][0]) == (1, 2)

    def test_a_merge_leaves_one_subject_and_its_undoing_two(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        replica.apply([enrol(1, 1, 0, "Ann", seed=7), enrol(2, 2, 1, "Anna")])
        merged = replica.apply([replace(enrol(3, 2, 0, "Anna", Op.MOVE, seed=7), gone=1)])
        assert (merged.subjects, merged.row_of("Ann"), merged.slots_of(2)) == (1, None, [0, 1])
        again = replica.apply([enrol(4, 1, 0, "Ann", Op.MOVE, seed=7)])
        assert (again.subjects, again.row_of("Ann"), again.slots_of(2)) == (2, 1, [1])

    def test_templates_lost_since_are_never_seen(self) -> None:
        replica = Replica(Snapshot("door", "m", DIMENSION, "e"))
        lost = Change(
            *(2, Op.MOVE, 0, 2, "id2", "Bob"),
            vectors=np.empty((0, DIMENSION), np.float32),
            qualities=np.empty(0, np.float32),
            lost=(0, 5000),
        )
        view = replica.apply([enrol(1, 1, 0), lost])
        assert (view.templates, view.subjects, view.vector(0).any()) == (0, 2, False)


class Faulty(MemoryGalleryStore):
    """A store that can be away, restarted, wiped, or broken."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = None
        #: What reading these galleries comes to.
        self.unreadable: dict[str, Exception] = {}
        #: When a snapshot of such a one was asked for.
        self.failed_s: list[float] = []
        self.word = "first"
        self.snapshots = 0

    def _maybe(self, names: Collection[str] = ()) -> None:
        if self.fault is not None:
            raise self.fault
        for name in names:
            if name in self.unreadable:
                raise self.unreadable[name]

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000, likely: Collection[str] = ()
    ) -> dict[str, list[Change]]:
        self._maybe(after)
        found = super().changes_many(after, block_ms=block_ms, limit=limit, likely=likely)
        self._maybe(after)
        return found

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        self._maybe([name])
        return super().changes(name, after, block_ms=block_ms, limit=limit)

    def info(self, name: str) -> GalleryInfo:
        self._maybe()
        return super().info(name)

    def snapshot(self, name: str) -> Snapshot:
        if name in self.unreadable:
            self.failed_s.append(time.monotonic())
        self._maybe([name])
        self.snapshots += 1
        return super().snapshot(name)

    def incarnation(self) -> str:
        self._maybe()
        return self.word

    def wipe(self, name: str) -> None:
        with self._changed:
            del self._galleries[name]

    def add(self, name: str, subject: str, seed: int = 0) -> int:
        return self.enrol(name, [Enrolment(subject, f"{subject}/{seed}", unit(seed), "key", 0.5, "m")])[0]


@pytest.fixture
def store() -> Faulty:
    store = Faulty()
    store.create("door", model_id="m", dimension=DIMENSION)
    return store


@pytest.fixture
def follower(store: Faulty, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    monkeypatch.setattr("kith.replica._LOOK_EVERY_S", 0.05)
    follower = Follower(store, block_ms=20)
    yield follower
    follower.stop()


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


class TestFollower:
    def test_it_loads_at_first_use_and_then_follows(self, store: Faulty, follower: Follower) -> None:
        store.add("door", "Ann")
        assert follower.sequences() == {}
        assert follower.view("door").subjects == 1
        store.add("door", "Bob")
        until(lambda: follower.view("door").subjects == 2)
        assert follower.sequences() == {"door": 2}
        assert store.snapshots == 1
        until(lambda: follower.lags()["door"].changes == 0)

    def test_it_says_which_gallery_of_its_name_it_follows(self, store: Faulty, follower: Follower) -> None:
        assert follower.epochs() == {}
        store.add("door", "Ann")
        former = follower.view("door").epoch
        assert follower.epochs() == {"door": former} == {"door": store.info("door").epoch}
        store.wipe("door")
        store.create("door", model_id="m", dimension=DIMENSION)
        until(lambda: follower.epochs() == {"door": store.info("door").epoch} != {"door": former})
        until(lambda: follower.confirmed() == {"door": 0})

    def test_a_forget_is_confirmed_once_nothing_of_it_is_in_the_memory(
        self, store: Faulty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wiped = threading.Semaphore(0)
        monkeypatch.setattr("kith.replica._LOOK_EVERY_S", 0.05)
        monkeypatch.setattr("kith.forgotten_memory.wipe_leftovers", wiped.release)
        follower = Follower(store, block_ms=20)
        store.add("door", "Ann")
        searched = follower.view("door")
        store.add("door", "Bob")
        until(lambda: follower.confirmed() == {"door": 2})
        gone = store.forget("door", "Ann").sequence
        assert wiped.acquire(timeout=10)
        until(lambda: follower.sequences() == {"door": gone})
        # Who still searches an older view has her in his hands.
        assert follower.confirmed() == {"door": gone - 1}
        del searched
        until(lambda: follower.confirmed() == {"door": gone})
        assert wiped.acquire(timeout=10)
        follower.stop()

    def test_a_forget_in_a_gallery_that_is_not_followed_is_confirmed_too_where_its_people_passed(
        self, store: Faulty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wiped = threading.Semaphore(0)
        monkeypatch.setattr("kith.replica._LOOK_EVERY_S", 0.05)
        monkeypatch.setattr("kith.forgotten_memory.wipe_leftovers", wiped.release)
        follower = Follower(store, block_ms=20)
        follower.passing("door", store.info("door").sequence)
        store.add("door", "Ann")
        gone = store.forget("door", "Ann").sequence
        assert wiped.acquire(timeout=10)
        until(lambda: follower.confirmed() == {"door": gone})
        # Followed, it is looked at no more.
        follower.view("door")
        follower.passing("door", gone)
        until(lambda: not follower._passed_through.sequences())
        follower.stop()

    def test_a_demanded_number_is_waited_for_and_named_when_it_does_not_come(
        self, store: Faulty, follower: Follower
    ) -> None:
        follower.view("door")
        for seed in range(20):
            sequence = store.add("door", "Ann", seed)
            assert follower.view("door", at_least=sequence, timeout_s=30).sequence >= sequence
        began = time.monotonic()
        with pytest.raises(GalleryBehind, match="at sequence 20, the job demands 21"):
            follower.view("door", at_least=21, timeout_s=0.1)
        assert 0.1 <= time.monotonic() - began < 20

    def test_a_demanded_number_is_reached_even_while_the_thread_waits_for_other_galleries(self, store: Faulty) -> None:
        follower = Follower(store, block_ms=60_000)
        store.create("gate", model_id="m", dimension=DIMENSION)
        follower.view("door")
        time.sleep(0.05)
        follower.view("gate")
        began = time.monotonic()
        assert follower.view("gate", at_least=store.add("gate", "Ann"), timeout_s=30).templates == 1
        assert time.monotonic() - began < 30
        store.add("door", "wakes the thread")
        follower.stop()

    def test_an_unknown_gallery_is_refused_each_time_and_found_once_it_is_made(
        self, store: Faulty, follower: Follower
    ) -> None:
        for _ in range(2):
            with pytest.raises(UnknownGallery):
                follower.view("gate")
        assert "gate" not in follower._galleries, "names that lead nowhere pile up"
        store.create("gate", model_id="m", dimension=DIMENSION)
        assert follower.view("gate").sequence == 0
        follower.view("gate", at_least=store.add("gate", "Ann"))

    def test_while_the_store_is_away_the_last_view_answers_and_afterwards_it_catches_up(
        self, store: Faulty, follower: Follower, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        store.add("door", "Ann")
        view = follower.view("door")
        store.fault = StateUnavailable("pulled the plug")
        sequence = store.add("door", "Bob")
        until(lambda: follower.silent_s() > 0.2)
        assert follower.view("door").sequence in (view.sequence, sequence)
        with pytest.raises(GalleryBehind):
            follower.view("door", at_least=sequence + 1, timeout_s=0.1)
        with pytest.raises(StateUnavailable):
            follower.view("gate")
        assert [record.getMessage() for record in caplog.records if "cannot be followed" in record.getMessage()] == [
            "galleries cannot be followed, matching goes on with what is known: pulled the plug"
        ]
        store.fault = None
        until(lambda: follower.view("door").sequence == sequence)
        until(lambda: follower.silent_s() < 0.2)

    @pytest.mark.parametrize("fault", [UnknownKey("destroyed"), GalleryDamaged("rubbish"), ValueError("not foreseen")])
    def test_a_gallery_that_cannot_be_read_is_let_alone_and_the_others_are_followed(
        self, store: Faulty, follower: Follower, caplog: pytest.LogCaptureFixture, fault: Exception
    ) -> None:
        caplog.set_level(logging.WARNING)
        store.create("gate", model_id="m", dimension=DIMENSION)
        known = store.add("door", "Ann")
        assert (follower.view("door").subjects, follower.view("gate").subjects) == (1, 0)
        store.unreadable["door"] = fault
        lost = store.add("door", "Bob")
        until(lambda: "gallery door cannot be followed" in caplog.text)
        for seed in range(5):
            follower.view("gate", at_least=store.add("gate", f"Cid {seed}"), timeout_s=30)
        assert follower.sequences() == {"door": known, "gate": 5}
        with pytest.raises(GalleryBehind):
            follower.view("door", at_least=lost, timeout_s=0.1)
        # What is behind is seen by those who watch.
        until(lambda: follower.lags()["door"].changes == 1 and follower.lags()["gate"].changes == 0)
        assert caplog.text.count("cannot be followed") == 1
        del store.unreadable["door"]
        until(lambda: follower.sequences() == {"door": lost, "gate": 5})
        follower.view("door", at_least=store.add("door", "Dot"), timeout_s=30)

    def test_a_gallery_that_cannot_be_loaded_after_a_restart_keeps_no_other_from_it_and_is_not_read_all_the_time(
        self, store: Faulty, follower: Follower, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("kith.followed._PAUSE_S", 0.1)
        store.create("gate", model_id="m", dimension=DIMENSION)
        follower.view("door")
        follower.view("gate")
        former = follower._galleries["gate"].replica
        store.unreadable["door"], store.word = GalleryDamaged("rubbish"), "second"
        until(lambda: follower._galleries["gate"].replica is not former)
        until(lambda: len(store.failed_s) == 4)
        assert all(
            later - sooner >= pause
            for (sooner, later), pause in zip(pairwise(store.failed_s), (0.1, 0.2, 0.4), strict=True)
        )
        assert follower.view("door").sequence == 0
        del store.unreadable["door"]
        follower.view("door", at_least=store.add("door", "Ann"), timeout_s=30)

    def test_a_fault_nobody_foresaw_does_not_end_the_thread(
        self, store: Faulty, follower: Follower, caplog: pytest.LogCaptureFixture
    ) -> None:
        follower.view("door")
        store.fault = RuntimeError("a bug")
        until(lambda: "a bug" in caplog.text)
        store.fault = None
        sequence = store.add("door", "Ann")
        until(lambda: follower.view("door").sequence == sequence)
        assert store.snapshots >= 2

    def test_a_restarted_store_is_loaded_afresh_for_it_may_have_lost_changes(
        self, store: Faulty, follower: Follower
    ) -> None:
        store.add("door", "lost", 1)
        follower.view("door")
        # Another history of the same length: only the new word tells.
        store.wipe("door")
        store.create("door", model_id="m", dimension=DIMENSION)
        store._galleries["door"].epoch = follower._galleries["door"].replica.epoch  # type: ignore[union-attr]
        store.add("door", "kept", 2)
        store.word = "second"
        until(lambda: follower.view("door").row_of("kept") is not None)
        assert follower.view("door").row_of("lost") is None

    def test_a_gallery_wiped_and_made_anew_is_the_new_one(self, store: Faulty, follower: Follower) -> None:
        store.add("door", "old")
        follower.view("door")
        store.wipe("door")
        store.create("door", model_id="m2", dimension=DIMENSION)
        # As many changes as before: only the epoch tells.
        store.configure("door", GallerySettings(cutoff=0.5))
        until(lambda: follower.view("door").model_id == "m2")

    def test_a_store_that_went_back_is_followed_back(self, store: Faulty, follower: Follower) -> None:
        before = store.snapshot("door")
        store.add("door", "lost")
        assert follower.view("door").sequence == 1
        store.wipe("door")
        store.create("door", model_id="m", dimension=DIMENSION)
        store._galleries["door"].epoch = before.epoch
        until(lambda: follower.view("door").sequence == 0)
        follower.view("door", at_least=store.add("door", "kept"))
        assert follower.view("door").row_of("kept") is not None

    def test_changes_read_for_a_view_that_a_fresh_load_has_replaced_are_dropped(
        self, store: Faulty, follower: Follower
    ) -> None:
        view = follower.view("door")
        follower._apply("door", follower._galleries["door"], [enrol(7, 1, 0)])
        assert follower.view("door") is view

    def test_a_gallery_that_is_gone_is_unknown(self, store: Faulty, follower: Follower) -> None:
        follower.view("door")
        store.wipe("door")

        def unknown() -> bool:
            try:
                follower.view("door")
            except UnknownGallery:
                return True
            return False

        until(unknown)
        assert follower.sequences() == {}

    def test_a_log_trimmed_past_the_replica_makes_it_load_afresh(
        self, store: Faulty, follower: Follower, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        follower.view("door")
        store.fault = StateUnavailable()
        until(lambda: "cannot be followed" in caplog.text)
        for seed in range(5):
            store.add("door", "Ann", seed)
        time.sleep(0.005)
        assert store.trim("door", 0) == 4
        store.fault = None
        until(lambda: follower.view("door").templates == 5)
        assert "trimmed past" in caplog.text

    def test_many_threads_asking_first_load_once(self, store: Faulty, follower: Follower) -> None:
        store.add("door", "Ann")
        views: list[GalleryView] = []
        threads = [threading.Thread(target=lambda: views.append(follower.view("door"))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(views) == 16
        assert store.snapshots == 1

    def test_stopped_it_goes_on_answering_with_what_it_has(self, store: Faulty, follower: Follower) -> None:
        follower.view("door")
        follower.stop()
        follower.stop()
        assert not any(thread.name == "kith-gallery-follower" for thread in threading.enumerate())
        store.add("door", "Ann")
        assert follower.view("door").sequence == 0
