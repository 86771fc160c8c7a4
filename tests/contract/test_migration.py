"""One contract for every migration store: the one in a process, and Redis (a real Valkey server)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import redis

from kith.backends.erasure_redis import RedisErasure
from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.migration_memory import MemoryMigrationStore
from kith.backends.migration_redis import RedisMigrationStore
from kith.enrolment import Enrolment, template_id
from kith.errors import CannotMigrate, CannotUndo, InvalidTemplate, ModelMismatch, UnknownGallery
from kith.gallery import GalleryStore
from kith.gallery_past import diff, read_pasts
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS, FREE, Op, Snapshot
from kith.migration import MigrationStore
from kith.replica import Follower
from tests.plain_gallery import DIMENSION, unit

#: Not the same as that of the galleries: a row of the one is no row of the other.
OTHER = 5
BEFORE, AFTER = GallerySettings(cutoff=0.4, margin=0.01), GallerySettings(cutoff=0.6, margin=0.01)


@dataclass
class House:
    """A gallery `door` of model m, and what it moves to."""

    galleries: GalleryStore
    migrations: MigrationStore

    def enrol(self, who: str, *seeds: int, model_id: str = "m", dimension: int = DIMENSION) -> list[int]:
        made = [Enrolment(who, key(who, seed), unit(seed, dimension), f"ab/{seed}", 0.25, model_id) for seed in seeds]
        return self.galleries.enrol("door", made)

    def begin(self, model_id: str = "n", dimension: int = OTHER) -> None:
        self.migrations.begin("door", model_id=model_id, dimension=dimension, pack="new")

    def embed(self, who: str, *seeds: int, model_id: str = "n") -> int:
        """Vectors of the other model, each told from those of this one."""
        found = {key(who, seed): unit(seed + 1000, OTHER) for seed in seeds}
        return self.migrations.put("door", model_id, found, {})

    def embed_all(self) -> None:
        while missing := self.migrations.missing("door"):
            found = {each.template_id: unit(int(each.image[3:]) + 1000, OTHER) for each in missing}
            assert self.migrations.put("door", "n", found, {}) == len(missing)

    def switch(self, model_id: str = "n", *, drop: bool = False) -> int:
        before = self.galleries.info("door").settings
        after = AFTER if model_id == "n" else BEFORE
        return self.migrations.switch("door", model_id, before=before, after=after, drop_unable=drop)

    def counts(self) -> tuple[int, int, int, int]:
        state = self.migrations.state("door")
        assert state is not None
        return state.templates, state.embedded, state.unable, state.missing

    def missing(self) -> list[str]:
        return [each.image for each in self.migrations.missing("door")]


def key(who: str, seed: int) -> str:
    return template_id("door", who, f"ab/{seed}")


def vectors(snapshot: Snapshot) -> dict[str, list[bytes]]:
    """Name → vectors, sorted; in no other slot may there be anything."""
    found: dict[str, list[bytes]] = {name: [] for _, name in snapshot.names.values()}
    for block, owners in enumerate(snapshot.owners):
        for row, number in enumerate(owners.tolist()):
            vector = snapshot.row(block * BLOCK_ROWS + row)
            if number == FREE:
                assert not vector.any()
            else:
                found[snapshot.names[number][1]].append(vector.tobytes())
    return {name: sorted(each) for name, each in found.items()}


def expected(dimension: int, **seeds: list[int]) -> dict[str, list[bytes]]:
    more = 1000 if dimension == OTHER else 0
    return {name: sorted(unit(seed + more, dimension).tobytes() for seed in each) for name, each in seeds.items()}


@pytest.fixture(params=["memory", "redis", "encrypted"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    if request.param == "memory":
        galleries = MemoryGalleryStore()
        made = House(galleries, MemoryMigrationStore(galleries))
    else:
        client, prefix = request.getfixturevalue("redis_client"), request.getfixturevalue("prefix")
        encrypt = request.param == "encrypted"
        keys = DirectoryKeys(tmp_path / "keys") if encrypt else None
        galleries = RedisGalleryStore(client, prefix, keys, encrypt=encrypt)
        made = House(galleries, RedisMigrationStore(client, prefix, keys))
    made.galleries.create("door", model_id="m", dimension=DIMENSION, settings=BEFORE)
    return made


class TestEmbedding:
    def test_what_is_missing_is_told_by_slot_until_it_is_there(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.enrol("Bob", 3)
        house.begin()
        assert house.missing() == ["ab/1", "ab/2", "ab/3"]
        assert [each.image for each in house.migrations.missing("door", after=0)] == ["ab/2", "ab/3"]
        assert house.embed("Ann", 2) == 1
        assert house.embed("Ann", 2) == 0, "a job that was done twice changes nothing"
        assert house.missing() == ["ab/1", "ab/3"]
        assert house.counts() == (3, 1, 0, 2)

    def test_of_thousands_every_one_is_told_once(self, house: House) -> None:
        for start in range(0, 2100, 300):
            house.enrol(f"p{start}", *range(start, start + 300))
        house.begin()
        found, after = [], -1
        while page := house.migrations.missing("door", after=after, limit=500):
            found += [each.image for each in page]
            after = page[-1].slot
        assert sorted(found) == sorted(f"ab/{seed}" for seed in range(2100))

    def test_the_gallery_answers_as_before_until_it_is_switched(self, house: House) -> None:
        house.enrol("Ann", 1)
        before = house.galleries.info("door")
        house.begin()
        house.embed_all()
        assert house.galleries.info("door") == before
        assert vectors(house.galleries.snapshot("door")) == expected(DIMENSION, Ann=[1])
        assert vectors(house.migrations.other("door")) == expected(OTHER, Ann=[1])

    def test_enrolments_that_come_meanwhile_are_missing(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        house.embed_all()
        house.enrol("Bob", 2)
        assert house.missing() == ["ab/2"]
        with pytest.raises(CannotMigrate, match="1 templates of gallery door have no vector"):
            house.switch()

    def test_what_is_removed_or_forgotten_goes_from_both_and_its_slot_is_missing_again(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.enrol("Bob", 3)
        house.begin()
        house.embed_all()
        house.galleries.forget("door", "Bob")
        house.galleries.remove("door", "Ann", [key("Ann", 1)])
        assert house.counts() == (1, 1, 0, 0)
        assert vectors(house.migrations.other("door")) == expected(OTHER, Ann=[2])
        house.enrol("Cid", 4, 5)
        assert sorted(house.missing()) == ["ab/4", "ab/5"]
        assert vectors(house.migrations.other("door")) == expected(OTHER, Ann=[2], Cid=[])

    def test_a_removal_that_is_undone_is_missing_again(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        house.embed_all()
        house.galleries.undo("door", house.galleries.remove("door", "Ann", [key("Ann", 1)]))
        assert house.missing() == ["ab/1"]

    def test_moved_templates_keep_both_vectors(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.enrol("Bob", 3)
        house.begin()
        house.embed_all()
        house.galleries.merge("door", "Ann", "Bob")
        assert house.counts() == (3, 3, 0, 0)
        assert vectors(house.migrations.other("door")) == expected(OTHER, Bob=[1, 2, 3])

    def test_vectors_of_templates_that_are_no_more_and_of_a_third_model_are_passed_over(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        assert house.embed("Nobody", 1) == 0
        assert house.embed("Ann", 1, model_id="third") == 0
        assert house.counts() == (1, 0, 0, 1)

    def test_a_vector_that_is_none_is_refused(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        for wrong in (unit(1), unit(1, OTHER) * np.float32(2), np.full(OTHER, np.nan, np.float32)):
            with pytest.raises(InvalidTemplate):
                house.migrations.put("door", "n", {key("Ann", 1): wrong}, {})
        assert house.counts() == (1, 0, 0, 1)

    def test_pictures_that_have_none_are_kept_with_the_reason_until_they_are_tried_again(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.begin()
        house.embed("Ann", 1)
        why = {key("Ann", 1): "late", key("Ann", 2): "no_face: nobody on it", key("Bob", 9): "not there"}
        house.migrations.put("door", "n", {}, why)
        assert house.migrations.unable("door") == {key("Ann", 2): "no_face: nobody on it"}
        assert house.counts() == (2, 1, 1, 0)
        assert house.missing() == []
        assert house.migrations.retry("door") == 1
        assert house.missing() == ["ab/2"]
        house.migrations.put("door", "n", {}, why)
        house.embed("Ann", 2)
        assert house.counts() == (2, 2, 0, 0)


class TestBeginning:
    def test_beginning_again_goes_on_with_what_is_there(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.begin()
        house.embed("Ann", 1)
        again = house.migrations.begin("door", model_id="n", dimension=OTHER, pack="new")
        assert (again.model_id, again.pack, again.embedded, again.missing) == ("n", "new", 1, 1)

    def test_its_own_model_and_a_third_one_are_refused(self, house: House) -> None:
        with pytest.raises(CannotMigrate, match="of model m already"):
            house.begin("m", DIMENSION)
        house.begin()
        with pytest.raises(CannotMigrate, match="vectors of model n beside its own"):
            house.begin("third")

    def test_ended_it_leaves_nothing_and_another_may_begin(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        house.embed_all()
        house.migrations.end("door")
        assert house.migrations.state("door") is None
        with pytest.raises(CannotMigrate):
            house.migrations.end("door")
        with pytest.raises(CannotMigrate):
            house.migrations.other("door")
        house.begin("third")
        assert house.missing() == ["ab/1"]

    def test_an_unknown_gallery_is_unknown(self, house: House) -> None:
        for verb in (
            lambda: house.migrations.begin("gate", model_id="n", dimension=OTHER, pack="new"),
            lambda: house.migrations.state("gate"),
            lambda: house.migrations.missing("gate"),
            lambda: house.migrations.switch("gate", "n", before=BEFORE, after=AFTER),
        ):
            with pytest.raises(UnknownGallery):
                verb()


class TestSwitching:
    def test_switched_it_answers_by_the_other_model_and_nothing_else_has_changed(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.enrol("Bob", 3)
        before = house.galleries.info("door")
        ann = house.galleries.show("door", "Ann")
        house.begin()
        house.embed_all()
        assert house.switch() == 3
        info = house.galleries.info("door")
        assert (info.model_id, info.dimension, info.settings, info.sequence) == ("n", OTHER, AFTER, 3)
        assert (info.epoch, info.subjects, info.templates) == (before.epoch, 2, 3)
        assert house.galleries.show("door", "Ann") == ann
        snapshot = house.galleries.snapshot("door")
        assert (snapshot.model_id, snapshot.dimension, snapshot.sequence) == ("n", OTHER, 3)
        assert vectors(snapshot) == expected(OTHER, Ann=[1, 2], Bob=[3])
        entry = house.galleries.history("door")[0]
        assert (entry.op, entry.sequence, entry.before, entry.after) == (Op.MODEL, 3, "m", "n")
        assert entry.settings == (BEFORE, AFTER)
        state = house.migrations.state("door")
        assert state is not None
        assert (state.model_id, state.dimension, state.switched, state.settings) == ("m", DIMENSION, 3, BEFORE)

    def test_a_follower_of_the_former_model_loads_afresh_and_then_follows(self, house: House) -> None:
        house.enrol("Ann", 1)
        follower = Follower(house.galleries, block_ms=20)
        view = follower.view("door")
        house.begin()
        house.embed_all()
        house.enrol("Bob", 2)
        house.embed_all()
        switched = house.switch()
        after = house.enrol("Cid", 7, model_id="n", dimension=OTHER)[0]
        assert [change.op for change in house.galleries.changes("door", view.sequence)] == [Op.RELOAD]
        assert [change.op for change in house.galleries.changes("door", switched - 1)] == [Op.RELOAD]
        assert [change.op for change in house.galleries.changes("door", switched)] == [Op.ENROL]
        new = follower.view("door", at_least=after)
        follower.stop()
        assert (view.model_id, view.dimension, view.settings) == ("m", DIMENSION, BEFORE)
        assert (new.model_id, new.dimension, new.settings, new.templates) == ("n", OTHER, AFTER, 3)
        assert {vector.tobytes() for vector in new.blocks[0][:3]} == {
            *(unit(seed + 1000, OTHER).tobytes() for seed in (1, 2)),
            unit(7, OTHER).tobytes(),
        }

    def test_it_is_refused_with_other_settings_another_model_or_nothing_to_switch_to(self, house: House) -> None:
        with pytest.raises(CannotMigrate):
            house.switch()
        house.begin()
        house.galleries.configure("door", GallerySettings(cutoff=0.5))
        with pytest.raises(CannotMigrate, match="settings of gallery door were changed"):
            house.migrations.switch("door", "n", before=BEFORE, after=AFTER)
        with pytest.raises(CannotMigrate):
            house.switch("third")
        assert house.galleries.info("door").model_id == "m"

    def test_templates_that_have_no_vector_are_removed_on_demand_each_by_an_entry(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.enrol("Bob", 3)
        house.begin()
        house.embed("Ann", 1)
        house.migrations.put("door", "n", {}, {key("Ann", 2): "no_face: x", key("Bob", 3): "missing_image: x"})
        with pytest.raises(CannotMigrate, match="--leave-behind"):
            house.switch()
        assert house.switch(drop=True) == 5
        assert vectors(house.galleries.snapshot("door")) == expected(OTHER, Ann=[1], Bob=[])
        assert [entry.op for entry in house.galleries.history("door")[:3]] == [Op.MODEL, Op.REMOVE, Op.REMOVE]
        assert house.counts() == (1, 1, 0, 0)

    def test_back_again_is_the_same_change(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.begin()
        house.embed_all()
        house.switch()
        assert house.switch("m") == 3
        info = house.galleries.info("door")
        assert (info.model_id, info.dimension, info.settings) == ("m", DIMENSION, BEFORE)
        assert vectors(house.galleries.snapshot("door")) == expected(DIMENSION, Ann=[1, 2])
        assert house.switch() == 4
        assert vectors(house.galleries.snapshot("door")) == expected(OTHER, Ann=[1, 2])

    def test_what_was_enrolled_since_needs_a_vector_of_the_former_model_first(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        house.embed_all()
        house.switch()
        with pytest.raises(ModelMismatch):
            house.enrol("Bob", 2)
        house.enrol("Bob", 2, model_id="n", dimension=OTHER)
        with pytest.raises(CannotMigrate, match="1 templates"):
            house.switch("m")
        house.begin("m", DIMENSION)
        [missing] = house.migrations.missing("door")
        house.migrations.put("door", "m", {missing.template_id: unit(2)}, {})
        house.switch("m")
        assert vectors(house.galleries.snapshot("door")) == expected(DIMENSION, Ann=[1], Bob=[2])

    def test_a_job_that_was_enrolled_before_the_switch_and_comes_again_after_it_is_known(self, house: House) -> None:
        first = house.enrol("Ann", 1, 2)
        house.begin()
        house.embed_all()
        house.switch()
        assert house.enrol("Ann", 1, 2, 3, model_id="n", dimension=OTHER) == [*first, 3]
        assert house.galleries.info("door").templates == 3

    def test_forgotten_after_the_switch_somebody_is_in_neither(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.enrol("Bob", 2)
        house.begin()
        house.embed_all()
        house.switch()
        house.galleries.forget("door", "Ann")
        assert vectors(house.galleries.snapshot("door")) == expected(OTHER, Bob=[2])
        assert vectors(house.migrations.other("door")) == expected(DIMENSION, Bob=[2])

    def test_what_was_removed_under_the_former_model_stays_removed(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        removed = house.galleries.remove("door", "Ann", [key("Ann", 1)])
        set_before = house.galleries.configure("door", GallerySettings(cutoff=0.7))
        house.begin()
        house.embed_all()
        switched = house.switch()
        for sequence in (removed, set_before):
            with pytest.raises(CannotUndo, match="former model"):
                house.galleries.undo("door", sequence)
        with pytest.raises(CannotUndo, match="--rollback"):
            house.galleries.undo("door", switched)
        renamed = house.galleries.rename("door", "Ann", "Anna")
        assert house.galleries.undo("door", renamed) == renamed + 1

    def test_the_past_reaches_across_the_change_and_says_which_model_it_was_of(self, house: House) -> None:
        house.enrol("Ann", 1, 2)
        house.begin()
        house.embed("Ann", 1)
        house.migrations.put("door", "n", {}, {key("Ann", 2): "no_face: x"})
        switched = house.switch(drop=True)
        enrolled = house.enrol("Bob", 3, model_id="n", dimension=OTHER)[0]
        house.migrations.put("door", "m", {key("Bob", 3): unit(3)}, {})
        back = house.switch("m")
        pasts = read_pasts(house.galleries, "door", range(back + 1))
        assert [past.model_id for past in pasts] == [*("m", "m", "m"), *("n", "n"), "m"]
        assert [past.settings.cutoff for past in pasts] == [0.4, 0.4, 0.4, 0.6, 0.6, 0.4]
        people = [{each.name: len(each.templates) for each in past.subjects.values()} for past in pasts]
        assert people == [{}, {"Ann": 2}, {"Ann": 1}, {"Ann": 1}, {"Ann": 1, "Bob": 1}, {"Ann": 1, "Bob": 1}]
        found = diff(pasts[1], pasts[enrolled])
        assert (found.model_id, found.settings) == (("m", "n"), (BEFORE, AFTER))
        assert [(each.added, each.removed) for each in found.subjects] == [
            (frozenset(), {key("Ann", 2)}),
            ({key("Bob", 3)}, frozenset()),
        ]
        assert diff(pasts[1], pasts[0]).model_id == ("m", "m")
        assert switched == enrolled - 1

    def test_ended_after_the_switch_the_former_vectors_are_gone(self, house: House) -> None:
        house.enrol("Ann", 1)
        house.begin()
        house.embed_all()
        house.switch()
        house.migrations.end("door")
        assert vectors(house.galleries.snapshot("door")) == expected(OTHER, Ann=[1])
        house.begin("m", DIMENSION)
        assert house.missing() == ["ab/1"]


def test_what_was_removed_under_the_former_model_is_known_row_by_row_when_somebody_is_forgotten(
    redis_client: redis.Redis, prefix: str
) -> None:
    galleries = RedisGalleryStore(redis_client, prefix)
    house = House(galleries, RedisMigrationStore(redis_client, prefix))
    galleries.create("door", model_id="m", dimension=DIMENSION, settings=BEFORE)
    house.enrol("Ann", 1, 2, 3)
    galleries.remove("door", "Ann", [key("Ann", 1), key("Ann", 2)])
    house.begin()
    house.embed_all()
    house.switch()
    rows = RedisErasure(redis_client, prefix).holdings("door", "Ann").rows
    assert sorted(rows) == sorted(unit(*each).tobytes() for each in ((1,), (2,), (3,), (1003, OTHER)))
