"""Numbers for people nobody named: given when it is clear that somebody is new, kept, and joined when two are one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.watching.strangers import MAX_CROPS, VIEWS, StrangerCrop, Strangers, StrangerVisit, Vector
from kith.watching.views import Views
from tests.simulated_cameras import unit

SAME = 0.5


def towards(*parts: float) -> Vector:
    return unit(np.array([*parts, *[0.0] * (8 - len(parts))], np.float32))


def with_views(*views: Vector, model: str = "m") -> Strangers:
    """One stranger for each view."""
    strangers = Strangers()
    for place, view in enumerate(views):
        number = strangers.mint(model, 1000)
        strangers.learn(number, f"v{place}", view, 1.0, [StrangerCrop(f"k{place}", 0.5, 1000)], 1000)
    return strangers


def test_a_face_like_somebody_is_theirs_a_face_like_nobody_is_new_and_one_between_waits() -> None:
    strangers = with_views(towards(1))
    like = {angle: strangers.like(towards(np.cos(angle), np.sin(angle)), "m", SAME) for angle in (0.5, 1.2, 1.5)}
    assert [(each.number, each.same, each.new) for each in like.values()] == [
        (1, True, False),
        (1, False, False),
        (1, False, True),
    ]
    assert like[0.5].score == pytest.approx(np.cos(0.5), abs=1e-6)


def test_a_face_as_near_to_several_as_to_one_is_new_for_then_nearness_says_nothing() -> None:
    face = towards(0.45, 0.45, 0.7)
    assert not with_views(towards(1)).like(face, "m", SAME).new
    assert with_views(towards(1), towards(0, 1)).like(face, "m", SAME).new


def test_the_nearest_view_counts_and_the_one_of_least_weight_makes_room() -> None:
    strangers = with_views(towards(1))
    for place in range(1, VIEWS + 1):
        parts = [0.0] * 8
        parts[place] = 1.0
        strangers.learn(1, f"w{place}", towards(*parts), 1.0 + place, [], 2000)
    assert len(strangers.views_of(1)) == VIEWS
    assert strangers.like(towards(1), "m", SAME).score == pytest.approx(0)
    assert strangers.like(towards(0, 0, 1), "m", SAME).same


def test_told_again_of_a_visit_the_newer_view_stands() -> None:
    strangers = with_views(towards(1))
    strangers.learn(1, "v0", towards(0, 1), 2.0, [], 3000)
    assert strangers.views_of(1) == pytest.approx(towards(0, 1)[np.newaxis])


def test_vectors_of_two_models_never_meet() -> None:
    strangers = with_views(towards(1), model="old")
    like = strangers.like(towards(1), "new", SAME)
    assert (like.number, like.new) == (None, True)


def test_two_become_one_with_the_views_crops_and_visits_of_both_and_the_numbers_never_come_back() -> None:
    strangers = with_views(towards(1), towards(0, 1))
    strangers.visited(1, StrangerVisit("a", 1000, 2000, ("front",)))
    strangers.visited(2, StrangerVisit("b", 3000, 4000, ("back",)))
    strangers.merge(2, 1)
    kept = strangers.get(2)
    assert kept is not None
    assert (kept.number, kept.first_ms, kept.last_ms) == (1, 1000, 4000)
    assert [visit.visit for visit in kept.visits] == ["a", "b"]
    assert {each.image for each in kept.crops} == {"k0", "k1"}
    assert strangers.like(towards(0, 1), "m", SAME).number == 1
    assert strangers.mint("m", 5000) == 3


def test_who_is_ignored_stays_ignored_when_merged() -> None:
    strangers = with_views(towards(1), towards(0, 1))
    strangers.ignore(2, True)
    strangers.merge(2, 1)
    assert (kept := strangers.get(1)) is not None
    assert kept.ignored


def test_nobody_is_likened_to_who_has_a_name_or_was_forgotten() -> None:
    strangers = with_views(towards(1), towards(0, 1))
    strangers.name(1, "Ada")
    assert strangers.forget(2) == ("k1",)
    assert strangers.like(towards(1), "m", SAME).new
    assert strangers.like(towards(0, 1), "m", SAME).new
    assert (named := strangers.get(1)) is not None
    assert (named.subject, named.crops) == ("Ada", ())
    assert strangers.get(2) is None


def test_with_a_stranger_go_the_numbers_that_became_part_of_them() -> None:
    strangers = with_views(towards(1), towards(0, 1), towards(0, 0, 1))
    strangers.merge(3, 2)
    strangers.merge(2, 1)
    assert (kept := strangers.get(3)) is not None
    assert kept.number == 1
    strangers.dirty.clear()
    strangers.forget(1)
    assert [stranger.number for stranger in strangers] == []
    assert strangers.dirty == {1, 2, 3}


def test_the_best_crops_are_kept_for_naming_somebody() -> None:
    strangers = with_views(towards(1))
    crops = [StrangerCrop(f"c{n}", n / 20, n) for n in range(20)]
    strangers.learn(1, "v1", towards(1), 1.0, crops, 2000)
    assert (stranger := strangers.get(1)) is not None
    assert [crop.image for crop in stranger.crops] == [f"c{n}" for n in range(19, 19 - MAX_CROPS, -1)]


def test_stale_are_those_not_seen_for_long_and_those_too_many() -> None:
    strangers = with_views(towards(1), towards(0, 1), towards(0, 0, 1))
    for number, last_ms in ((1, 5000), (2, 2000), (3, 9000)):
        strangers.visited(number, StrangerVisit("v", 1000, last_ms, ("front",)))
    assert strangers.stale(3000, most=10) == [2]
    assert strangers.stale(0, most=10) == []
    assert strangers.stale(0, most=1) == [2, 1]
    assert strangers.stale(6000, most=2) == [2, 1]


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=40),
    st.none() | st.integers(1, 9),
)
def test_the_nearest_view_is_that_of_a_naive_search_whatever_was_put_and_taken_before(
    seed: int, puts: list[tuple[int, int]], but: int | None
) -> None:
    random, views, held = np.random.default_rng(seed), Views(), dict[int, Vector]()
    for number, count in puts:
        drawn = [unit(random.standard_normal(5).astype(np.float32)) for _ in range(count)]
        held[number] = np.array(drawn, np.float32).reshape(count, 5)
        views.put(number, held[number])
    face = unit(random.standard_normal(5).astype(np.float32))
    asked = {number: rows for number, rows in held.items() if len(rows) and number != but}
    best = sorted(((max(float(row @ face) for row in rows), -number) for number, rows in asked.items()), reverse=True)
    found = views.nearest(face, but)
    if not best:
        assert found is None
        return
    assert found is not None
    number, score, second = found
    assert (score, number) == (pytest.approx(best[0][0], abs=1e-5), -best[0][1])
    assert second == pytest.approx(best[1][0] if len(best) > 1 else -1.0, abs=1e-5)


def test_of_two_that_are_equally_near_the_lower_number_is_taken() -> None:
    views = Views()
    for number in (5, 2, 7):
        views.put(number, towards(1)[np.newaxis])
    assert views.nearest(towards(1)) == (2, pytest.approx(1), pytest.approx(1))
