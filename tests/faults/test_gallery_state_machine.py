"""Random changes of a gallery: one process with every key checked after each step, and four processes at once.

KITH_GALLERY_CALLS sets how many calls the four make, KITH_GALLERY_SEED the seed. A million of them, in an hour or so:

    python -m tests.faults.gallery_campaign --calls 1000000 --seed 1
"""

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.gallery import GallerySettings, GalleryStore, Op
from kith.replica import Replica
from tests import gallery_schema
from tests.faults.gallery_campaign import campaign
from tests.faults.gallery_crowd import GALLERY, face
from tests.plain_gallery import DIMENSION, PlainGallery, key

CALLS = int(os.environ.get("KITH_GALLERY_CALLS", "10000"))
SEED = int(os.environ.get("KITH_GALLERY_SEED", "1"))

NAMES = st.sampled_from(["p00", "p01", "p02"])
FACES = st.lists(st.integers(0, 2), min_size=1, max_size=3)


class Gallery(RuleBasedStateMachine):
    """A gallery in Redis beside the plain one."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self.store: GalleryStore = RedisGalleryStore(self.client, self.prefix)
        self.store.create(GALLERY, model_id="m", dimension=DIMENSION)
        self.model, self.replica = PlainGallery(), Replica(self.store.snapshot(GALLERY))

    @rule(who=NAMES, seeds=FACES)
    def enrol(self, who: str, seeds: list[int]) -> None:
        self.same(self.model.enrol(who, seeds), lambda: self.store.enrol(GALLERY, [face(who, s) for s in seeds])[-1])

    @rule(who=NAMES, enrolled_as=NAMES, seed=st.integers(0, 2))
    def remove(self, who: str, enrolled_as: str, seed: int) -> None:
        ids = [key(enrolled_as, seed)]
        self.same(self.model.remove_all(who, ids), lambda: self.store.remove(GALLERY, who, ids))

    @rule(who=NAMES, enrolled_as=NAMES, seeds=FACES, to=NAMES)
    def move(self, who: str, enrolled_as: str, seeds: list[int], to: str) -> None:
        ids = [key(enrolled_as, seed) for seed in dict.fromkeys(seeds)]
        self.same(self.model.move_all(who, ids, to), lambda: self.store.move(GALLERY, who, ids, to))

    @rule(who=NAMES, into=NAMES)
    def merge(self, who: str, into: str) -> None:
        self.same(self.model.merge(who, into), lambda: self.store.merge(GALLERY, who, into))

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        self.same(self.model.rename(old, new), lambda: self.store.rename(GALLERY, old, new))

    @rule(who=NAMES, external=st.sampled_from([None, "1", "2"]), notes=st.sampled_from([{}, {"floor": "3"}]))
    def describe(self, who: str, external: str | None, notes: dict[str, str]) -> None:
        self.same(
            self.model.describe(who, external, notes),
            lambda: self.store.describe(GALLERY, who, external_id=external, metadata=notes),
        )

    @rule(cutoff=st.sampled_from([None, 0.5]))
    def configure(self, cutoff: float | None) -> None:
        self.same(self.model.settings(cutoff), lambda: self.store.configure(GALLERY, GallerySettings(cutoff=cutoff)))

    @rule(who=NAMES)
    def forget(self, who: str) -> None:
        number = self.model.now.number(who)
        self.same(self.model.forget(who), lambda: self.store.forget(GALLERY, who).sequence)
        if number is not None:
            stored = gallery_schema.read(self.client, self.prefix, GALLERY)
            assert all(told["n"] != number for told, _ in stored.payloads.values())

    @precondition(lambda self: self.model.sequence > 0)
    @rule(back=st.integers(0, 5))
    def undo(self, back: int) -> None:
        sequence = self.model.sequence - back
        self.same(self.model.undo(sequence), lambda: self.store.undo(GALLERY, sequence))

    @rule(who=NAMES, into=NAMES)
    def merge_by_mistake(self, who: str, into: str) -> None:
        before = self.model.sequence
        self.merge(who, into)
        if self.model.sequence > before:
            self.undo(0)

    @rule()
    def trim(self) -> None:
        self.store.trim(GALLERY, -1)
        self.model.trim()

    @rule()
    def follow(self) -> None:
        changes = self.store.changes(GALLERY, self.replica.view.sequence)
        if changes and changes[0].op is Op.RELOAD:
            self.replica = Replica(self.store.snapshot(GALLERY))
        else:
            self.replica.apply(changes)
        assert self.replica.view.sequence == self.model.sequence
        assert self.replica.view.subjects == len(self.model.now.people)
        for number, person in self.model.now.people.items():
            assert self.replica.view.row_of(person.name) == number
            assert len(self.replica.view.slots_of(number)) == len(self.model.now.templates(number))

    @invariant()
    def every_key_follows_from_the_others(self) -> None:
        stored = gallery_schema.read(self.client, self.prefix, GALLERY)
        gallery_schema.check(stored)
        now = self.model.now
        assert {each: known[0] for each, known in stored.templates.items()} == {
            each: owner for each, (owner, _, _) in now.owners.items()
        }
        assert {
            number: (each["name"], each["external_id"] or None, each["metadata"])
            for number, each in stored.subjects.items()
        } == {number: (each.name, each.external, each.metadata) for number, each in now.people.items()}

    def same(self, expected: Any, call: Any) -> None:
        if isinstance(expected, int):
            assert call() == expected
        else:
            with pytest.raises(expected):
                call()


def test_whatever_is_done_every_key_in_redis_follows_from_the_others(redis_client: redis.Redis) -> None:
    machine = type("Machine", (Gallery,), {"client": redis_client})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_four_processes_at_once_leave_what_their_calls_in_order_would_have_left_at_every_number(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        (tmp_path / "seen").mkdir()
        counts = campaign(server.url, tmp_path / "seen", CALLS, SEED)
    assert counts["calls"] == CALLS // 4 * 4
    assert counts["changes"] > CALLS / 2
    assert counts["seen whole"] > 2
