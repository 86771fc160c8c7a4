"""Webhooks and who tells them: one contract for the store in Redis and the one in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from kith.backends.places_redis import RedisPlaces
from kith.backends.webhooks_memory import MemoryPlaces, MemoryWebhooks
from kith.backends.webhooks_redis import RedisWebhooks
from kith.outward.errors import InvalidWebhook, UnknownWebhook
from kith.outward.places import Places
from kith.webhooks import DeadLetter, Noted, Progress, Source, Wanted, Webhook, Webhooks

ME, OTHER = "outward@one:1", "outward@two:2"
START = Progress(events="5-0", results="7-0")


@dataclass
class Kept:
    webhooks: Webhooks
    places: Places

    def added(self, webhook_id: str = "wh1", created_ms: int = 1) -> Webhook:
        made = Webhook(webhook_id, "desk", "https://desk/…", "sealed", Wanted(), created_ms, "cli:me@here")
        self.webhooks.add(made, START, 10)
        return made

    def note(self, now: Progress, died: DeadLetter | None = None, revived: str | None = None, by: str = ME) -> Noted:
        """As the step that follows what is there."""
        seen = self.webhooks.progress()["wh1"]
        after = replace(now, step=seen.step + 1)
        return self.webhooks.note(by, "wh1", seen, after, died=died, revived=revived, most_dead=2)


@pytest.fixture(params=["memory", "redis"])
def kept(request: pytest.FixtureRequest, prefix: str) -> Iterator[Kept]:
    if request.param == "memory":
        places = MemoryPlaces()
        yield Kept(MemoryWebhooks(places), places)
    else:
        client = request.getfixturevalue("redis_client")
        yield Kept(RedisWebhooks(client, prefix), RedisPlaces(client, prefix))


def letter(number: int) -> DeadLetter:
    return DeadLetter(f"wh1.events.{number}-0", Source.EVENTS, f"{number}-0", 1000 + number, 3, "it answered 500")


def test_a_webhook_that_is_added_is_there_with_its_start(kept: Kept) -> None:
    second, first = kept.added("wh2", created_ms=2), kept.added("wh1", created_ms=1)

    assert kept.webhooks.all() == [first, second]
    assert kept.webhooks.get("wh2") == second
    assert kept.webhooks.progress() == {"wh1": START, "wh2": START}


def test_adding_it_again_because_the_answer_was_lost_changes_nothing(kept: Kept) -> None:
    kept.added()
    kept.places.lead(ME, 60)
    kept.note(replace(START, delivered=1))
    kept.added()

    assert kept.webhooks.progress()["wh1"].delivered == 1


def test_there_are_no_more_than_the_limit(kept: Kept) -> None:
    made = kept.added()

    with pytest.raises(InvalidWebhook, match="max_webhooks"):
        kept.webhooks.add(replace(made, webhook_id="wh9"), START, 1)


def test_one_that_is_not_there_is_named(kept: Kept) -> None:
    for ask in (
        kept.webhooks.get,
        kept.webhooks.remove,
        lambda name: kept.webhooks.change(name, lambda it: it),
        lambda name: kept.webhooks.replay(name, lambda it: it),
    ):
        with pytest.raises(UnknownWebhook, match="whx"):
            ask("whx")


def test_a_step_of_who_leads_is_written_and_the_same_again_is_done(kept: Kept) -> None:
    kept.added()
    kept.places.lead(ME, 60)
    after = replace(START, step=1, events="6-0", delivered=1)

    assert kept.webhooks.note(ME, "wh1", START, after) is Noted.DONE
    assert kept.webhooks.note(ME, "wh1", START, after) is Noted.DONE
    assert kept.webhooks.progress()["wh1"] == after


def test_a_step_that_follows_another_than_there_is_is_not_written(kept: Kept) -> None:
    kept.added()
    kept.places.lead(ME, 60)
    kept.webhooks.replay("wh1", lambda seen: replace(seen, events="1-0"))
    after = replace(START, step=1, events="6-0")

    assert kept.webhooks.note(ME, "wh1", START, after) is Noted.CHANGED
    assert kept.webhooks.progress()["wh1"] == replace(START, step=1, events="1-0")


def test_who_does_not_lead_writes_nothing(kept: Kept) -> None:
    kept.added()
    assert kept.note(replace(START, delivered=1)) is Noted.LOST
    kept.places.lead(OTHER, 60)
    assert kept.note(replace(START, delivered=1)) is Noted.LOST
    assert kept.places.move(ME, "mqtt", None, "{}") is Noted.LOST
    assert kept.webhooks.progress()["wh1"] == START


def test_a_step_of_one_that_was_removed_is_not_written(kept: Kept) -> None:
    kept.added()
    kept.places.lead(ME, 60)
    kept.webhooks.remove("wh1")

    assert kept.webhooks.note(ME, "wh1", START, replace(START, step=1), died=letter(1)) is Noted.CHANGED
    assert (kept.webhooks.all(), kept.webhooks.progress()) == ([], {})


def test_dead_letters_are_kept_in_their_order_the_newest_of_too_many_and_go_when_revived(kept: Kept) -> None:
    kept.added()
    kept.places.lead(ME, 60)
    for number in (1, 2, 3):
        assert kept.note(replace(START, dead=number), died=letter(number)) is Noted.DONE
    assert kept.webhooks.dead("wh1") == [letter(2), letter(3)]

    assert kept.note(replace(START, dead=2), revived=letter(2).delivery) is Noted.DONE
    assert kept.webhooks.dead("wh1") == [letter(3)]
    again = replace(letter(3), died_ms=9000, attempts=4)
    assert kept.note(replace(START, dead=1), died=again) is Noted.DONE
    assert kept.webhooks.dead("wh1") == [again]


def test_with_a_webhook_go_its_progress_and_dead_letters(kept: Kept) -> None:
    kept.added()
    kept.places.lead(ME, 60)
    kept.note(START, died=letter(1))
    kept.webhooks.remove("wh1")
    kept.added()

    assert kept.webhooks.dead("wh1") == []
    assert kept.webhooks.progress() == {"wh1": START}


def test_a_change_and_a_replay_are_made_of_what_is_there(kept: Kept) -> None:
    kept.added()
    paused = kept.webhooks.change("wh1", lambda it: replace(it, paused_why="why", paused_ms=5))
    back = kept.webhooks.replay("wh1", lambda seen: replace(seen, events="1-0"))

    assert kept.webhooks.get("wh1") == paused
    assert kept.webhooks.progress()["wh1"] == back == replace(START, step=1, events="1-0")


def test_one_leads_and_another_when_it_leaves(kept: Kept) -> None:
    assert kept.places.lead(ME, 60)
    assert kept.places.lead(ME, 60)
    assert not kept.places.lead(OTHER, 60)
    assert kept.places.leader() == ME
    kept.places.leave(OTHER)
    assert kept.places.leader() == ME
    kept.places.leave(ME)
    assert kept.places.leader() is None
    assert kept.places.lead(OTHER, 60)


def test_a_lease_that_is_not_renewed_runs_out(kept: Kept) -> None:
    kept.places.lead(ME, 0.001)
    while kept.places.leader() is not None:
        pass
    assert kept.places.lead(OTHER, 60)


def test_a_place_is_moved_from_where_it_was_seen(kept: Kept) -> None:
    kept.places.lead(ME, 60)
    assert kept.places.place("mqtt") is None
    assert kept.places.move(ME, "mqtt", None, '{"a":1}') is Noted.DONE
    assert kept.places.move(ME, "mqtt", None, '{"a":1}') is Noted.DONE
    assert kept.places.move(ME, "mqtt", None, '{"a":2}') is Noted.CHANGED
    assert kept.places.move(ME, "mqtt", '{"a":1}', '{"a":2}') is Noted.DONE
    assert kept.places.place("mqtt") == '{"a":2}'
    assert kept.places.place("frigate") is None
