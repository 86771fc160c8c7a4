"""One person, one visit, one event: scenes of drawn people, as the watcher hears of them."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from kith.jobs import Outcome, Seen
from kith.settings import Watch
from kith.watching.book import VisitBook
from kith.watching.events import Event, EventKind
from kith.watching.log import Heard
from kith.watching.news import CameraStarted, Ending, News, Sighted, TrackBegun, TrackEnded, TracksAlive, Unfit
from kith.watching.state import State
from tests.simulated_cameras import GAP_MS, Line, People, Person, T, scene, unit, walk, watch, watched

#: Nobody is named by a single crop.
STEADY = Watch(clear_lead=2.0)


@pytest.fixture
def people() -> People:
    return People(known=6, strangers=6, seed=1)


@pytest.fixture
def known(people: People) -> Person:
    return people.everybody[0]


@pytest.fixture
def stranger(people: People) -> Person:
    return people.everybody[6]


def told(events: Iterable[Event]) -> list[tuple[str, str | None]]:
    return [(event.kind.value, event.subject or event.stranger) for event in events]


def only(events: Iterable[Event], kind: EventKind) -> list[Event]:
    return [event for event in events if event.kind is kind]


def test_somebody_known_is_announced_named_and_gone_once(people: People, known: Person) -> None:
    events = watched(walk(people, known, "front", 1, T), STEADY)
    assert told(events) == [("new", None), ("update", "known0"), ("end", "known0")]
    new, named, end = events
    assert {event.visit for event in events} == {"front.r.1"}
    assert new.at_ms == T + 200
    assert (named.why, named.was, named.camera, named.track) == ("named", None, "front", "front.r.1")
    assert (end.started_ms, end.ended_ms, end.cameras, end.late) == (T, T + 4000, ("front",), False)
    assert end.evidence is not None
    assert (end.evidence.count, end.evidence.how, end.evidence.nearest) == (5, "crops", "known0")
    assert [crop.decision for crop in end.evidence.crops] == [f"front.r.1:{n}" for n in range(1, 6)]
    assert end.evidence.score is not None
    assert end.evidence.cutoff is not None
    assert end.evidence.score > end.evidence.cutoff


def test_a_first_crop_far_above_the_cutoff_is_announced_with_the_name(people: People, known: Person) -> None:
    events = watched(walk(people, known, "front", 1, T, quality=(0.95, 1.0)))
    assert told(events) == [("new", "known0"), ("end", "known0")]
    assert events[0].evidence is not None
    assert events[0].evidence.how == "clear"


def test_who_is_renamed_while_there_is_told_of_by_one_name_until_the_visit_is_over(
    people: People, known: Person
) -> None:
    lines = []
    for line in walk(people, known, "front", 1, T, crops=8):
        news = line.news
        if isinstance(news, Sighted) and news.seen.number > 4 and news.nearest == "known0":
            news = replace(news, nearest="renamed")
        lines.append(replace(line, news=news))
    events = watched(lines, STEADY)
    assert told(events) == [("new", None), ("update", "known0"), ("end", "known0")]
    proof = events[-1].evidence
    assert proof is not None
    assert proof.votes > 4, "those by the new name are the same person's"
    assert proof.score is not None


def test_somebody_unknown_has_a_number_from_the_second_crop_of_quality_on(people: People, stranger: Person) -> None:
    events = watched(walk(people, stranger, "front", 1, T))
    assert told(events)[:2] == [("new", None), ("update", "stranger-1")]
    assert events[1].why == "stranger"
    assert told(events)[-1] == ("end", "stranger-1")


def test_the_snapshot_is_the_best_crop_and_a_much_better_one_is_told_after_the_cooldown(
    people: People, stranger: Person
) -> None:
    events = watched(walk(people, stranger, "front", 1, T, seconds=60, crops=8, quality=(0.3, 0.9)))
    better = [event for event in events if event.why == "better_crop"]
    assert better
    assert all(later.at_ms - first.at_ms >= 10_000 for first, later in pairwise(better))
    shown = better[-1]
    assert shown.evidence is not None
    best = max(shown.evidence.crops, key=lambda crop: crop.quality)
    assert shown.snapshot == best.image


@pytest.mark.parametrize("who", [0, 6])
def test_who_leaves_and_returns_within_the_gap_or_passes_to_another_camera_is_on_one_visit(
    people: People, who: int
) -> None:
    person, day = people.everybody[who], people.day()
    lines = walk(people, person, "front", 1, T, day=day)
    lines += walk(people, person, "front", 2, T + 4000 + GAP_MS - 1000, day=day)
    lines += walk(people, person, "hall", 1, T + 70_000, day=day)
    events = watched(lines)
    assert len(only(events, EventKind.NEW)) == 1
    [end] = only(events, EventKind.END)
    assert (end.visit, end.cameras, end.ended_ms) == ("front.r.1", ("front", "hall"), T + 74_000)


@pytest.mark.parametrize("who", [0, 6])
def test_who_returns_after_the_gap_is_on_a_new_visit_under_the_same_name_or_number(people: People, who: int) -> None:
    person = people.everybody[who]
    lines = walk(people, person, "front", 1, T) + walk(people, person, "front", 2, T + 6000 + GAP_MS)
    ends = only(watched(lines), EventKind.END)
    assert [end.visit for end in ends] == ["front.r.1", "front.r.2"]
    assert len({(end.subject, end.stranger) for end in ends}) == 1


def test_two_cameras_at_once_see_one_visit(people: People, known: Person, stranger: Person) -> None:
    for person in (known, stranger):
        day = people.day()
        lines = walk(people, person, "front", 1, T, day=day) + walk(people, person, "hall", 1, T + 100, day=day)
        events = watched(lines)
        assert len(only(events, EventKind.END)) == 1
        assert len(only(events, EventKind.NEW)) - len(only(events, EventKind.MERGED)) == 1


def test_two_visits_that_get_one_name_are_joined_and_the_one_that_began_later_is_told_of_as_merged(
    people: People, known: Person
) -> None:
    # Two days, as if two cameras showed two sides of the face: alike only through what is enrolled.
    first, second = walk(people, known, "front", 1, T), walk(people, known, "hall", 1, T + 100)
    apart = [replace(line, vector=-line.vector) if line.vector is not None else line for line in second]
    events = watched(first + apart)
    [merged] = only(events, EventKind.MERGED)
    assert (merged.visit, merged.into, merged.why) == ("hall.r.1", "front.r.1", "same_person")
    [end] = only(events, EventKind.END)
    assert (end.visit, end.subject, end.cameras) == ("front.r.1", "known0", ("front", "hall"))
    assert end.evidence is not None
    assert end.evidence.count == 10


def test_a_tracker_that_goes_on_with_somebody_else_gives_neither_the_others_name(people: People) -> None:
    wrong, visits = 0, 0
    for number in range(40):
        one, other = people.everybody[number % 3], people.everybody[3 + number % 3]
        at, day = T + number * 10 * GAP_MS, people.day()
        crossing = walk(people, one, "front", number, at, crops=8, then=(other, day), quality=(0.4, 0.8))
        after = [event for event in watched(crossing) if event.subject is not None]
        visits += 2
        assert {event.subject for event in after} <= {one.name, other.name}
        wrong += sum(event.subject != one.name for event in after if event.visit == f"front.r.{number}")
        wrong += sum(event.subject != other.name for event in after if event.visit == f"front.r.{number}.2")
        assert {event.subject for event in after if event.kind is EventKind.END} == {one.name, other.name}
    assert wrong == 0


def test_one_bad_picture_in_a_track_changes_nothing(people: People, known: Person, stranger: Person) -> None:
    lines = walk(people, known, "front", 1, T, crops=6, quality=(0.4, 0.8))
    place = next(n for n, line in enumerate(lines) if isinstance(line.news, Sighted) and line.news.seen.number == 4)
    news = lines[place].news
    assert isinstance(news, Sighted)
    other, vector = people.sighted(stranger, people.day(), 0.5, news.seen, 4)
    lines[place] = Line(lines[place].at_ms, other, vector)
    events = watched(lines)
    assert told(events)[-1] == ("end", "known0")
    assert len(only(events, EventKind.NEW)) == len(only(events, EventKind.END)) == 1
    assert events[-1].evidence is not None
    assert events[-1].evidence.count == 5


def test_a_restarted_producer_does_not_announce_again_who_is_there(people: People) -> None:
    for person in (people.everybody[0], people.everybody[6]):
        day = people.day()
        before = [line for line in walk(people, person, "front", 1, T, seconds=9, day=day) if line.at_ms < T + 6000]
        restart = [Line(T + 9000, CameraStarted("front", "s", T + 9000))]
        after = walk(people, person, "front", 1, T + 10_000, run="s", day=day)
        events = watched(before + restart + after)
        assert [event.visit for event in only(events, EventKind.NEW)] == ["front.r.1"]
        [end] = only(events, EventKind.END)
        assert end.ended_ms == T + 14_000


def test_a_producer_that_dies_in_silence_ends_its_tracks(people: People, known: Person) -> None:
    before = [line for line in walk(people, known, "front", 1, T, seconds=9) if line.at_ms < T + 5000]
    [end] = only(watched(before), EventKind.END)
    assert end.ended_ms == T + 4000 + 0
    assert end.subject == "known0"


def expiring(lines: Iterable[Line], after_ms: int) -> list[Line]:
    return [
        replace(line, news=replace(line.news, expires_ms=line.news.seen.at_ms + after_ms))
        if isinstance(line.news, Sighted)
        else line
        for line in lines
    ]


def test_what_comes_past_its_deadline_announces_nobody_and_stands_in_the_end(people: People, known: Person) -> None:
    lines = expiring(walk(people, known, "front", 1, T, delay_ms=6000), 5000)
    [end] = watched(lines)
    assert (end.kind, end.subject, end.late) == (EventKind.END, "known0", True)
    on_time = watched(expiring(walk(people, known, "front", 1, T, delay_ms=4000), 5000), STEADY)
    assert told(on_time) == [("new", None), ("update", "known0"), ("end", "known0")]


def test_a_watcher_that_was_away_names_nobody_by_what_it_missed(people: People, known: Person) -> None:
    book = VisitBook("g", Watch(), State())
    lines = expiring(walk(people, known, "front", 1, T), 5000)
    late = [
        event
        for line in lines
        for event in book.take(Heard("g", f"{line.at_ms}-0", line.news), line.vector, T + GAP_MS)
    ]
    assert late == []
    assert book.deadline_ms is None


def test_an_event_that_names_somebody_says_until_when_it_may_be_told(people: People, known: Person) -> None:
    book = VisitBook("g", Watch(), State())
    watch(book, expiring(walk(people, known, "front", 1, T), 5000), until_ms=T + 5000)
    assert book.deadline_ms is not None
    assert T + 5000 < book.deadline_ms <= T + 9000


@pytest.mark.parametrize("reason", [Unfit.TOO_SMALL, Unfit.BLURRED, Unfit.TURNED_AWAY])
def test_who_showed_no_usable_face_is_an_event_with_its_reason(reason: Unfit) -> None:
    lines = [
        Line(T, TrackBegun("front", "front.r.1", T)),
        Line(T + 900, TrackEnded("front", "front.r.1", T + 900, unfit=reason)),
    ]
    for told_of in (lines, lines[1:]):
        [event] = watched(told_of)
        assert (event.kind, event.why, event.camera, event.subject) == (EventKind.UNUSABLE, reason.value, "front", None)


def test_a_face_that_the_worker_refused_is_no_visit(people: People, known: Person) -> None:
    lines = walk(people, known, "front", 1, T, crops=2, quality=(0.05, 0.1))
    refused = [
        Line(line.at_ms, replace(line.news, unfit=Unfit.DARK)) if isinstance(line.news, Sighted) else line
        for line in lines
    ]
    [event] = watched(refused)
    assert (event.kind, event.why) == (EventKind.UNUSABLE, "dark")


@pytest.mark.parametrize(("second_at_ms", "visits"), [(T + 9700, 1), (T + 12_000, 2)])
def test_a_doubtful_face_waits_a_moment_for_a_better_crop(
    people: People, known: Person, second_at_ms: int, visits: int
) -> None:
    day = people.day()
    lines = walk(people, known, "front", 1, T, day=day, quality=(0.5, 0.8))
    for line in walk(people, known, "hall", 1, T + 9000, crops=2, day=day):
        news = line.news
        if isinstance(news, Sighted) and news.seen.number == 1:
            # Like the visit, though not enough to be sure.
            assert line.vector is not None
            doubtful = unit(0.4 * line.vector + 0.9 * unit(people.day()))
            news = replace(news, outcome=Outcome.UNKNOWN, score=0.3, quality=0.3)
            line = Line(line.at_ms, news, doubtful)  # noqa: PLW2901
        elif isinstance(news, Sighted):
            line = replace(line, at_ms=second_at_ms)  # noqa: PLW2901
        lines.append(line)
    assert len(only(watched(lines), EventKind.NEW)) == visits


def test_a_doubtful_face_that_a_new_model_sees_blurred_is_waited_for_no_more(people: People, known: Person) -> None:
    book, day = VisitBook("g", STEADY, State()), people.day()
    watch(book, walk(people, known, "front", 1, T, day=day, quality=(0.5, 0.8)), until_ms=T + 9000)
    seen = Seen("hall", "hall.r.1", T + 9000, (10, 10, 60, 60), (640, 480), 1)
    news, vector = people.sighted(known, day, 0.5, seen, 1)
    doubtful = Line(
        T + 9080,
        replace(news, outcome=Outcome.UNKNOWN, score=0.3),
        unit(0.4 * vector + 0.9 * unit(people.day())),
    )
    blurred = replace(
        doubtful,
        at_ms=T + 9200,
        news=replace(news, decision_id="b", outcome=Outcome.UNKNOWN, score=0.3, quality=0.1, model_id="new"),
    )
    watch(book, [doubtful], until_ms=T + 9100)
    assert book.state.tracks["hall.r.1"].held_ms is not None
    watch(book, [blurred], until_ms=T + 9300)
    book.tick(T + 12_000, T + 12_000)
    assert (due := book.due_ms()) is not None
    assert due > T + 12_000


def test_crops_that_come_after_the_end_of_their_track_belong_to_its_visit(people: People, known: Person) -> None:
    events = watched(walk(people, known, "front", 1, T, seconds=1, delay_ms=3000), STEADY)
    assert told(events) == [("new", None), ("update", "known0"), ("end", "known0")]
    assert events[-1].ended_ms == T + 1000


def test_a_visit_does_not_end_before_all_its_crops_are_decided(people: People, known: Person) -> None:
    rule = Watch(clear_lead=2.0, gap_s=0.5)
    events = watched(walk(people, known, "front", 1, T, seconds=1, delay_ms=5000), rule)
    assert told(events) == [("new", None), ("update", "known0"), ("end", "known0")]
    assert events[-1].evidence is not None
    assert events[-1].evidence.count == 5


def test_crops_that_are_never_decided_are_not_waited_for_for_ever(people: People, known: Person) -> None:
    lines = walk(people, known, "front", 1, T)
    undecided = [line for line in lines if not isinstance(line.news, Sighted) or line.news.seen.number < 3]
    [end] = only(watched(undecided), EventKind.END)
    assert (end.ended_ms, end.evidence and end.evidence.count) == (T + 4000, 2)


def test_a_source_that_breaks_off_does_not_end_the_visit_before_the_gap(people: People, known: Person) -> None:
    day = people.day()
    lines: list[Line] = []
    for line in walk(people, known, "front", 1, T, day=day):
        news: News = line.news
        if isinstance(news, TrackEnded):
            news = replace(news, reason=Ending.SOURCE)
        lines.append(replace(line, news=news))
    events = watched(lines + walk(people, known, "front", 2, T + 30_000, day=day))
    assert len(only(events, EventKind.NEW)) == len(only(events, EventKind.END)) == 1


def test_news_of_a_track_that_nobody_announced_are_taken(people: People, known: Person) -> None:
    lines = walk(people, known, "front", 1, T)
    assert told(watched(lines[1:]))[-1] == ("end", "known0")
    assert watched([Line(T, TracksAlive("front", ("front.r.9",), T))]) == []


@pytest.mark.parametrize("quality", [(0.3, 0.8), (0.2, 0.6), (0.1, 0.4)])
def test_over_an_afternoon_visits_are_found_once_names_are_right_and_numbers_stay(
    quality: tuple[float, float],
) -> None:
    true_visits, new, found, wrong, numbered, switched = 0, 0, 0, 0, 0, 0
    for seed in range(3):
        lines, whose, visits = scene(seed, quality)
        events = watched(lines)
        true_visits += visits
        new += len(only(events, EventKind.NEW))
        wrong += len({e.visit for e in events if e.subject and e.subject != whose[str(e.visit)].name})
        numbers: dict[str, str] = {}
        for end in only(events, EventKind.END):
            person = whose[str(end.visit)]
            found += end.subject == (person.name if person.known else None)
            if end.stranger is not None:
                numbered += 1
                switched += numbers.setdefault(person.name, end.stranger) != end.stranger
    assert new <= 1.1 * true_visits
    assert found >= 0.95 * true_visits
    assert wrong <= 0.01 * true_visits
    assert numbered > 100
    assert switched <= 0.02 * numbered


def test_a_gallery_may_keep_strangers_for_a_time_of_its_own_and_change_it(people: People, stranger: Person) -> None:
    keep_s: list[float | None] = [None]
    book = VisitBook("g", Watch(keep_strangers_s=86_400), State(), lambda: keep_s[0])
    watch(book, walk(people, stranger, "front", 1, T))
    hour_ms = 3_600_000
    book.tick(T + hour_ms, T + hour_ms)
    assert len(book.state.strangers) == 1
    keep_s[0] = 600
    book.tick(T + 2 * hour_ms, T + 2 * hour_ms)
    assert len(book.state.strangers) == 0
    assert book.state.changes().litter


def test_news_of_a_track_that_ended_long_ago_begin_nothing(people: People, known: Person) -> None:
    lines = walk(people, known, "front", 1, T)
    late = [replace(line, at_ms=T + 90_000) for line in lines]
    assert watched(lines + late) == watched(lines)


def test_a_track_that_was_silent_for_too_long_goes_on_as_a_visit_of_its_own_name(people: People, known: Person) -> None:
    lines = walk(people, known, "front", 1, T, seconds=200, crops=12)
    silent = [line for line in lines if not T + 20_000 < line.at_ms < T + 150_000]
    first, second = only(watched(silent), EventKind.END)
    assert (first.visit, second.visit) == ("front.r.1", "front.r.1.2")
    assert (first.subject, second.subject) == ("known0", "known0")
    short = [line for line in lines if not T + 20_000 < line.at_ms < T + 32_000]
    [end] = only(watched(short), EventKind.END)
    assert (end.visit, end.ended_ms) == ("front.r.1", T + 200_000)
