"""One webhook's deliveries: what is told, in which order, what becomes of those that fail. Nothing is really sent."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kith.backends.webhooks_memory import MemoryPlaces, MemoryWebhooks
from kith.jobs import Lane, Outcome
from kith.outward.errors import DeliveryRefused, InvalidWebhook, ReceiverAway
from kith.outward.feed import Feed
from kith.outward.knobs import Webhooks as Knobs
from kith.outward.lease import Lease
from kith.outward.seals import Receiver
from kith.outward.telling import Means, Teller
from kith.watching.events import EventKind
from kith.webhooks import KINDS, DeadLetter, Progress, Source, Wanted, Webhook, mark_of
from tests.told import NOON_MS, Told, decision, event

DAY_MS = 86_400_000


@dataclass
class Desk:
    """A webhook's receiver that is not there; answers: what it does, the last again and again."""

    wanted: Wanted = field(default_factory=Wanted)
    answers: list[int | Exception] = field(default_factory=lambda: [200])

    def __post_init__(self) -> None:
        self.streams = {source: Told() for source in Source}
        self.places = MemoryPlaces(lambda: self.now_ms / 1000)
        self.store = MemoryWebhooks(self.places)
        self.now_ms = NOON_MS
        self.got: list[dict[str, Any]] = []
        self.lease = Lease(self.places, "me", 1e9, lambda: self.now_ms / 1000)
        self.lease.renew()
        hook = Webhook("wh1", "desk", "https://desk", "sealed", self.wanted, NOON_MS, "cli:me@here")
        self.store.add(hook, Progress(events="0-0", results="0-0"), 10)
        self.means = Means(
            store=self.store,
            feeds={source: Feed(stream) for source, stream in self.streams.items()},
            post=self,  # type: ignore[arg-type]
            reveal=lambda _: Receiver("https://desk/in", "secret"),
            knobs=Knobs(retry_s=10, retry_max_s=100),
            lease=self.lease,
            live_ms=5_000,
            clock=lambda: self.now_ms,
        )
        self.teller = self.restarted()

    def restarted(self) -> Teller:
        """As another worker would begin."""
        self.teller = Teller(self.store.get("wh1"), self.progress, self.means)
        return self.teller

    def send(self, receiver: Receiver, headers: dict[str, str], body: bytes) -> int:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        self.got.append({**json.loads(body), "attempt": headers["Kith-Attempt"]})
        return answer

    @property
    def progress(self) -> Progress:
        return self.store.progress()["wh1"]

    def run(self) -> None:
        """Until there is nothing more to do now."""
        while self.teller.turn():
            pass

    @property
    def kinds(self) -> list[str]:
        return [each["type"] for each in self.got]


def test_events_are_delivered_in_their_order_each_once_and_with_ids_that_stay() -> None:
    desk = Desk()
    ids = [desk.streams[Source.EVENTS].tell(event(kind), 10 * n) for n, kind in enumerate(EventKind)]
    desk.run()
    desk.restarted()
    desk.run()

    assert [each["event"]["kind"] for each in desk.got] == list(EventKind)
    assert [each["delivery"] for each in desk.got] == [f"wh1.events.{entry_id}" for entry_id in ids]
    assert (desk.progress.delivered, desk.progress.events) == (len(ids), ids[-1])


def test_both_streams_are_told_by_when_things_happened() -> None:
    desk = Desk(Wanted(("event", "decision")))
    desk.streams[Source.EVENTS].tell(event(EventKind.END), 30)
    desk.streams[Source.RESULTS].tell(decision(), 10)
    desk.streams[Source.EVENTS].tell(event(EventKind.UNUSABLE), 40)
    desk.streams[Source.RESULTS].tell(decision(Outcome.UNKNOWN), 35)
    desk.run()

    assert desk.kinds == ["decision.match", "event.end", "decision.unknown", "event.unusable"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(), {"new front Ada door", "end hall - door", "new front Bob staff"}),
        (Wanted(("event.end",)), {"end hall - door"}),
        (Wanted(galleries=("staff",)), {"new front Bob staff"}),
        (Wanted(cameras=("hall", "yard")), {"end hall - door"}),
        (Wanted(subjects=(mark_of("ada1"),)), {"new front Ada door"}),
        (Wanted(("event.new",), subjects=(mark_of("c1e0"),)), set()),
        (Wanted(("decision",)), set()),
    ],
)
def test_only_what_is_wanted_is_told(wanted: Wanted, told: set[str]) -> None:
    desk = Desk(wanted)
    stream = desk.streams[Source.EVENTS]
    stream.tell(event(subject="Ada", subject_id="ada1"))
    stream.tell(event(EventKind.END, camera="hall"), 1)
    stream.tell(event(subject="Bob", subject_id="b0b", gallery="staff"), 2)
    desk.run()

    got = [each["event"] for each in desk.got]
    assert {f"{e['kind']} {e['camera']} {e.get('subject', '-')} {e['gallery']}" for e in got} == told


def test_what_fails_is_tried_again_later_and_nothing_overtakes_it() -> None:
    desk = Desk(answers=[ReceiverAway("it answered 503", status=503), ReceiverAway("no"), 204])
    first = desk.streams[Source.EVENTS].tell(event(EventKind.END))
    desk.streams[Source.EVENTS].tell(event(EventKind.UNUSABLE), 1)
    waits = []
    for _ in range(2):
        desk.run()
        waits.append(desk.teller.next_ms - desk.now_ms)
        assert desk.got == []
        assert (desk.progress.head, desk.progress.last_fault) == (f"events:{first}", desk.progress.last_fault)
        desk.now_ms = desk.teller.next_ms
        desk.restarted()
    desk.run()

    assert 5_000 <= waits[0] <= 10_000 <= waits[1] <= 20_000
    assert [(each["type"], each["attempt"]) for each in desk.got] == [("event.end", "3"), ("event.unusable", "1")]
    assert (desk.progress.head, desk.progress.attempts, desk.progress.next_ms) == (None, 0, 0)


def test_the_pause_grows_to_the_longest_and_what_the_receiver_asks_for_is_heeded_up_to_it() -> None:
    desk = Desk(answers=[ReceiverAway("busy", after_s=60)])
    desk.streams[Source.EVENTS].tell(event(EventKind.END))
    for _ in range(8):
        desk.run()
        assert desk.teller.next_ms - desk.now_ms >= 60_000
        desk.now_ms = desk.teller.next_ms
    desk.answers = [ReceiverAway("busy", after_s=9999)]
    desk.run()
    assert desk.teller.next_ms - desk.now_ms == 100_000


def test_after_a_day_it_is_a_dead_letter_and_the_next_has_its_turn() -> None:
    desk = Desk(answers=[ReceiverAway("it cannot be reached")])
    first = desk.streams[Source.EVENTS].tell(event(EventKind.END))
    second = desk.streams[Source.EVENTS].tell(event(EventKind.UNUSABLE), 200_000)
    while not desk.store.dead("wh1"):
        desk.run()
        desk.now_ms = max(desk.now_ms, desk.teller.next_ms)
        assert desk.now_ms < NOON_MS + DAY_MS + 150_000
    assert desk.now_ms >= NOON_MS + DAY_MS
    [dead] = desk.store.dead("wh1")

    assert (dead.entry_id, dead.why, desk.progress.dead) == (first, "it cannot be reached", 1)
    assert dead.attempts > 800
    assert desk.progress.events == first
    assert desk.progress.head in (None, f"events:{second}")
    assert "event" not in repr(replace(dead, source=Source.RESULTS, delivery=""))


def test_what_the_receiver_refuses_is_a_dead_letter_at_once() -> None:
    desk = Desk(answers=[DeliveryRefused("it answered 422", status=422), 200])
    desk.streams[Source.EVENTS].tell(event(EventKind.END))
    desk.streams[Source.EVENTS].tell(event(EventKind.UNUSABLE), 1)
    desk.run()

    assert [letter.why for letter in desk.store.dead("wh1")] == ["it answered 422"]
    assert desk.kinds == ["event.unusable"]


def test_a_receiver_that_says_it_is_gone_is_paused() -> None:
    desk = Desk(answers=[DeliveryRefused("it answered 410", status=410)])
    desk.streams[Source.EVENTS].tell(event())
    desk.teller.turn()

    assert "gone" in str(desk.store.get("wh1").paused_why)


@pytest.mark.parametrize(
    ("record", "kind", "late_kind"),
    [
        (lambda: event(EventKind.NEW, subject="Ada"), "event.new", "event.late"),
        (lambda: event(EventKind.UPDATE, subject="Ada"), "event.update", "event.late"),
        (lambda: event(EventKind.END, subject="Ada"), "event.end", "event.end"),
        (decision, "decision.match", "decision.late"),
        (lambda: decision(lane=Lane.BULK, expires_ms=None), "decision.match", "decision.match"),
    ],
)
def test_what_could_open_a_door_has_another_type_when_it_comes_late(
    record: Callable[[], Any], kind: str, late_kind: str
) -> None:
    desk = Desk(Wanted(("event", "decision")))
    source = Source.EVENTS if kind.startswith("event") else Source.RESULTS
    desk.streams[source].tell(record())
    desk.now_ms = NOON_MS + 5_000
    desk.run()
    desk.streams[source].tell(record(), 6_000 if source is Source.EVENTS else 1)
    desk.now_ms = NOON_MS + 11_001
    desk.run()

    assert desk.kinds == [kind, late_kind]
    assert [each["late"] for each in desk.got] == [False, kind != late_kind]


def test_whoever_was_erased_while_the_receiver_was_away_is_not_told_of() -> None:
    desk = Desk(answers=[ReceiverAway("no"), 200])
    erased = desk.streams[Source.EVENTS].tell(event(EventKind.END, subject="Ada"))
    desk.streams[Source.EVENTS].tell(event(EventKind.UNUSABLE), 1)
    desk.run()
    desk.streams[Source.EVENTS].erase(erased)
    desk.now_ms = desk.teller.next_ms
    desk.run()

    assert desk.kinds == ["event.unusable"]
    assert "Ada" not in repr(desk.progress)


def test_whoever_was_erased_after_it_was_read_and_before_it_was_told_is_not_told_of() -> None:
    desk = Desk()
    feed = desk.means.feeds[Source.EVENTS]
    feed.follow(0)
    erased = desk.streams[Source.EVENTS].tell(event(EventKind.END, subject="Ada"))
    feed.follow(0)
    desk.streams[Source.EVENTS].erase(erased)
    desk.run()

    assert desk.got == []
    assert desk.progress.events == erased


def test_a_replay_goes_back_and_what_it_goes_back_to_is_not_given_up_for_its_age() -> None:
    desk = Desk()
    desk.streams[Source.EVENTS].tell(event(EventKind.END))
    desk.run()
    desk.now_ms += 3 * DAY_MS
    asked_ms = desk.now_ms
    desk.store.replay("wh1", lambda seen: replace(seen, events="0-0", since_ms=asked_ms))
    desk.teller.see(desk.progress)
    desk.answers = [ReceiverAway("no"), 200]
    desk.run()
    assert desk.store.dead("wh1") == []
    desk.now_ms = desk.teller.next_ms
    desk.run()

    assert [each["delivery"] for each in desk.got] == [f"wh1.events.{NOON_MS}-0"] * 2


def test_a_replay_that_is_asked_for_during_a_delivery_wins() -> None:
    desk = Desk()
    desk.streams[Source.EVENTS].tell(event(EventKind.END))
    desk.streams[Source.EVENTS].tell(event(EventKind.UNUSABLE), 1)
    desk.run()
    desk.streams[Source.EVENTS].tell(event(EventKind.MERGED, into="v2"), 2)
    sent = desk.send

    def send_and_replay(*what: Any) -> int:
        if len(desk.got) == 2:
            desk.store.replay("wh1", lambda seen: replace(seen, events="0-0"))
        return sent(*what)

    desk.send = send_and_replay  # type: ignore[method-assign]
    desk.run()
    desk.run()

    assert desk.kinds == [
        *("event.end", "event.unusable", "event.merged"),
        *("event.end", "event.unusable", "event.merged"),
    ]


def test_dead_letters_are_delivered_again_when_asked_for_those_that_fail_stay() -> None:
    desk = Desk(answers=[DeliveryRefused("it answered 400", status=400)])
    for n in range(3):
        desk.streams[Source.EVENTS].tell(event(EventKind.END, visit=f"v{n}"), n)
    desk.run()
    assert desk.progress.dead == 3
    gone = desk.store.dead("wh1")[1].entry_id
    desk.streams[Source.EVENTS].erase(gone)
    desk.store.replay("wh1", lambda seen: replace(seen, redo_ms=desk.now_ms))
    desk.teller.see(desk.progress)
    desk.answers = [200, DeliveryRefused("it answered 400", status=400)]
    desk.run()

    assert [each["event"]["visit"] for each in desk.got] == ["v0"]
    [left] = desk.store.dead("wh1")
    assert (left.entry_id, left.attempts) == (f"{NOON_MS + 2}-0", 2)
    assert (desk.progress.dead, desk.progress.delivered, desk.progress.redo_ms) == (1, 1, 0)


def test_whoever_does_not_lead_any_more_delivers_nothing() -> None:
    desk = Desk()
    desk.streams[Source.EVENTS].tell(event(EventKind.END))
    desk.lease.drop()
    assert desk.teller.turn() is False
    assert desk.got == []


def test_whoever_lost_the_lead_during_a_delivery_writes_nothing_and_stops() -> None:
    desk = Desk()
    desk.streams[Source.EVENTS].tell(event(EventKind.END))
    desk.places.leave("me")
    desk.places.lead("other", 1e9)
    assert desk.teller.turn() is False

    assert len(desk.got) == 1
    assert desk.progress.delivered == 0
    assert not desk.lease.held


def test_what_is_passed_over_is_written_down_now_and_then() -> None:
    desk = Desk(Wanted(subjects=(mark_of("ada1"),)))
    for n in range(1500):
        desk.streams[Source.EVENTS].tell(event(subject="Bob"), n)
    desk.run()

    assert desk.progress.events == f"{NOON_MS + 1499}-0"
    assert desk.progress.delivered == 0


@pytest.mark.parametrize("kind", ["", "event.", "event.New", "decision.maybe", "match"])
def test_a_kind_that_there_is_not_is_refused_with_those_there_are(kind: str) -> None:
    with pytest.raises(InvalidWebhook, match=r"event\.new"):
        Wanted((kind,))
    assert all(Wanted((known,)) for known in KINDS)


def test_a_filter_follows_a_person_through_a_change_of_name_and_knows_no_name() -> None:
    wanted = Wanted(("event", "decision"), subjects=(mark_of("5ub"),))

    assert wanted.takes(event(subject="Ada King", subject_id="5ub"))
    assert wanted.takes(decision(subject="Ada"))
    assert not wanted.takes(decision(Outcome.UNKNOWN))
    assert not wanted.takes(event(subject="Ada", subject_id="0ther"))
    assert not {"5ub", "Ada"} & set(wanted.subjects)
    with pytest.raises(InvalidWebhook, match="mark"):
        Wanted(subjects=("Ada",))


def test_a_dead_letter_repeats_nothing_of_what_was_to_be_told() -> None:
    assert set(DeadLetter.__slots__) == {"delivery", "source", "entry_id", "died_ms", "attempts", "why", "wire"}
