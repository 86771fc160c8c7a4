"""One contract for every gallery store: the whole list at one number, and the past it leads back to."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.errors import NameTaken, OutOfReach, UnknownGallery
from kith.gallery import Enrolment, GallerySettings, GalleryStore, Introduction, template_id
from kith.gallery_past import Past, at, diff, read_past, read_pasts
from kith.replica import Replica
from tests.plain_gallery import DIMENSION, PlainGallery, key, unit


def face(subject: str, seed: int) -> Enrolment:
    image = f"ab/{seed}"
    return Enrolment(subject, template_id("door", subject, image), unit(seed), image, 0.25, "m")


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


class TestCatalogue:
    def test_it_lists_everybody_with_templates_vectors_and_notes(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
        store.describe("door", "Bob", external_id="b-1", metadata={"room": "7"})
        store.configure("door", GallerySettings(cutoff=0.5))
        found = store.catalogue("door", vectors=True)
        assert found.info == store.info("door")
        assert [subject for _, subject in sorted(found.subjects.items())] == [
            store.show("door", name) for name in ("Ann", "Bob")
        ]
        for subject, seeds in zip(found.subjects.values(), ((1, 2), (3,)), strict=True):
            for template, seed in zip(subject.templates, seeds, strict=True):
                assert np.array_equal(found.vector(template.slot), unit(seed))
        assert store.catalogue("door").blocks == []
        with pytest.raises(UnknownGallery):
            store.catalogue("gate")

    def test_writers_do_not_bend_it(self, store: GalleryStore) -> None:
        """Whatever it finds is what the plain model had at that very number."""
        model, stop, states = PlainGallery(), threading.Event(), {}

        def write() -> None:
            random = np.random.default_rng(0)
            while not stop.is_set() and model.sequence < 2000:
                who, other, seed = f"n{random.integers(9)}", f"n{random.integers(9)}", int(random.integers(40))
                verb = ("enrol", "enrol", "move", "merge", "forget", "remove")[random.integers(6)]
                arguments = {"enrol": (who, [seed]), "move": (who, seed, other), "merge": (who, other)}.get(verb)
                arguments = arguments or ((who,) if verb == "forget" else (who, seed))
                if isinstance(getattr(model, verb)(*arguments), int):
                    CALLS[verb](store, *arguments)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            found = [store.catalogue("door", vectors=True) for _ in range(15)]
        finally:
            stop.set()
            writer.join()
        states = model.states
        for each in found:
            plain = states[each.info.sequence]
            expected = {
                person.name: {template: seed for template, (owner, _, seed) in plain.owners.items() if owner == number}
                for number, person in plain.people.items()
            }
            assert {s.name: {t.template_id for t in s.templates} for s in each.subjects.values()} == {
                name: set(templates) for name, templates in expected.items()
            }
            for subject in each.subjects.values():
                for template in subject.templates:
                    seed = expected[subject.name][template.template_id]
                    assert np.array_equal(each.vector(template.slot), unit(seed))

    def test_a_log_trimmed_during_the_reading_makes_it_begin_again(
        self, redis_client: redis.Redis, prefix: str
    ) -> None:
        store = RedisGalleryStore(redis_client, prefix)
        store.create("door", model_id="m", dimension=DIMENSION)
        store.enrol("door", [face("Ann", 1)])
        meddled = []

        def touched(name: str, operation: str, *arguments: object, **named: str) -> Any:
            if operation == "touched" and not meddled:
                meddled.append(operation)
                store.enrol("door", [face("Bob", 2)])
                store.enrol("door", [face("Cid", 3)])
                store.trim("door", -1)
            return ask(name, operation, *arguments, **named)

        ask, store._script.ask = store._script.ask, touched  # type: ignore[method-assign]
        found = store.catalogue("door")
        assert meddled
        assert found.info.sequence == 3
        assert [each.name for each in found.subjects.values()] == ["Ann", "Bob", "Cid"]


SUBJECTS = st.sampled_from("ABCD")
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enrol"), SUBJECTS, st.lists(st.integers(0, 9), min_size=1, max_size=3)),
        st.tuples(st.just("remove"), SUBJECTS, st.integers(0, 9)),
        st.tuples(st.just("move"), SUBJECTS, st.integers(0, 9), SUBJECTS),
        st.tuples(st.just("merge"), SUBJECTS, SUBJECTS),
        st.tuples(st.just("rename"), SUBJECTS, SUBJECTS),
        st.tuples(st.just("forget"), SUBJECTS),
        st.tuples(st.just("settings"), st.sampled_from([None, 0.1, 0.7])),
        st.tuples(st.just("undo"), st.integers(0, 6)),
        st.tuples(st.just("undo"), st.integers(0, 2)),
        st.tuples(st.just("trim")),
    ),
    max_size=40,
)

CALLS: dict[str, Callable[..., Any]] = {
    "enrol": lambda store, who, seeds: store.enrol("door", [face(who, seed) for seed in seeds])[-1],
    "remove": lambda store, who, seed: store.remove("door", who, [key(who, seed)]),
    "move": lambda store, who, seed, to: store.move("door", who, [key(who, seed)], to),
    "merge": lambda store, who, into: store.merge("door", who, into),
    "rename": lambda store, old, new: store.rename("door", old, new),
    "forget": lambda store, who: store.forget("door", who).sequence,
    "settings": lambda store, cutoff: store.configure("door", GallerySettings(cutoff=cutoff)),
    "undo": lambda store, sequence: store.undo("door", sequence),
}


def remembered(model: PlainGallery, sequence: int) -> dict[str, set[str]]:
    """name → templates at `sequence`, without whom and what was forgotten since, or went to somebody who was."""
    states, newest = model.states, model.sequence

    def lost(person: int, since: int) -> bool:
        end = next((m for m in range(since + 1, newest + 1) if person not in states[m].people), None)
        if person in model.erased or end is None:
            return person in model.erased
        return end in model.moves and lost(model.moves[end][1], end)

    def lost_template(template: str) -> bool:
        m = sequence
        while m <= newest and template in states[m].owners:
            if lost(states[m].owners[template][0], m):
                return True
            m += 1
        # Taken from whoever had it with somebody who is forgotten, or out of the removal that told of it.
        named = model.removals.get(m, (0, {}))[1]
        return m <= newest and (m in model.forgets or template not in named)

    state = states[sequence]
    return {
        person.name: {each for each in state.templates(number) if not lost_template(each)}
        for number, person in state.people.items()
        if not lost(number, sequence)
    }


def told(past: Past) -> dict[str, set[str]]:
    return {each.name: set(each.templates) for each in past.subjects.values()}


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_every_state_the_journal_reaches_is_as_the_plain_model_had_it(
    fresh: Callable[[], GalleryStore], operations: list[tuple[Any, ...]]
) -> None:
    store, model = fresh(), PlainGallery()
    store.create("door", model_id="m", dimension=DIMENSION)
    for verb, *rest in operations:
        if verb == "trim":
            store.trim("door", -1)
            model.trim()
            continue
        arguments = (model.sequence - rest[0],) if verb == "undo" else rest
        if isinstance(getattr(model, verb)(*arguments), int):
            CALLS[verb](store, *arguments)
    now, entries = store.catalogue("door"), store.history("door")
    for sequence in range(model.trimmed, model.sequence + 1):
        past = at(now, entries, sequence)
        assert told(past) == remembered(model, sequence)
        assert past.settings == model.states[sequence].settings
    if model.trimmed:
        with pytest.raises(OutOfReach, match=f"reaches back to state {model.trimmed}"):
            at(now, entries, model.trimmed - 1)


class TestPast:
    def test_what_is_different_is_named_subject_by_subject(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1), face("Ann", 2)])
        store.enrol("door", [face("Bob", 3)])
        store.move("door", "Ann", [key("Ann", 2)], "Bob")
        store.rename("door", "Ann", "Anna")
        store.enrol("door", [face("Cid", 4)])
        store.configure("door", GallerySettings(margin=0.1))
        early, late = read_pasts(store, "door", [2, 6])
        found = diff(early, late)
        assert [
            (each.before and each.before.name, each.after and each.after.name, each.added, each.removed)
            for each in found.subjects
        ] == [
            ("Ann", "Anna", set(), {key("Ann", 2)}),
            ("Bob", "Bob", {key("Ann", 2)}, set()),
            (None, "Cid", {key("Cid", 4)}, set()),
        ]
        assert found.settings == (GallerySettings(), GallerySettings(margin=0.1))
        assert diff(late, late) == replace(found, subjects=(), settings=None)

    def test_a_forgotten_person_stays_out_of_the_past_which_says_so(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1)])
        store.enrol("door", [face("Bob", 2)])
        store.forget("door", "Ann")
        past = read_past(store, "door", 2)
        assert told(past) == {"Bob": {key("Bob", 2)}}
        assert past.erased == 1
        assert read_past(store, "door", 0).erased == 2

    def test_states_to_come_are_out_of_reach(self, store: GalleryStore) -> None:
        with pytest.raises(OutOfReach, match="is at change 0"):
            read_past(store, "door", 1)

    def test_somebody_forgotten_while_it_is_read_makes_it_begin_again(self, store: GalleryStore) -> None:
        store.enrol("door", [face("Ann", 1)])
        store.enrol("door", [face("Bob", 2)])
        real, done = store.catalogue, []

        def catalogue(name: str) -> Any:
            found = real(name)
            if not done:
                done.append(store.forget("door", "Ann"))
            return found

        store.catalogue = catalogue  # type: ignore[method-assign, assignment]
        assert told(read_past(store, "door", 2)) == {"Bob": {key("Bob", 2)}}


class TestIntroductions:
    def test_whoever_comes_from_elsewhere_keeps_id_dates_and_notes(self, store: GalleryStore) -> None:
        ann = Introduction("a" * 16, 1000, "ext", {"room": "7"})
        first, second = (replace(face("Ann", seed), enrolled_ms=2000 + seed, introduction=ann) for seed in (1, 2))
        assert store.enrol("door", [first, second]) == [1, 1]
        found = store.show("door", "Ann")
        assert (found.subject_id, found.created_ms, found.external_id, found.metadata) == (
            *("a" * 16, 1000, "ext"),
            {"room": "7"},
        )
        assert [each.enrolled_ms for each in found.templates] == [2001, 2002]
        assert store.by_external_id("door", "ext") == "Ann"
        # An introduction is for strangers: who is there stays as he is.
        store.enrol("door", [replace(face("Ann", 3), introduction=Introduction("b" * 16, 5, "other"))])
        assert store.show("door", "Ann").external_id == "ext"
        store.undo("door", store.undo("door", 1) if store.undo("door", 2) else 0)
        assert store.by_external_id("door", "ext") == "Ann"

    def test_an_external_id_is_given_once(self, store: GalleryStore) -> None:
        said = Introduction(external_id="x")
        with pytest.raises(NameTaken, match="'x'"):
            store.enrol("door", [replace(face(who, 1), introduction=said) for who in ("Ann", "Bob")])
        assert store.info("door").sequence == 0
        store.enrol("door", [replace(face("Ann", 1), introduction=said)])
        store.rename("door", "Ann", "Anna")
        # Known by its template, so nobody begins.
        assert store.enrol("door", [replace(face("Ann", 1), introduction=said)]) == [1]
        with pytest.raises(NameTaken):
            store.introduce("door", "Bob", said)

    def test_somebody_without_templates_is_introduced(self, store: GalleryStore) -> None:
        assert store.introduce("door", "Ann", Introduction("c" * 16, 7, "x")) == 1
        assert store.introduce("door", "Ann", Introduction("d" * 16)) is None
        assert store.info("door").sequence == 1
        found = store.show("door", "Ann")
        assert (found.subject_id, found.created_ms, found.templates) == ("c" * 16, 7, ())
        assert Replica(store.snapshot("door")).view.row_of("Ann") == 1
        store.undo("door", 1)
        assert store.subjects("door") == []
        with pytest.raises(UnknownGallery):
            store.introduce("gate", "Ann", Introduction())
