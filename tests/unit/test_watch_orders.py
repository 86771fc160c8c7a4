"""What people ask of the watcher: strangers named, merged, ignored, forgotten, and subjects forgotten."""

from dataclasses import replace

import pytest

from kith.settings import Watch
from kith.watching.book import VisitBook
from kith.watching.events import Event, EventKind
from kith.watching.log import Heard
from kith.watching.news import (
    GalleryForgotten,
    Order,
    Resealed,
    StrangerForgotten,
    StrangerIgnored,
    StrangerMerged,
    StrangerNamed,
    SubjectForgotten,
)
from kith.watching.state import State
from tests.simulated_cameras import Line, People, Person, T, walk, watch

LATER = 300_000


@pytest.fixture
def people() -> People:
    return People(known=4, strangers=4, seed=2)


@pytest.fixture
def stranger(people: People) -> Person:
    return people.everybody[4]


@pytest.fixture
def book() -> VisitBook:
    return VisitBook("g", Watch(clear_lead=2.0), State())


def ordered(book: VisitBook, order: Order, at_ms: int) -> list[Event]:
    return book.take(Heard("g", f"{at_ms}-0", order), None, at_ms)


def test_naming_a_stranger_renames_the_visits_of_the_past_and_touches_no_record(
    book: VisitBook, people: People, stranger: Person
) -> None:
    watch(book, walk(people, stranger, "front", 1, T))
    watch(book, walk(people, stranger, "hall", 2, T + LATER))
    at_ms = T + 2 * LATER
    renamed = ordered(book, StrangerNamed(1, "Ada", "id-ada", at_ms), at_ms)
    assert [(e.kind, e.visit, e.subject, e.subject_id, e.was, e.cameras) for e in renamed] == [
        (EventKind.RENAMED, "front.r.1", "Ada", "id-ada", "stranger-1", ("front",)),
        (EventKind.RENAMED, "hall.r.2", "Ada", "id-ada", "stranger-1", ("hall",)),
    ]
    assert len({event.event_id for event in renamed}) == 2
    assert ordered(book, StrangerNamed(1, "Ada", "id-ada", at_ms), at_ms) == []


def test_naming_a_stranger_who_is_there_renames_this_visit_too_and_its_end_has_the_name(
    book: VisitBook, people: People, stranger: Person
) -> None:
    seen = watch(book, walk(people, stranger, "front", 1, T), until_ms=T + 5000)
    assert [event.kind for event in seen] == [EventKind.NEW, EventKind.UPDATE]
    [renamed] = ordered(book, StrangerNamed(1, "Ada", "id-ada", T + 6000), T + 6000)
    assert (renamed.visit, renamed.subject) == ("front.r.1", "Ada")
    [end] = watch(book, [])
    assert (end.kind, end.subject, end.was, end.stranger) == (EventKind.END, "Ada", None, None)


def test_two_strangers_said_to_be_one_are_one_and_an_event_says_so(book: VisitBook, people: People) -> None:
    for number, person in enumerate(people.everybody[4:6], 1):
        watch(book, walk(people, person, "front", number, T + number * LATER))
    at_ms = T + 4 * LATER
    [merged] = ordered(book, StrangerMerged(2, 1, at_ms), at_ms)
    assert (merged.kind, merged.stranger, merged.into, merged.why) == (
        EventKind.MERGED, "stranger-2", "stranger-1", "said",
    )  # fmt: skip
    assert ordered(book, StrangerMerged(2, 1, at_ms), at_ms) == []
    again = watch(book, walk(people, people.everybody[5], "front", 3, T + 5 * LATER))
    assert again[-1].stranger == "stranger-1"


def test_two_strangers_whom_one_visit_shows_to_be_one_are_merged(book: VisitBook, people: People) -> None:
    first, second = people.everybody[4:6]
    for number, person in enumerate((first, second), 1):
        watch(book, walk(people, person, "front", number, T + number * LATER))
    between = Person("between", False, first.face + second.face)
    # A face as near to both as to itself: what two strange views of one person have between them.
    events = watch(book, walk(people, between, "front", 3, T + 4 * LATER, day=0 * first.face, quality=(0.9, 1.0)))
    [merged] = [event for event in events if event.kind is EventKind.MERGED]
    assert (merged.stranger, merged.into, merged.why) == ("stranger-2", "stranger-1", "alike")


def test_the_ignored_are_recognised_and_not_told_of(book: VisitBook, people: People, stranger: Person) -> None:
    watch(book, walk(people, stranger, "front", 1, T))
    ordered(book, StrangerIgnored(1, True, T + LATER), T + LATER)
    assert watch(book, walk(people, stranger, "front", 2, T + 2 * LATER)) == []
    assert (known := book.state.strangers.get(1)) is not None
    assert [visit.visit for visit in known.visits] == ["front.r.1", "front.r.2"]
    ordered(book, StrangerIgnored(1, False, T + 3 * LATER), T + 3 * LATER)
    assert watch(book, walk(people, stranger, "front", 3, T + 4 * LATER))[-1].stranger == "stranger-1"


def test_a_forgotten_stranger_leaves_no_vector_and_the_pictures_are_to_be_deleted(
    book: VisitBook, people: People, stranger: Person
) -> None:
    watch(book, walk(people, stranger, "front", 1, T))
    watch(book, walk(people, stranger, "front", 2, T + LATER), until_ms=T + LATER + 4500)
    book.state.changes()
    ordered(book, StrangerForgotten(1, T + LATER + 5000), T + LATER + 5000)
    assert book.state.visits == {}
    changes = book.state.changes()
    assert {f"front.r.{track}/5" for track in (1, 2)} <= set(changes.litter)
    assert changes.records["s:1"] is None
    assert changes.vectors["s:1"] is None
    assert watch(book, []) == []
    # Who comes again is somebody new, under a number that was nobody's.
    assert watch(book, walk(people, stranger, "front", 3, T + 4 * LATER))[-1].stranger == "stranger-2"


def test_a_forgotten_subject_is_in_no_record_of_the_state(book: VisitBook, people: People) -> None:
    watch(book, walk(people, people.everybody[0], "front", 1, T), until_ms=T + 4500)
    watch(book, walk(people, people.everybody[5], "hall", 1, T + 3000), until_ms=T + 7500)
    watch(book, walk(people, people.everybody[0], "yard", 1, T + 7600, crops=1)[:2], until_ms=T + 7700)
    book.state.touch()
    assert any("known0" in str(text) for text in book.state.changes().records.values())
    ordered(book, SubjectForgotten(("id-known0",), ("known0",), T + 8000), T + 8000)
    book.state.touch()
    left = book.state.changes()
    assert not any("known0" in str(text) for text in left.records.values())
    assert "v:front.r.1" not in book.state.visits
    events = watch(book, [])
    assert not any("known0" in str(event) for event in events)
    assert [event.stranger for event in events if event.kind is EventKind.END] == ["stranger-1"]


def test_a_face_in_doubt_that_is_forgotten_leaves_nothing_that_is_due_for_ever(book: VisitBook, people: People) -> None:
    watch(
        book,
        walk(people, people.everybody[0], "yard", 1, T, seconds=1, crops=1, quality=(0.5, 0.6))[:2],
        until_ms=T + 300,
    )
    [track] = book.state.tracks.values()
    book.state.drop_visit(track.visit or "")
    book.state.change_track(replace(track, visit=None, held_ms=T + 900))
    ordered(book, SubjectForgotten(("id-known0",), ("known0",), T + 400), T + 400)
    assert book.tick(T + 900, T + 900) == []
    assert (due := book.due_ms()) is not None
    assert due > T + 900


def test_who_lost_their_views_because_a_key_is_gone_keeps_the_number_and_gets_new_views(
    book: VisitBook, people: People, stranger: Person
) -> None:
    watch(book, walk(people, stranger, "front", 1, T))
    half_ms, lines = T + LATER + 1500, walk(people, stranger, "front", 2, T + LATER)
    watch(book, [line for line in lines if line.at_ms <= half_ms], until_ms=half_ms)
    book.state.touch()
    records = {key: text for key, text in book.state.changes().records.items() if text is not None}
    again = VisitBook("g", Watch(), State(records))
    assert watch(again, [line for line in lines if line.at_ms > half_ms])[-1].stranger == "stranger-1"
    assert len(again.state.strangers.views_of(1)) == 1


def test_after_a_change_of_keys_everything_is_written_again(book: VisitBook, people: People, stranger: Person) -> None:
    lines: list[Line] = walk(people, stranger, "front", 1, T)
    watch(book, lines, until_ms=T + 4500)
    written = book.state.changes()
    held = {key for key, rows in written.vectors.items() if rows is not None}
    ordered(book, Resealed(T + 5000), T + 5000)
    assert {key for key, rows in book.state.changes().vectors.items() if rows is not None} == held


def test_of_a_forgotten_gallery_nobody_is_left_and_every_picture_goes(
    book: VisitBook, people: People, stranger: Person
) -> None:
    watch(book, walk(people, stranger, "front", 1, T))
    watch(book, walk(people, people.everybody[0], "hall", 2, T + LATER))
    # Somebody who is in view still.
    at_ms = T + 2 * LATER + 4000
    watch(book, walk(people, people.everybody[5], "hall", 3, T + 2 * LATER)[:-1], until_ms=at_ms)
    assert book.state.visits
    assert book.state.tracks
    kept = {crop.image for each in book.state.strangers for crop in each.crops}
    shown = {crop.image for visit in book.state.visits_in_order() for crop in book.state.shown_of(visit).evidence.kept}
    assert kept
    assert shown
    book.state.changes()
    assert ordered(book, GalleryForgotten(at_ms), at_ms) == []
    changes = book.state.changes()
    assert {key for key, text in changes.records.items() if text} <= {"next"}
    assert not any(rows is not None for rows in changes.vectors.values())
    assert kept | shown <= {picture for picture, at in changes.litter.items() if at == 0}
    assert not [*book.state.visits, *book.state.tracks, *book.state.over, *book.state.strangers]
