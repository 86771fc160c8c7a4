"""How the cameras' benchmark counts: a wrong count would make every figure good without failing anything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cameras_judging import Said, heard, judged
from benchmarks.cameras_replayed import Line, Round, judged_round, round_of, sum_of
from benchmarks.cameras_scenes import GAP_S, Person, busy, cast, crossing, hall, returning, scene, staying
from benchmarks.cameras_truth import Play, Stay, aligned, at_stay, majority, shown_in, stays
from kith.jobs import Decision, Kind, Lane, Outcome, Quality, Seen
from kith.watching.events import CropEvidence, Event, EventKind, Proof
from producers.rehearsal.scene import Portrait, Scene, Walk

GAP_MS = round(GAP_S * 1000)
T = 1_000_000


def person(name: str, known: bool = True) -> Person:
    photo = Portrait(name, Path("nobody.jpg"), (20, 20, 40, 50))
    return Person(known, (photo,), (photo,))


def played(camera: str, people_scene: Scene, start_ms: int = T, seconds: float | None = None) -> Play:
    return Play(camera, people_scene, start_ms, start_ms + round(1000 * (seconds or people_scene.seconds)))


def crop(play: Play, who: str, second: float, late_ms: int = 0, number: int = 1) -> Seen:
    [there] = [each for each in play.scene.truth(round(second * play.scene.fps)) if each.who == who]
    at_ms = play.start_ms + round(1000 * second) + late_ms
    return Seen(play.camera, f"{play.camera}.r.{number}", at_ms, there.box, (640, 480))


class TestReplayed:
    """A round in a time of its own, from what the camera told to the score."""

    people = person("Ada"), person("Bob", known=False), person("Cleo")

    def line(self, play: Play, who: str, second: float, number: int, face: int) -> Line:
        seen = replace(crop(play, who, second, number=number), quality=Quality(0.8, 1, 1, 1, 1))
        return Line(seen.at_ms + 80, seen, np.eye(4, dtype=np.float32)[face])

    def test_who_is_known_is_named_and_who_is_not_gets_a_number(self) -> None:
        play = played("door", scene(busy(self.people[:2], 14), 0))
        lines = []
        for who, face, begin_s in (("Ada", 0, 3.0), ("Bob", 1, 4.5)):
            for number in (1, 2, 3):
                seen = self.line(play, who, begin_s + 0.4 * number, number, face)
                assert isinstance(seen.news, Seen)
                track = f"door.r.{face + 1}"
                lines.append(replace(seen, news=replace(seen.news, track=track, number=number)))
        templates = {"Ada": [np.eye(4, dtype=np.float32)[0]], "Cleo": [np.eye(4, dtype=np.float32)[2]]}
        score = judged_round(templates, 0.5, Round(self.people, (play,)), lines)
        assert (score.stays, score.found, score.announced, score.wrong) == (2, 2, 2, 0)
        assert (score.named, score.known, score.numbered, score.switched) == (1, 1, 1, 0)
        assert sum_of([score, score]).found == 4

    def test_each_round_deals_everybody_anew_and_the_same_at_each_run(self) -> None:
        crowd = [person(f"p{number:02}", number % 3 != 2) for number in range(62)]
        one, again, other = round_of(crowd, 1), round_of(crowd, 1), round_of(crowd, 2)
        assert [each.name for each in one.people] == [each.name for each in again.people]
        assert [each.name for each in one.people] != [each.name for each in other.people]
        assert sum(each.known for each in one.people) == sum(each.known for each in crowd)
        assert {play.camera for play in one.plays} == {play.camera for play in other.plays}


class TestWhoWasWhere:
    def test_who_leaves_and_is_back_within_the_gap_is_on_one_visit_and_after_it_on_another(self) -> None:
        play = played("door", scene(returning([person("Ada"), person("Bob")]), 0))
        assert [stay.who for stay in stays([play], GAP_MS)] == ["Ada", "Ada", "Bob", "Bob"]

    def test_who_goes_from_camera_to_camera_is_on_one_visit(self) -> None:
        people = [person(f"p{number:02}") for number in range(12)]
        plays = [played(f"c{number}", scene(walks, number)) for number, walks in enumerate(hall(people, 3))]
        found = stays(plays, GAP_MS)
        assert [stay.who for stay in found] == [each.name for each in people]
        assert all(len(play.scene.walks) == 8 for play in plays)

    def test_an_interrupted_play_counts_only_who_was_on_it(self) -> None:
        play = played("door", scene(crossing([person("Ada"), person("Bob"), person("Cy"), person("Di")]), 0), seconds=6)
        assert [stay.who for stay in stays([play], GAP_MS)] == ["Ada", "Bob"]

    def test_who_is_cut_off_and_there_again_at_once_never_left(self) -> None:
        place = scene(staying([person("Ada")], 60), 0, 60)
        plays = [played("door", place, seconds=9), played("door", place, T + 17_000, 12)]
        assert stays(plays, GAP_MS) == [Stay("Ada", T, T + 29_000)]

    @pytest.mark.parametrize("late_ms", [-400, 0, 250, 500])
    def test_a_crop_is_of_whom_it_lies_on_though_the_play_began_a_little_earlier_or_later(self, late_ms: int) -> None:
        play = played("door", scene(crossing([person("Ada"), person("Bob")]), 0))
        crops = [crop(play, who, second, late_ms) for who in ("Ada", "Bob") for second in (1.5, 2.5, 5.5)]
        set_right = aligned(play, crops)
        assert abs(set_right.shift_ms - late_ms) <= 50
        assert [shown_in([set_right], each) for each in crops] == ["Ada"] * 3 + ["Bob"] * 3

    def test_a_crop_where_nobody_is_shows_nobody(self) -> None:
        play = played("door", scene(crossing([person("Ada"), person("Bob")]), 0))
        far = replace(crop(play, "Ada", 2), box=(300.0, 20.0, 40.0, 50.0))
        assert shown_in([play], far) is None
        assert shown_in([play], replace(crop(play, "Ada", 2), camera="hall", track="hall.r.1")) is None

    def test_the_majority_is_of_those_who_are_somebody(self) -> None:
        assert majority([None, None, "Ada", "Bob", "Bob"]) == "Bob"
        assert majority([None]) is None

    def test_what_is_said_soon_after_somebody_left_is_of_that_visit(self) -> None:
        stay = Stay("Ada", T, T + 5000)
        assert at_stay([stay], "Ada", T + 5000 + GAP_MS, GAP_MS) == stay
        assert at_stay([stay], "Ada", T + 5001 + GAP_MS, GAP_MS) is None
        assert at_stay([stay], "Bob", T, GAP_MS) is None


class TestCounting:
    STAYS = (Stay("Ada", T, T + 5000), Stay("Zoe", T, T + 5000), Stay("Zoe", T + 90_000, T + 95_000))
    KNOWN = {"Ada": True, "Zoe": False}  # noqa: RUF012

    def score(self, *said: Said):  # type: ignore[no-untyped-def]
        return judged(said, self.STAYS, self.KNOWN, GAP_MS)

    def test_everything_right(self) -> None:
        found = self.score(
            Said(T, "Ada", True),
            Said(T + 1000, "Ada", False, subject="Ada"),
            Said(T, "Zoe", True, stranger="stranger-1"),
            Said(T + 90_000, "Zoe", True, stranger="stranger-1"),
        )
        assert (found.found_share, found.wrong_share, found.announced_each) == (1, 0, 1)
        assert (found.named, found.known, found.numbered, found.switched) == (1, 1, 2, 0)

    def test_a_visit_nobody_was_told_of_is_not_found_though_it_ended_with_a_name(self) -> None:
        assert self.score(Said(T + 5000, "Ada", False, subject="Ada")).found == 0

    def test_a_wrong_name_counts_once_a_visit_and_of_strangers_too(self) -> None:
        found = self.score(
            Said(T, "Ada", True, subject="Eve"),
            Said(T + 1000, "Ada", False, subject="Eve"),
            Said(T + 2000, "Ada", False, subject="Ada"),
            Said(T, "Zoe", True, subject="Ada"),
            Said(T, None, True, subject="Ada"),
        )
        assert found.wrong == 3
        assert found.announced == 3

    def test_announcing_twice_is_seen(self) -> None:
        assert self.score(Said(T, "Ada", True), Said(T + 3000, "Ada", True)).announced_each == pytest.approx(2 / 3)

    def test_a_number_that_changes_and_one_that_was_anothers_are_switches(self) -> None:
        changed = self.score(
            Said(T, "Zoe", True, stranger="stranger-1"), Said(T + 90_000, "Zoe", True, stranger="stranger-2")
        )
        assert (changed.numbered, changed.switched) == (2, 1)
        shared = self.score(
            Said(T, "Zoe", True, stranger="stranger-1"), Said(T + 1, "Ada", True, stranger="stranger-1")
        )
        assert (shared.numbered, shared.switched) == (2, 1)

    def test_a_number_that_is_repeated_on_its_visit_is_said_once(self) -> None:
        repeated = self.score(
            Said(T, "Zoe", True, stranger="stranger-1", visit="a"),
            Said(T + 1, "Zoe", True, stranger="stranger-2", visit="b"),
            Said(T + 2, "Zoe", False, stranger="stranger-1", visit="a"),
        )
        assert (repeated.numbered, repeated.switched) == (2, 1)


def test_an_event_is_about_whom_most_of_its_crops_show_whatever_it_says() -> None:
    play = played("door", scene(crossing([person("Ada"), person("Bob")]), 0))
    places = [crop(play, "Ada", 1.5), crop(play, "Ada", 2.0), crop(play, "Bob", 2.0)]
    decisions = [
        Decision(
            decision_id=f"d{number}", job_id="j", index=0, image="i", kind=Kind.IDENTIFY, lane=Lane.LIVE, gallery="g",
            outcome=Outcome.UNKNOWN, created_ms=T, decided_ms=T, seen=seen,
        )
        for number, seen in enumerate(places)
    ]  # fmt: skip
    crops = tuple(CropEvidence(f"d{number}", "i", "door", T, 0.5, Outcome.UNKNOWN) for number in range(3))
    event = Event("e", EventKind.NEW, "g", T + 2000, subject="Bob", evidence=Proof(3, crops, "crops"))
    gone = replace(event, kind=EventKind.MERGED)

    assert heard([event, gone], decisions, [play]) == [Said(T + 2000, "Ada", True, subject="Bob")]


def test_two_of_three_people_are_known_and_none_is_seen_on_a_picture_that_was_enrolled() -> None:
    photos = {name: [Portrait(name, Path(f"{name}{n}"), (0, 0, 9, 9)) for n in range(4)] for name in "abcdef"}
    people = cast(photos)
    assert [each.known for each in people] == [True, True, False] * 2
    assert all(not set(each.enrol) & set(each.photos) for each in people)


def test_in_a_busy_place_there_is_somebody_at_any_time_and_each_comes_once() -> None:
    walks = busy([person(f"p{number}") for number in range(40)], 60)
    crowd = scene(walks, 0, 60)
    counts = [len(crowd.truth(round(second * crowd.fps))) for second in range(4, 54)]
    assert min(counts) >= 3
    assert len({walk.who for walk in walks}) == len(walks)
    assert max(walk.path[-1][0] for walk in walks) <= 60


def test_nobody_covers_a_face_of_the_far_lane_for_good() -> None:
    """Each is to be seen whole for two seconds at least, or could not be found by anybody."""
    for walks in (
        *hall([person(f"p{number:02}") for number in range(12)], 3),
        busy([person(f"{n}") for n in range(40)], 60),
    ):
        played_scene: Scene = scene(walks, 0)
        whole: dict[str, int] = {}
        for number in range(0, played_scene.frames, 2):
            for there in played_scene.truth(number):
                whole[there.who] = whole.get(there.who, 0) + (there.hidden == 0)
        assert min(whole.values()) >= 10, {who: count for who, count in whole.items() if count < 10}


def test_walks_are_drawn_from_far_to_near() -> None:
    near, far = (Walk(person("a").photos, ((0, 0, 0), (1, 1, 1)), size) for size in (90, 60))
    assert scene([near, far], 0).walks == (far, near)
