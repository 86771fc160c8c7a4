"""Whose turn it is: bounded threads, one delivery of each webhook at a time, and nobody who waits for somebody slow."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from kith.backends.webhooks_memory import MemoryPlaces, MemoryWebhooks
from kith.errors import KeysUnavailable, SealBroken
from kith.outward import dispatch
from kith.outward.dispatch import Dispatcher
from kith.outward.feed import Feed
from kith.outward.knobs import Webhooks as Knobs
from kith.outward.lease import Lease
from kith.outward.seals import Receiver
from kith.outward.telling import Means
from kith.watching.events import EventKind
from kith.webhooks import Progress, Source, Wanted, Webhook
from tests.told import NOON_MS, Told, event


class Office:
    """Receivers by name of their webhook; `slow` ones answer when they are let."""

    def __init__(self, at_once: int = 4) -> None:
        self.streams = {source: Told() for source in Source}
        places = MemoryPlaces()
        self.store = MemoryWebhooks(places)
        self.lease = Lease(places, "me", 1e6)
        self.lease.renew()
        self.answer = threading.Event()
        self.slow: set[str] = set()
        self.got: list[str] = []
        self.most = self.under_way = 0
        self._lock = threading.Lock()
        means = Means(
            store=self.store,
            feeds={source: Feed(stream) for source, stream in self.streams.items()},
            post=self,  # type: ignore[arg-type]
            reveal=self.reveal,
            knobs=Knobs(at_once=at_once),
            lease=self.lease,
            live_ms=5_000,
            clock=lambda: NOON_MS,
        )
        self.dispatcher = Dispatcher(means)
        self.reveals: dict[str, Exception] = {}

    def add(self, name: str) -> None:
        hook = Webhook(name, name, "https://desk", "sealed", Wanted(), NOON_MS, "cli:me@here")
        self.store.add(hook, Progress(events="0-0", results="0-0"), 1000)

    def reveal(self, webhook: Webhook) -> Receiver:
        if webhook.webhook_id in self.reveals:
            raise self.reveals[webhook.webhook_id]
        return Receiver(webhook.webhook_id, "secret")

    def send(self, receiver: Receiver, _: dict[str, str], __: bytes) -> int:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        if receiver.url in self.slow:
            self.answer.wait()
        with self._lock:
            self.got.append(receiver.url)
            self.under_way -= 1
        return 200

    def until(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 30
        while not done():
            assert time.monotonic() < deadline_s, self.got
            self.dispatcher.round(0.01)

    def tell(self, count: int = 1) -> None:
        for _ in range(count):
            self.streams[Source.EVENTS].tell(event(EventKind.END))
        self.dispatcher.news()


@contextmanager
def office(at_once: int = 4) -> Iterator[Office]:
    made = Office(at_once)
    try:
        yield made
    finally:
        made.answer.set()
        made.dispatcher.close()


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(dispatch, "_REST_MS", 0)


def test_receivers_that_never_answer_hold_up_nobody_else() -> None:
    with office(at_once=4) as desk:
        for number in range(20):
            desk.add(f"slow{number}")
            desk.slow.add(f"slow{number}")
        desk.add("fast")
        desk.tell(50)
        # The first time nobody knows that it is fast; it has its turn among those that nobody has met.
        desk.slow -= {"slow0", "slow1"}
        desk.until(lambda: desk.got.count("slow0") == 50)
        # Now all threads that unknown receivers may have are taken.
        assert desk.under_way <= 2
        desk.answer.set()
        desk.until(lambda: desk.got.count("fast") == 50)


def test_one_that_was_met_is_served_while_all_the_slow_ones_hang() -> None:
    with office(at_once=4) as desk:
        desk.add("fast")
        desk.tell()
        desk.until(lambda: desk.got == ["fast"])
        for number in range(20):
            desk.add(f"slow{number}")
            desk.slow.add(f"slow{number}")
        desk.until(lambda: desk.under_way == 2)
        desk.tell(30)
        desk.until(lambda: desk.got.count("fast") == 31)

        assert desk.under_way == 2
        assert set(desk.got) == {"fast"}


def test_there_are_never_more_deliveries_at_once_than_the_setting_and_one_of_each_webhook() -> None:
    with office(at_once=6) as desk:
        for number in range(12):
            desk.add(f"w{number}")
        desk.tell(20)
        desk.until(lambda: len(desk.got) == 240)

        assert desk.most <= 6
        assert all(desk.got.count(f"w{number}") == 20 for number in range(12))


def test_a_webhook_that_is_added_paused_resumed_or_removed_is_noticed() -> None:
    with office() as desk:
        desk.add("one")
        desk.tell()
        desk.until(lambda: desk.got == ["one"])
        desk.store.change("one", lambda it: replace(it, paused_why="why"))
        desk.dispatcher.round(0)
        desk.tell()
        desk.add("two")
        desk.until(lambda: desk.got.count("two") == 2)
        assert desk.got.count("one") == 1
        desk.store.change("one", lambda it: replace(it, paused_why=None))
        desk.until(lambda: desk.got.count("one") == 2)
        desk.store.remove("one")
        desk.dispatcher.round(0)
        desk.tell()
        desk.until(lambda: desk.got.count("two") == 3)
        assert desk.got.count("one") == 2


def test_a_replay_of_an_idle_webhook_begins_without_news() -> None:
    with office() as desk:
        desk.add("one")
        desk.tell()
        desk.until(lambda: desk.got == ["one"])
        desk.store.replay("one", lambda seen: replace(seen, events="0-0"))
        desk.until(lambda: desk.got == ["one", "one"])


def test_one_whose_secret_cannot_be_opened_is_paused_with_the_reason_and_others_go_on() -> None:
    with office() as desk:
        desk.add("broken")
        desk.add("good")
        desk.reveals["broken"] = SealBroken("it was altered")
        desk.tell()
        desk.until(lambda: desk.got == ["good"] and desk.store.get("broken").paused_why is not None)

        assert desk.store.get("broken").paused_why == "seal_broken: it was altered"


def test_one_whose_key_is_away_waits_for_it() -> None:
    with office() as desk:
        desk.add("one")
        desk.reveals["one"] = KeysUnavailable("the directory is not mounted")
        desk.tell()
        for _ in range(5):
            desk.dispatcher.round(0.01)
        assert desk.store.get("one").paused_why is None
        del desk.reveals["one"]
        desk.until(lambda: desk.got == ["one"])


def test_a_bug_in_one_delivery_costs_the_others_nothing() -> None:
    with office() as desk:
        desk.add("bad")
        desk.add("good")
        desk.reveals["bad"] = RuntimeError("nobody foresaw this")
        desk.tell(3)
        desk.until(lambda: desk.got.count("good") == 3)


def test_without_the_lease_nobody_is_told_and_with_it_again_they_are() -> None:
    with office() as desk:
        desk.add("one")
        desk.lease.drop()
        desk.tell()
        for _ in range(3):
            desk.dispatcher.round(0.001)
        assert desk.got == []
        desk.lease.renew()
        desk.until(lambda: desk.got == ["one"])


def test_what_only_one_stream_tells_is_not_read_from_the_other() -> None:
    with office() as desk:
        desk.add("one")
        desk.dispatcher.round(0)
        assert desk.dispatcher.reads(Source.EVENTS)
        assert not desk.dispatcher.reads(Source.RESULTS)


def test_what_is_new_is_read_once_for_all() -> None:
    feed = Feed(told := Told())
    told.tell(event(), 0)
    feed.follow(0)
    entries = [told.tell(event(EventKind.END), n) for n in range(1, 4)]
    feed.follow(0)
    reads = told.reads

    assert [item.entry_id for item in feed.after(f"{NOON_MS}-0")] == entries
    assert [item.entry_id for item in feed.after(entries[1])] == entries[2:]
    assert told.reads == reads
    assert len(feed.after("0-0")) == 4
    assert told.reads == reads + 1


def test_a_feed_keeps_no_more_than_it_is_to_and_reads_the_rest_where_it_is() -> None:
    feed = Feed(told := Told(), keep=2)
    feed.follow(0)
    entries = [told.tell(event(EventKind.END), n) for n in range(5)]
    feed.follow(0)
    reads = told.reads

    assert [item.entry_id for item in feed.after(entries[2])] == entries[3:]
    assert told.reads == reads
    assert [item.entry_id for item in feed.after(entries[0])] == entries[1:]
    assert told.reads == reads + 1
