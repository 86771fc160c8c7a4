"""The watcher reads, folds and writes; it goes on where another ended, and one bad piece of news stops nobody."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kith.backends.sightings_memory import MemorySightings
from kith.backends.watching_memory import MemoryWatch
from kith.errors import KeysUnavailable
from kith.settings import Watch
from kith.watching import watcher as module
from kith.watching.book import VisitBook
from kith.watching.evidence import Vector
from kith.watching.log import Heard
from kith.watching.news import GalleryForgotten, News, Sighted, StrangerForgotten, SubjectForgotten
from kith.watching.store import Committed, Step
from kith.watching.watcher import Watcher
from tests.simulated_cameras import Line, People, walk

RULE = Watch(gap_s=0.2, hold_ms=50, lease_s=60)


class House:
    """A log, a store, and the vectors by the text that stands for them."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.log = MemorySightings(clock=lambda: self.now_ms)
        self.store = MemoryWatch(self.log)
        self.vectors: dict[str, Vector] = {}
        self.people = People(known=3, strangers=3, seed=1)

    def watcher(self, holder: str = "w") -> Watcher:
        return Watcher(self.log, self.store, lambda _, text: self.vectors.get(text), RULE, holder)

    def tell(self, lines: list[Line], gallery: str = "door") -> None:
        for line in lines:
            news: News = line.news
            if isinstance(news, Sighted):
                self.vectors[news.decision_id] = line.vector  # type: ignore[assignment]
                news = replace(news, vector=news.decision_id)
            self.log.tell(gallery, [news])

    def kinds(self) -> list[tuple[str, str]]:
        return [(entry.event.gallery, entry.event.kind.value) for entry in self.store.events()]


@pytest.fixture
def house() -> Iterator[House]:
    return House()


def until_quiet(house: House, watcher: Watcher) -> None:
    """Until everything there is to do is done, time going on."""
    for _ in range(10):
        while watcher.round(block_s=0.0):
            pass
        house.now_ms += 100


def test_what_is_told_becomes_events_and_is_erased(house: House) -> None:
    house.tell(walk(house.people, house.people.everybody[0], "front", 1, house.now_ms))
    until_quiet(house, house.watcher())
    assert house.kinds()[0] == ("door", "new")
    assert house.kinds()[-1] == ("door", "end")
    assert house.log.waiting("door") == 0
    # That the track is over is remembered for a while, and nothing of who it was.
    assert list(house.store.records("door")) == ["o:front.r.1"]
    assert not house.store.load("door").vectors


def test_when_somebody_is_forgotten_the_memory_is_wiped_before_it_counts_as_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped: list[str] = []
    monkeypatch.setattr(module, "wipe_leftovers", lambda: wiped.append(house.store.position("door")))
    watcher = house.watcher()
    house.tell(walk(house.people, house.people.everybody[0], "front", 1, house.now_ms))
    until_quiet(house, watcher)
    before = house.store.position("door")
    assert wiped == []
    orders = (
        *(SubjectForgotten(("id-known0",), ("known0",), house.now_ms), StrangerForgotten(1, house.now_ms)),
        GalleryForgotten(house.now_ms),
    )
    for order in orders:
        wiped.clear()
        house.log.tell("door", [order])
        until_quiet(house, watcher)
        assert wiped == [before]
        before = house.store.position("door")


def test_a_gallery_that_was_forgotten_and_wiped_is_held_no_more_and_watched_anew_when_it_is_made_again(
    house: House,
) -> None:
    watcher = house.watcher()
    house.tell(walk(house.people, house.people.everybody[4], "front", 1, house.now_ms))
    until_quiet(house, watcher)
    assert house.store.load("door").vectors
    house.log.tell("door", [GalleryForgotten(house.now_ms)])
    until_quiet(house, watcher)
    assert not house.store.load("door").vectors
    assert set(house.store.records("door")) <= {"next"}
    house.store.wipe("door")
    until_quiet(house, watcher)
    assert watcher._desks == {}
    house.tell(walk(house.people, house.people.everybody[4], "front", 2, house.now_ms))
    until_quiet(house, watcher)
    assert [entry.event.stranger for entry in house.store.events()][-1] == "stranger-1"


def test_one_watcher_leads_and_the_other_takes_over_when_it_leaves(house: House) -> None:
    first, second = house.watcher("a"), house.watcher("b")
    lines = walk(house.people, house.people.everybody[0], "front", 1, house.now_ms)
    house.tell(lines[:4])
    assert first.round(0.0) is True
    assert second.round(0.0) is None
    house.tell(lines[4:])
    first.leave()
    until_quiet(house, second)
    assert first.round(0.0) is None
    assert [kind for _, kind in house.kinds()].count("new") == 1
    assert [kind for _, kind in house.kinds()].count("end") == 1


def test_a_watcher_that_slept_through_its_lease_writes_nothing_and_forgets_what_it_held(house: House) -> None:
    first, second = house.watcher("a"), house.watcher("b")
    lines = walk(house.people, house.people.everybody[0], "front", 1, house.now_ms)
    house.tell(lines[:4])
    first.round(0.0)
    house.store.leave("a")
    house.tell(lines[4:])
    until_quiet(house, second)
    told = house.kinds()
    assert first.round(0.0) is None
    second.leave()
    until_quiet(house, first)
    assert house.kinds() == told


def test_a_step_that_came_too_late_is_folded_again_and_names_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in walk(house.people, house.people.everybody[0], "front", 1, house.now_ms, quality=(0.9, 1.0)):
        news = line.news
        if isinstance(news, Sighted):
            news = replace(news, expires_ms=house.now_ms + 300)
        house.tell([replace(line, news=news)])
    commit = house.store.commit

    def slowly(holder: str, step: Step) -> Committed:
        if step.deadline_ms is not None:
            # As if the process had been stopped just before it wrote.
            house.now_ms = step.deadline_ms + 1
        return commit(holder, step)

    monkeypatch.setattr(house.store, "commit", slowly)
    until_quiet(house, house.watcher())
    assert house.kinds() == [("door", "end")]
    [entry] = house.store.events()
    assert (entry.event.subject, entry.event.late) == ("known0", True)


def test_one_piece_of_news_that_nobody_can_fold_is_passed_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = walk(house.people, house.people.everybody[0], "front", 1, house.now_ms)
    house.tell(lines)
    poison = lines[2].news
    take = VisitBook.take

    def tripping(book: VisitBook, heard: Heard, vector: Vector | None, at_ms: int) -> object:
        if getattr(heard.news, "decision_id", None) == getattr(poison, "decision_id", "?"):
            raise ZeroDivisionError
        return take(book, heard, vector, at_ms)

    monkeypatch.setattr(module.VisitBook, "take", tripping)
    watcher = house.watcher()
    until_quiet(house, watcher)
    # One crop of the track is missing now; it is waited for, and not for ever.
    house.now_ms += 20_000
    until_quiet(house, watcher)
    assert [kind for _, kind in house.kinds()].count("end") == 1
    assert house.log.waiting("door") == 0


def test_a_gallery_whose_keys_are_away_keeps_the_others_from_nothing_and_is_gone_on_with_later(house: House) -> None:
    away = True

    def uncover(gallery: str, text: str) -> Vector | None:
        if away and gallery == "safe":
            raise KeysUnavailable
        return house.vectors.get(text)

    house.tell(walk(house.people, house.people.everybody[0], "front", 1, house.now_ms))
    house.tell(walk(house.people, house.people.everybody[1], "vault", 1, house.now_ms), "safe")
    watcher = Watcher(house.log, house.store, uncover, RULE, "w")
    until_quiet(house, watcher)
    assert {gallery for gallery, _ in house.kinds()} == {"door"}
    away = False
    house.now_ms += 5000
    until_quiet(house, watcher)
    assert ("safe", "end") in house.kinds()
    assert [kind for gallery, kind in house.kinds() if gallery == "safe"].count("new") == 1


def test_strangers_are_forgotten_in_their_time_where_no_camera_tells_anything(house: House) -> None:
    rule = Watch(gap_s=0.2, lease_s=600_000, keep_strangers_s=7200)
    watcher = Watcher(house.log, house.store, lambda _, text: house.vectors.get(text), rule, "w")
    house.tell(walk(house.people, house.people.everybody[3], "front", 1, house.now_ms))
    until_quiet(house, watcher)
    assert "s:1" in house.store.records("door")
    steps = house.store.load("door").step
    for _ in range(3):
        house.now_ms += 1_000_000
        until_quiet(house, watcher)
    assert house.store.load("door").step <= steps + 1
    house.now_ms += 3 * 3_600_000
    until_quiet(house, watcher)
    assert dict(house.store.records("door")) == {"next": "2"}
    assert set(house.store.litter("door")) == {f"front.r.1/{number}" for number in range(1, 6)}


def test_time_goes_on_only_as_far_as_news_have_been_taken(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    begun_ms, (one, other) = house.now_ms, house.people.everybody[:2]
    first = walk(house.people, one, "front", 1, begun_ms)
    # Much is told of somebody else before the next word about the first one.
    for line in (*first[:3], *walk(house.people, other, "hall", 1, begun_ms, crops=9), *first[3:]):
        house.now_ms += 100
        house.tell([line])
    # The watcher was away, and all of this is long over: what waits is heard in order before anybody is gone.
    house.now_ms += 60_000
    rule = Watch(gap_s=5, lease_s=600)
    watcher = Watcher(house.log, house.store, lambda _, text: house.vectors.get(text), rule, "w")
    while house.log.waiting("door"):
        watcher.round(0.0)
        house.now_ms += 20_000
    until_quiet(house, watcher)
    ends = [entry.event for entry in house.store.events() if entry.event.kind == "end"]
    assert {event.visit: event.evidence and event.evidence.count for event in ends} == {"front.r.1": 5, "hall.r.1": 9}
