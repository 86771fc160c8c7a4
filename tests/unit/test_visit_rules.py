"""Which visit a track belongs to, whose it is, and when a crop is somebody else's: each rule on vectors made for it."""

from dataclasses import replace

import numpy as np
import pytest

from kith.jobs import Outcome, Seen
from kith.settings import Watch
from kith.watching.evidence import NOTHING, Evidence, Vector, added
from kith.watching.news import Sighted
from kith.watching.numbering import Numbering
from kith.watching.state import State
from kith.watching.strangers import StrangerVisit
from kith.watching.tracks import Placed, Track, placed
from kith.watching.visits import Shown, Visit, Who, belongs, decided, visit_of
from tests.simulated_cameras import CUTOFF, unit

RULE = Watch()
FACE = unit(np.eye(4, dtype=np.float32)[0])
OTHER = unit(np.eye(4, dtype=np.float32)[1])


def like(cosine: float) -> Vector:
    """A face so like `FACE`."""
    return unit(np.array([cosine, 0, (1 - cosine**2) ** 0.5, 0], np.float32))


def crop(number: int, name: str | None = None, score: float = 0.1, quality: float = 0.5) -> Sighted:
    seen = Seen("front", "front.r.1", 1000 * number, (0, 0, 50, 50), (640, 480), number)
    outcome = Outcome.MATCH if score >= CUTOFF else Outcome.UNKNOWN
    named = {"nearest": name, "nearest_id": f"id-{name}", "score": score} if name else {}
    return Sighted(f"d{number}", seen, outcome, f"k{number}", quality=quality, cutoff=CUTOFF, model_id="m", **named)


def shown(*crops: tuple[Sighted, Vector]) -> Shown:
    evidence, total = NOTHING, None
    for news, vector in crops:
        evidence, total = added(evidence, total, news, vector, RULE)
    return Shown(evidence, total)


def visit(name: str, who: Who = Who()) -> Visit:  # noqa: B008 (frozen)
    return Visit(name, 1000, 2000, 2000, who=who)


ADA, BOB = Who("Ada", "id-Ada"), Who("Bob", "id-Bob")


def test_a_face_belongs_to_the_visit_it_is_like_from_the_cutoff_on_and_is_in_doubt_just_below() -> None:
    open_visits = [(visit("a"), shown((crop(1), FACE)))]
    of = {cosine: visit_of(shown((crop(2), like(cosine))), None, open_visits, RULE) for cosine in (0.9, 0.47, 0.4, 0.2)}
    found = {cosine: (each[0].visit if each[0] else None, each[1]) for cosine, each in of.items()}
    assert found == {0.9: ("a", False), 0.47: ("a", False), 0.4: (None, True), 0.2: (None, False)}


def test_two_names_are_two_people_however_alike_they_are() -> None:
    open_visits = [(visit("a", ADA), shown((crop(1, "Ada", 0.6), FACE)))]
    assert visit_of(shown((crop(2, "Bob", 0.5), FACE)), None, open_visits, RULE) == (None, False)
    assert visit_of(shown((crop(2, "Ada", 0.5), FACE)), None, open_visits, RULE)[0] == open_visits[0][0]


def test_a_single_match_leads_to_no_visit_of_a_face_that_is_quite_unlike() -> None:
    open_visits = [(visit("a", ADA), shown((crop(1, "Ada", 0.6), FACE)))]
    once = shown((crop(2, "Ada", 0.5), OTHER))
    assert visit_of(once, None, open_visits, RULE) == (None, False)
    twice = shown((crop(2, "Ada", 0.5), OTHER), (crop(3, "Ada", 0.5), OTHER))
    assert visit_of(twice, None, open_visits, RULE)[0] == open_visits[0][0]


def test_the_number_of_a_stranger_leads_to_their_visit_whatever_they_look_like_today() -> None:
    open_visits = [(visit("a"), shown((crop(1), like(0.3)))), (visit("s", Who(stranger=7)), shown((crop(1), OTHER)))]
    assert visit_of(shown((crop(2), FACE)), 7, open_visits, RULE)[0] == open_visits[1][0]


def test_a_track_leaves_a_visit_whose_name_or_face_is_another() -> None:
    rest = shown((crop(1), FACE))
    bob = shown((crop(1, "Bob", 0.6), FACE), (crop(2, "Bob", 0.6), FACE))
    assert not belongs(bob, ADA, rest, RULE)
    assert belongs(bob, BOB, rest, RULE)
    for cosine, stays in ((0.1, False), (0.4, True)):
        assert belongs(shown((crop(1), like(cosine)), (crop(2), like(cosine))), Who(), rest, RULE) is stays
    # One crop is too little to leave by, and where nobody else is there is nobody to be unlike.
    assert belongs(shown((crop(1), OTHER)), Who(), rest, RULE)
    assert belongs(shown((crop(1), OTHER), (crop(2), OTHER)), Who(), Shown(NOTHING, None), RULE)


@pytest.mark.parametrize(("score", "who"), [(CUTOFF - 0.04, ADA), (CUTOFF - 0.06, Who())])
def test_a_name_once_said_falls_only_when_the_score_is_well_below_the_cutoff(score: float, who: Who) -> None:
    evidence = shown((crop(1, "Ada", score), FACE), (crop(2, "Ada", score), FACE)).evidence
    assert decided(visit("a", ADA), evidence, RULE).who == who


@pytest.mark.parametrize(("others", "unlike"), [(2, False), (3, True)])
def test_one_stray_match_in_four_does_not_keep_somebody_from_being_a_stranger(others: int, unlike: bool) -> None:
    crops = [(crop(9, "Ada", 0.48), FACE), *((crop(n, "Bob", 0.1), FACE) for n in range(1, others + 1))]
    assert shown(*crops).evidence.nobody_known(RULE) is unlike


def following(*crops: tuple[Sighted, Vector]) -> tuple[Track, Vector | None]:
    so_far = shown(*crops)
    return Track("front.r.1", "front", 0, 0, 0, evidence=so_far.evidence), so_far.total


def test_a_crop_too_blurred_to_be_like_anybody_counts_for_nobody() -> None:
    track, total = following((crop(1), FACE))
    for number in (2, 3, 4):
        result = placed(track, total, None, crop(number, quality=0.1), OTHER, RULE)
        assert (result.taken, result.changed) == (False, False)
        assert result.track.evidence == track.evidence
        track = result.track
    assert track.aside.crops == 0


def test_a_blurred_beginning_gives_way_to_the_first_crop_of_quality() -> None:
    track, total = following((crop(1, quality=0.1), OTHER))
    result = placed(track, total, None, crop(2), FACE, RULE)
    assert (result.taken, result.changed, result.track.evidence.crops) == (True, False, 1)
    assert result.total == pytest.approx(0.5 * FACE)


def of_stretch(news: Sighted, stretch: int | None) -> Sighted:
    return replace(news, seen=replace(news.seen, stretch=stretch))


def in_turn(*crops: tuple[Sighted, Vector]) -> list[Placed]:
    """One track's crops, from the first."""
    track, total, aside, found = Track("front.r.1", "front", 0, 0, 0), None, None, list[Placed]()
    for news, vector in crops:
        found.append(placed(track, total, aside, news, vector, RULE))
        track, total, aside = found[-1].track, found[-1].total, found[-1].aside
    return found


def test_crops_of_one_stretch_are_of_one_person_however_little_alike() -> None:
    first, second, third = in_turn(
        (of_stretch(crop(1), 1), FACE), (of_stretch(crop(2), 1), OTHER), (of_stretch(crop(3), 1), OTHER)
    )
    assert [each.taken for each in (first, second, third)] == [True, True, True]
    assert not third.changed
    assert third.track.evidence.crops == 3


@pytest.mark.parametrize("stretches", [(1, 2, 2), (1, 2, 3), (None, None, None)])
def test_where_the_tracker_had_a_choice_two_crops_of_another_person_change_hands(
    stretches: tuple[int | None, ...],
) -> None:
    crops = [
        (of_stretch(crop(n), stretch), face)
        for n, (stretch, face) in enumerate(zip(stretches, (FACE, OTHER, OTHER), strict=True), start=1)
    ]
    first, second, third = in_turn(*crops)
    assert [each.taken for each in (first, second, third)] == [True, False, True]
    assert [each.changed for each in (first, second, third)] == [False, False, True]
    assert third.track.evidence.crops == 2


def test_what_was_laid_aside_is_joined_by_its_stretch_though_it_is_like_the_track() -> None:
    first, second, third = in_turn(
        (of_stretch(crop(1), 1), FACE), (of_stretch(crop(2), 2), OTHER), (of_stretch(crop(3), 2), FACE)
    )
    assert (first.taken, second.taken, third.taken, third.changed) == (True, False, True, True)


def test_a_crop_that_is_not_quite_like_the_track_vouches_for_no_stretch() -> None:
    """Ann crosses somebody, and the tracker goes on with them: one crop of theirs that is a little like her is not hers
    for all of them."""
    *_, last = in_turn(
        (of_stretch(crop(1, "Ann", 0.6), 1), FACE),
        (of_stretch(crop(2, "Ann", 0.6), 1), FACE),
        (of_stretch(crop(3), 2), like(CUTOFF - 0.1)),
        (of_stretch(crop(4), 2), OTHER),
        (of_stretch(crop(5), 2), OTHER),
    )
    assert (last.changed, last.track.turn, last.track.evidence.crops) == (True, 1, 2)


def test_a_crop_that_is_surely_of_the_track_vouches_for_the_rest_of_its_stretch() -> None:
    *_, turned, last = in_turn(
        (of_stretch(crop(1), 1), FACE),
        (of_stretch(crop(2), 2), like(CUTOFF - 0.1)),
        (of_stretch(crop(3), 2), like(CUTOFF + 0.1)),
        (of_stretch(crop(4), 2), OTHER),
        (of_stretch(crop(5), 2), OTHER),
    )
    assert (turned.taken, last.taken, last.track.turn, last.track.evidence.crops) == (True, True, 0, 5)


def test_a_late_crop_of_the_first_stretch_leaves_aside_what_is_aside() -> None:
    *_, late, last = in_turn(
        (of_stretch(crop(1), 1), FACE),
        (of_stretch(crop(3), 2), OTHER),
        (of_stretch(crop(2), 1), FACE),
        (of_stretch(crop(4), 2), OTHER),
    )
    assert (late.taken, late.changed, late.track.evidence.crops, late.track.aside.crops) == (True, False, 2, 1)
    assert (last.changed, last.track.evidence.crops) == (True, 2)


def numbering_with_a_stranger(face: Vector, visits: tuple[str, ...] = ()) -> tuple[State, Numbering]:
    state = State()
    number = state.strangers.mint("m", 1000)
    state.strangers.learn(number, "before", face, 1.0, [], 1000)
    for name in visits:
        state.strangers.visited(number, StrangerVisit(name, 1000, 2000, ("front",)))
    return state, Numbering(state, RULE)


@pytest.mark.parametrize(("cosine", "who", "known"), [(0.9, 1, 1), (0.45, None, 1), (0.2, 2, 2)])
def test_a_visit_gets_the_number_it_is_like_a_new_one_or_in_between_none(
    cosine: float, who: int | None, known: int
) -> None:
    state, numbering = numbering_with_a_stranger(FACE)
    face = like(cosine)
    numbered = numbering.numbered(visit("v"), shown((crop(1), face), (crop(2), face)))
    assert numbered.who == Who(stranger=who)
    assert len(state.strangers) == known


def test_a_stranger_who_turns_out_to_be_known_never_was_one_unless_there_were_other_visits() -> None:
    state, numbering = numbering_with_a_stranger(FACE)
    numbering.dissolve(1)
    assert len(state.strangers) == 0
    state, numbering = numbering_with_a_stranger(FACE, ("v1",))
    numbering.dissolve(1)
    assert len(state.strangers) == 1
    state, numbering = numbering_with_a_stranger(FACE)
    state.change_visit(visit("open", Who(stranger=1)))
    numbering.dissolve(1)
    assert len(state.strangers) == 1


def test_evidence_of_another_model_is_unlike_everything() -> None:
    one = shown((crop(1), FACE))
    other = Shown(Evidence(model_id="other", length=1.0), FACE)
    assert one.likeness(other) == -1
