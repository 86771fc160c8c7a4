"""A process that follows no gallery hears all the same when somebody is forgotten whose vectors passed through it."""

import numpy as np
import pytest

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.forgotten_memory import ForgottenMemory
from kith.gallery import Enrolment
from kith.passed_through import PassedThrough


@pytest.fixture
def store() -> MemoryGalleryStore:
    store = MemoryGalleryStore()
    store.create("door", model_id="m", dimension=4)
    return store


def enrol(store: MemoryGalleryStore, *names: str) -> int:
    vector = np.eye(4, dtype=np.float32)[0]
    return store.enrol("door", [Enrolment(name, f"{name} t", vector, "key", 0.5, "m") for name in names])[-1]


def test_a_forget_after_people_passed_is_noted_with_its_number_and_nothing_else_is(store: MemoryGalleryStore) -> None:
    enrol(store, "Ann", "Bob")
    store.forget("door", "Ann")
    memory = ForgottenMemory()
    passed = PassedThrough(store, memory)
    passed.note("door", store.info("door").sequence)
    enrol(store, "Eve")
    passed.look({})
    # Ann was forgotten before anybody of the gallery passed.
    assert (memory.unwiped(), passed.sequences()) == ({}, {"door": 4})
    first = store.forget("door", "Eve").sequence
    store.forget("door", "Bob")
    enrol(store, "Mary")
    passed.look({})
    assert (memory.unwiped(), passed.sequences()) == ({"door": first}, {"door": 7})


def test_a_forget_is_found_behind_many_changes_and_assumed_behind_too_many(
    store: MemoryGalleryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kith.passed_through._PAGE", 5)
    for most, names, expected in ((1000, 12, "forget"), (10, 12, "after"), (1000, 4, "forget"), (1000, 5, "forget")):
        monkeypatch.setattr("kith.passed_through._MOST_CHANGES", most)
        memory = ForgottenMemory()
        passed = PassedThrough(store, memory)
        after = enrol(store, "Ann")
        passed.note("door", after)
        forget = store.forget("door", "Ann").sequence
        for number in range(names):
            enrol(store, f"{most} {names} {number}")
        passed.look({})
        assert memory.unwiped() == {"door": forget if expected == "forget" else after + 1}
        passed.look({})
        assert memory.unwiped() == {"door": forget if expected == "forget" else after + 1}


def test_a_gallery_that_is_followed_by_now_is_looked_at_until_the_follower_hears_for_himself(
    store: MemoryGalleryStore,
) -> None:
    memory = ForgottenMemory()
    passed = PassedThrough(store, memory)
    passed.note("door", enrol(store, "Ann"))
    store.forget("door", "Ann")
    # Followed from here on, he never reads of the forget.
    passed.look({"door": store.info("door").sequence})
    assert (memory.unwiped(), passed.sequences()) == ({"door": 2}, {})


def test_a_gallery_that_is_gone_or_went_back_may_have_lost_anybody(store: MemoryGalleryStore) -> None:
    memory = ForgottenMemory()
    passed = PassedThrough(store, memory)
    passed.note("gone", 3)
    passed.note("door", 5)
    passed.look({})
    assert (memory.unwiped(), passed.sequences()) == ({"gone": 4, "door": 1}, {"door": 0})


def test_a_gallery_made_by_its_first_enrolment_is_looked_at_before_and_after(store: MemoryGalleryStore) -> None:
    memory = ForgottenMemory()
    passed = PassedThrough(store, memory)
    passed.note("door", store.info("door").sequence)
    passed.look({})
    enrol(store, "Ann")
    passed.look({})
    assert memory.unwiped() == {}
    store.forget("door", "Ann")
    passed.look({})
    assert memory.unwiped() == {"door": 2}


def test_the_first_number_noted_counts(store: MemoryGalleryStore) -> None:
    passed = PassedThrough(store, ForgottenMemory())
    passed.note("door", 1)
    passed.note("door", 9)
    assert passed.sequences() == {"door": 1}
