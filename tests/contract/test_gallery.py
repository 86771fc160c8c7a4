"""One contract for every gallery store: the one in a process, and Redis (a real Valkey server)."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.errors import (
    InvalidName,
    InvalidTemplate,
    Misconfigured,
    ModelMismatch,
    NameTaken,
    UnknownGallery,
    UnknownSubject,
)
from kith.gallery import BLOCK_ROWS, Change, Enrolment, GalleryStore, Op, Snapshot, template_id
from kith.replica import Follower, GalleryView, Replica

DIMENSION = 8
Content = dict[str, list[bytes]]


def unit(seed: int, dimension: int = DIMENSION) -> np.ndarray:
    raw = np.random.default_rng(seed).standard_normal(dimension)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def face(subject: str, seed: int, *, model_id: str = "m", dimension: int = DIMENSION) -> Enrolment:
    image = f"ab/{seed}"
    known = template_id("door", subject, image, model_id)
    return Enrolment(subject, known, unit(seed, dimension), image, 0.25, model_id)


def content(snapshot: Snapshot) -> Content:
    """Who is in it with which vectors, whatever slots and ids they have."""
    found: Content = {name: [] for name in snapshot.names.values()}
    for slot, owner in snapshot.owners.items():
        found[snapshot.names[owner]].append(snapshot.row(slot).tobytes())
    return {name: sorted(vectors) for name, vectors in found.items()}


def view_content(view: GalleryView) -> Content:
    found: Content = {}
    for block, owners in enumerate(view.owners):
        for row, owner in enumerate(owners.tolist()):
            if owner >= 0:
                vector = view.vector(block * BLOCK_ROWS + row).tobytes()
                found.setdefault(view.subject_at(owner)[1], []).append(vector)
    return {name: sorted(vectors) for name, vectors in found.items()}


@pytest.fixture(params=["memory", "redis"])
def fresh(request: pytest.FixtureRequest) -> Callable[[], GalleryStore]:
    """Makes an empty store."""
    if request.param == "memory":
        return MemoryGalleryStore
    client = request.getfixturevalue("redis_client")
    return lambda: RedisGalleryStore(client, f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def store(fresh: Callable[[], GalleryStore]) -> GalleryStore:
    store = fresh()
    store.create("door", model_id="m", dimension=DIMENSION)
    return store


class TestGalleries:
    def test_creating_one_again_answers_with_the_one_that_exists(self, fresh: Callable[[], GalleryStore]) -> None:
        store = fresh()
        assert store.galleries() == []
        first = store.create("gate", model_id="m", dimension=3, cutoff=0.5)
        assert (first.name, first.model_id, first.dimension, first.cutoff) == ("gate", "m", 3, 0.5)
        assert (first.sequence, first.subjects, first.templates) == (0, 0, 0)
        assert abs(first.created_ms / 1000 - time.time()) < 60
        assert store.create("gate", model_id="m", dimension=3, cutoff=0.9) == first == store.info("gate")
        store.create("door", model_id="m", dimension=3)
        assert [info.name for info in store.galleries()] == ["door", "gate"]

    def test_another_model_or_dimension_is_a_mismatch(self, store: GalleryStore) -> None:
        with pytest.raises(ModelMismatch, match="model m "):
            store.create("door", model_id="other", dimension=DIMENSION)
        with pytest.raises(ModelMismatch):
            store.create("door", model_id="m", dimension=DIMENSION + 1)

    def test_a_name_outside_the_limits_is_refused(self, store: GalleryStore) -> None:
        for name in ("", "Door", "a:b", "x" * 65):
            with pytest.raises(InvalidName):
                store.create(name, model_id="m", dimension=2)

    def test_an_unknown_gallery_is_unknown_to_every_verb(self, store: GalleryStore) -> None:
        verbs: list[Callable[[], object]] = [
            lambda: store.info("gate"),
            lambda: store.set_cutoff("gate", 0.5),
            lambda: store.enrol("gate", [face("Ann", 1)]),
            lambda: store.subjects("gate"),
            lambda: store.show("gate", "Ann"),
            lambda: store.rename("gate", "Ann", "Bob"),
            lambda: store.forget("gate", "Ann"),
            lambda: store.snapshot("gate"),
            lambda: store.trim("gate", 0),
        ]
        for verb in verbs:
            with pytest.raises(UnknownGallery):
                verb()
        assert store.changes("gate", 0) == []
        assert [info.name for info in store.galleries()] == ["door"]

    def test_two_galleries_share_nothing(self, store: GalleryStore) -> None:
        store.create("door-2", model_id="m", dimension=DIMENSION)
        store.enrol("door", [face("Ann", 1)])
        assert store.subjects("door-2") == []
        assert store.enrol("door-2", [face("Ann", 2), face("Bob", 3)]) == [1, 2]
        store.forget("door-2", "Ann")
        assert store.info("door").templates == 1

    def test_its_cutoff_is_set_and_removed_and_stands_in_the_log(self, store: GalleryStore) -> None:
        assert store.set_cutoff("door", 0.4321) == 1
        assert store.info("door").cutoff == 0.4321 == store.snapshot("door").cutoff
        assert store.set_cutoff("door", None) == 2
        assert store.info("door").cutoff is None is store.snapshot("door").cutoff
        assert [(change.op, change.cutoff) for change in store.changes("door", 0)] == [
            (Op.CUTOFF, 0.4321),
            (Op.CUTOFF, None),
        ]
        with pytest.raises(Misconfigured):
            store.set_cutoff("door", 1.5)


class TestEnrolling:
    def test_templates_get_consecutive_numbers_and_are_shown(self, store: GalleryStore) -> None:
        faces = [face("Ann", 1), face("Bob", 2), face("Ann", 3)]
        assert store.enrol("door", faces) == [1, 2, 3]
        info = store.info("door")
        assert (info.sequence, info.subjects, info.templates) == (3, 2, 3)
        assert [(subject.name, subject.templates) for subject in store.subjects("door")] == [("Ann", 2), ("Bob", 1)]
        ann = store.show("door", "Ann")
        assert [(each.template_id, each.image, each.quality, each.sequence) for each in ann.templates] == [
            (faces[0].template_id, "ab/1", 0.25, 1),
            (faces[2].template_id, "ab/3", 0.25, 3),
        ]
        assert len({each.slot for each in ann.templates}) == 2
        assert all(abs(each.enrolled_ms / 1000 - time.time()) < 60 for each in ann.templates)
        assert content(store.snapshot("door")) == {
            "Ann": sorted([faces[0].vector.tobytes(), faces[2].vector.tobytes()]),
            "Bob": [faces[1].vector.tobytes()],
        }

    def test_the_same_template_again_changes_nothing_and_answers_with_its_first_number(
        self, store: GalleryStore
    ) -> None:
        store.enrol("door", [face("Ann", 1), face("Bob", 2)])
        assert store.enrol("door", [face("Bob", 2), face("Cid", 3), face("Ann", 1), face("Cid", 3)]) == [2, 3, 1, 3]
        assert store.info("door").sequence == 3
        store.rename("door", "Ann", "Anna")
        assert store.enrol("door", [face("Ann", 1)]) == [1]
        assert [subject.name for subject in store.subjects("door")] == ["Anna", "Bob", "Cid"]

    def test_one_refused_template_leaves_nothing_of_its_batch(self, store: GalleryStore) -> None:
        bad = [
            (InvalidTemplate, face("Bob", 2, dimension=DIMENSION + 1)),
            (InvalidTemplate, Enrolment("Bob", "t", unit(2) * np.float32(1.1), "k", 0.5, "m")),
            (InvalidTemplate, Enrolment("Bob", "t", np.full(DIMENSION, np.nan, np.float32), "k", 0.5, "m")),
            (ModelMismatch, face("Bob", 2, model_id="other")),
            (InvalidName, face("x" * 201, 2)),
            (InvalidName, face(" ", 2)),
            (InvalidName, face("a\0b", 2)),
        ]
        for kind, wrong in bad:
            with pytest.raises(kind):
                store.enrol("door", [face("Ann", 1), wrong])
        assert store.info("door").sequence == 0
        assert store.enrol("door", []) == []

    @pytest.mark.parametrize(
        "name", ["a/b\\c", "../../etc", "🙂👩‍👩‍👧", "x" * 200, "名前", "quote \" and ' and {}:*", "a  b", "Ünïcödé"]
    )
    def test_names_of_any_script_come_back_as_they_went_in(self, store: GalleryStore, name: str) -> None:
        store.enrol("door", [face(name, 1)])
        assert store.subjects("door")[0].name == name == store.show("door", name).name
        assert store.changes("door", 0)[0].subject == name
        assert set(store.snapshot("door").names.values()) == {name}
        store.rename("door", name, "plain")
        store.rename("door", "plain", name)
        assert store.forget("door", name).subject == name

    def test_two_spellings_of_a_letter_are_one_person(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ren\u00e9", 1), face(" Rene\u0301 ", 2)])
        assert store.show("door", "Rene\u0301").name == "Ren\u00e9"
        assert store.info("door").subjects == 1

    def test_the_array_enrolled_may_be_used_again(self, store: GalleryStore) -> None:
        array = unit(1)
        store.enrol("door", [Enrolment("Ann", "t1", array, "k", 0.5, "m")])
        array[:] = unit(2)
        assert content(store.snapshot("door")) == {"Ann": [unit(1).tobytes()]}

    def test_clients_racing_for_one_template_and_one_subject_make_one_of_each(self, store: GalleryStore) -> None:
        gate = threading.Barrier(8)
        numbers: list[int] = []

        def enrol(client: int) -> None:
            gate.wait()
            for seed in range(15):
                numbers.extend(store.enrol("door", [face("Ann", seed), face(f"own {client}", seed)])[:1])

        threads = [threading.Thread(target=enrol, args=(client,)) for client in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        info = store.info("door")
        assert (info.subjects, info.templates, info.sequence) == (9, 9 * 15, 9 * 15)
        assert len(set(numbers)) == 15
        assert content(store.snapshot("door"))["Ann"] == sorted(unit(seed).tobytes() for seed in range(15))


class TestSubjects:
    def test_a_renamed_subject_keeps_its_id_and_its_templates(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1), face("Bob", 2)])
        before = store.show("door", "Ann")
        assert store.rename("door", "Ann", "Anna") == 3
        after = store.show("door", "Anna")
        assert (after.subject_id, after.templates, after.name) == (before.subject_id, before.templates, "Anna")
        with pytest.raises(UnknownSubject, match="nobody is called 'Ann'"):
            store.show("door", "Ann")
        assert store.enrol("door", [face("Anna", 4)]) == [4]
        assert len(store.show("door", "Anna").templates) == 2

    def test_a_taken_name_and_an_unknown_subject_are_refused_and_the_same_name_is_no_change(
        self, store: GalleryStore
    ) -> None:
        store.enrol("door", [face("Ann", 1), face("Bob", 2)])
        with pytest.raises(NameTaken, match="'Bob'"):
            store.rename("door", "Ann", "Bob")
        with pytest.raises(UnknownSubject):
            store.rename("door", "Cid", "Dan")
        with pytest.raises(UnknownSubject):
            store.forget("door", "Cid")
        with pytest.raises(InvalidName):
            store.rename("door", "Ann", "")
        assert store.rename("door", "Ann", " Ann ") == 2
        assert store.info("door").sequence == 2

    def test_a_forgotten_subject_is_gone_and_its_slots_are_used_again(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1), face("Bob", 2), face("Ann", 3)])
        slots = {template.slot for template in store.show("door", "Ann").templates}
        ann = store.show("door", "Ann").subject_id
        gone = store.forget("door", "Ann")
        assert (gone.sequence, gone.subject_id, gone.templates, gone.images) == (4, ann, 2, ("ab/1", "ab/3"))
        with pytest.raises(UnknownSubject):
            store.show("door", "Ann")
        snapshot = store.snapshot("door")
        assert content(snapshot) == {"Bob": [unit(2).tobytes()]}
        assert all(not snapshot.row(slot).any() for slot in slots)
        assert store.enrol("door", [face("Ann", 1), face("Dan", 5)]) == [5, 6]
        again = store.show("door", "Ann")
        assert again.subject_id != ann
        assert {again.templates[0].slot, store.show("door", "Dan").templates[0].slot} == slots

    def test_the_log_tells_nothing_of_a_forgotten_subject_but_its_id(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1), face("Bob", 2)])
        store.rename("door", "Ann", "Anna")
        ann = store.show("door", "Anna").subject_id
        store.forget("door", "Anna")
        changes = store.changes("door", 0)
        assert [(change.sequence, change.op, change.early) for change in changes] == [
            (1, Op.FORGET, True),
            (2, Op.ENROL, False),
            (3, Op.FORGET, True),
            (4, Op.FORGET, False),
        ]
        for change in (changes[0], changes[2], changes[3]):
            assert change.subject_id == ann
            assert (change.subject, change.template_id, change.image, change.vector) == ("", "", "", None)


class TestLog:
    def test_changes_carry_what_they_changed(self, store: GalleryStore) -> None:
        one = face("Ann", 1)
        store.enrol("door", [one])
        store.rename("door", "Ann", "Anna")
        known = store.show("door", "Anna")
        enrolled, renamed = store.changes("door", 0)
        assert (enrolled.op, enrolled.subject, enrolled.subject_id) == (Op.ENROL, "Ann", known.subject_id)
        assert (enrolled.slot, enrolled.template_id) == (known.templates[0].slot, one.template_id)
        assert (enrolled.image, enrolled.quality, enrolled.sequence) == ("ab/1", 0.25, 1)
        assert enrolled.vector is not None
        assert enrolled.vector.dtype == np.float32
        assert enrolled.vector.tobytes() == one.vector.tobytes()
        assert (renamed.op, renamed.subject, renamed.subject_id) == (Op.RENAME, "Anna", known.subject_id)

    def test_it_is_read_in_order_from_anywhere_and_within_the_limit(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", seed) for seed in range(10)])
        assert [change.sequence for change in store.changes("door", 0, limit=4)] == [1, 2, 3, 4]
        assert [change.sequence for change in store.changes("door", 7)] == [8, 9, 10]
        assert store.changes("door", 10) == []

    def test_waiting_ends_with_the_first_change_of_any_gallery_or_with_the_time(self, store: GalleryStore) -> None:
        store.create("gate", model_id="m", dimension=DIMENSION)
        began = time.monotonic()
        assert store.changes_many({"door": 0, "gate": 0}, block_ms=60) == {}
        assert 0.04 < time.monotonic() - began < 2
        later = threading.Timer(0.05, lambda: store.enrol("gate", [face("Ann", 1)]))
        later.start()
        found = store.changes_many({"door": 0, "gate": 0, "unknown": 5}, block_ms=5000)
        assert time.monotonic() - began < 3
        assert {name: [change.sequence for change in changes] for name, changes in found.items()} == {"gate": [1]}
        later.join()
        assert store.changes_many({}) == {}

    def test_a_trimmed_log_keeps_its_newest_entry_and_tells_who_is_behind_to_load_afresh(
        self, store: GalleryStore
    ) -> None:
        assert store.trim("door", 0) == 0
        store.enrol("door", [face("Ann", seed) for seed in range(5)])
        assert store.trim("door", 3600) == 0
        time.sleep(0.01)
        assert store.trim("door", 0) == 4
        assert store.trim("door", 0) == 0
        for behind in range(4):
            assert [(change.op, change.sequence) for change in store.changes("door", behind)] == [(Op.RELOAD, behind)]
        assert [change.sequence for change in store.changes("door", 4)] == [5]
        assert store.changes("door", 5) == []
        assert store.snapshot("door").sequence == 5
        assert len(content(store.snapshot("door"))["Ann"]) == 5
        assert store.forget("door", "Ann").sequence == 6
        assert [change.op for change in store.changes("door", 4)] == [Op.FORGET, Op.FORGET]

    def test_a_long_log_is_trimmed_to_the_end(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", seed) for seed in range(2300)])
        time.sleep(0.01)
        assert store.trim("door", 0) == 2299
        assert [change.sequence for change in store.changes("door", 2299)] == [2300]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enrol"), st.sampled_from("ABCD"), st.integers(0, 9)),
        st.tuples(st.just("rename"), st.sampled_from("ABCD"), st.sampled_from("ABCD")),
        st.tuples(st.just("forget"), st.sampled_from("ABCD")),
        st.tuples(st.just("cutoff"), st.sampled_from([None, 0.1, 0.7])),
        st.tuples(st.just("trim")),
        st.tuples(st.just("follow")),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_after_any_operations_store_replica_and_plain_model_agree(
    fresh: Callable[[], GalleryStore], operations: list[tuple[Any, ...]]
) -> None:
    store = fresh()
    store.create("door", model_id="m", dimension=DIMENSION)
    replica, cutoff, sequence = Replica(store.snapshot("door")), None, 0
    model: dict[str, dict[str, bytes]] = {}

    def follow(replica: Replica) -> Replica:
        changes = store.changes("door", replica.view.sequence)
        if changes and changes[0].op is Op.RELOAD:
            return Replica(store.snapshot("door"))
        replica.apply(changes)
        return replica

    for verb, *rest in operations:
        if verb == "enrol":
            one = face(*rest)
            if all(one.template_id not in templates for templates in model.values()):
                model.setdefault(rest[0], {})[one.template_id] = one.vector.tobytes()
                sequence += 1
            store.enrol("door", [one])
        elif verb == "rename":
            old, new = rest
            if old not in model:
                with pytest.raises(UnknownSubject):
                    store.rename("door", old, new)
            elif new in model and new != old:
                with pytest.raises(NameTaken):
                    store.rename("door", old, new)
            else:
                model[new] = model.pop(old)
                sequence += new != old
                assert store.rename("door", old, new) == sequence
        elif verb == "forget":
            if model.pop(rest[0], None) is None:
                with pytest.raises(UnknownSubject):
                    store.forget("door", rest[0])
            else:
                sequence += 1
                assert store.forget("door", rest[0]).sequence == sequence
        elif verb == "cutoff":
            cutoff, sequence = rest[0], sequence + 1
            assert store.set_cutoff("door", cutoff) == sequence
        elif verb == "trim":
            store.trim("door", -1)
        else:
            replica = follow(replica)
    replica = follow(replica)
    expected = {name: sorted(templates.values()) for name, templates in model.items()}
    snapshot, info = store.snapshot("door"), store.info("door")
    assert content(snapshot) == expected == view_content(replica.view) == view_content(Replica(snapshot).view)
    assert snapshot.sequence == replica.view.sequence == info.sequence == sequence
    assert snapshot.cutoff == replica.view.cutoff == info.cutoff == cutoff
    assert {each.name: each.templates for each in store.subjects("door")} == {
        name: len(vectors) for name, vectors in expected.items()
    }


class TestFollowing:
    def test_a_follower_sees_every_change_it_is_asked_for(self, store: GalleryStore) -> None:
        follower = Follower(store, block_ms=100)
        try:
            for seed in range(30):
                sequence = store.enrol("door", [face(f"n{seed % 5}", seed)])[0]
                view = follower.view("door", at_least=sequence, timeout_s=5)
                assert unit(seed).tobytes() in view_content(view)[f"n{seed % 5}"]
            follower.view("door", at_least=store.set_cutoff("door", 0.5), timeout_s=5)
            assert follower.view("door").cutoff == 0.5
            sequence = store.forget("door", "n0").sequence
            assert follower.view("door", at_least=sequence, timeout_s=5).row_of("n0") is None
            assert view_content(follower.view("door")) == content(store.snapshot("door"))
        finally:
            follower.stop()


def test_a_change_is_not_compared_by_value() -> None:
    # Vectors have no truth value; comparing two changes must not raise somewhere deep in a test or a cache.
    one, two = Change(1, Op.ENROL, vector=unit(1)), Change(1, Op.ENROL, vector=unit(1))
    assert one != two
