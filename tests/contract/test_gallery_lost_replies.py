"""A change whose reply was lost is sent again by redis-py: it is made once, and answered as the first time."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from kith.backends.gallery_memory import MemoryGalleryStore
from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.valkey_embedded import EmbeddedValkey
from kith.enrolment import Introduction
from kith.errors import UnknownSubject
from kith.gallery import Enrolment, GallerySettings, GalleryStore
from tests import gallery_schema
from tests.lost_replies import Losses, losing_client
from tests.plain_gallery import DIMENSION, key, unit


def face(subject: str, seed: int) -> Enrolment:
    return Enrolment(subject, key(subject, seed), unit(seed), f"ab/{seed}", 0.25, "m")


def forgotten(store: GalleryStore) -> tuple[Any, ...]:
    gone = store.forget("door", "Ann")
    return gone.sequence, gone.subject, gone.templates, gone.images, gone.payloads


def filled(store: GalleryStore) -> GalleryStore:
    store.create("door", model_id="m", dimension=DIMENSION)
    store.enrol("door", [face("Ann", 1), face("Ann", 2), face("Bob", 3)])
    store.rename("door", "Bob", "Bert")
    store.enrol("door", [face("Cid", 4)])
    return store


def told(store: GalleryStore) -> list[Any]:
    return [(each.sequence, each.op, each.subject, each.templates) for each in store.history("door")]


VERBS: dict[str, Callable[[GalleryStore], Any]] = {
    "create": lambda store: store.create("gate", model_id="m", dimension=2).sequence,
    "configure": lambda store: store.configure("door", GallerySettings(cutoff=0.5)),
    "enrol": lambda store: store.enrol("door", [face("Ann", 5), face("Dan", 6), face("Eve", 7)]),
    "introduce": lambda store: store.introduce("door", "Dan", Introduction(external_id="7")),
    "remove": lambda store: store.remove("door", "Ann", [key("Ann", 1)]),
    "move": lambda store: store.move("door", "Ann", [key("Ann", 1)], "Bert"),
    "split": lambda store: store.move("door", "Ann", [key("Ann", 1)], "Dan"),
    "merge": lambda store: store.merge("door", "Ann", "Bert"),
    "rename": lambda store: store.rename("door", "Ann", "Anna"),
    "rename to the same": lambda store: store.rename("door", "Ann", "Ann"),
    "describe": lambda store: store.describe("door", "Ann", external_id="7", metadata={"floor": "3"}),
    "undo": lambda store: store.undo("door", 3),
    "undo an undo": lambda store: store.undo("door", store.undo("door", 3)),
    "forget": forgotten,
    "trim": lambda store: store.trim("door", 3600),
}


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def client(valkey: EmbeddedValkey, losses: Losses) -> Iterator[redis.Redis]:
    with losing_client(valkey.url, losses) as client:
        yield client


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("verb", VERBS)
def test_a_change_is_made_once_however_often_its_reply_is_lost(
    redis_client: redis.Redis, client: redis.Redis, prefix: str, losses: Losses, verb: str, times: int
) -> None:
    plain, store = filled(MemoryGalleryStore()), filled(RedisGalleryStore(client, prefix))
    expected = VERBS[verb](plain)
    losses.due = times
    assert VERBS[verb](store) == expected
    assert losses.lost == times
    assert told(store) == told(plain)
    gallery_schema.check(gallery_schema.read(redis_client, prefix, "door"))


def test_what_was_refused_is_refused_again_with_its_own_error(client: redis.Redis, prefix: str, losses: Losses) -> None:
    store = filled(RedisGalleryStore(client, prefix))
    losses.due = 1
    with pytest.raises(UnknownSubject):
        store.rename("door", "Nobody", "Somebody")
    assert losses.lost == 1


def test_two_calls_are_two_changes(client: redis.Redis, prefix: str, losses: Losses) -> None:
    store = filled(RedisGalleryStore(client, prefix))
    losses.due = 1
    first = store.configure("door", GallerySettings(cutoff=0.5))
    assert store.configure("door", GallerySettings(cutoff=0.5)) == first + 1


def test_the_answer_to_a_forget_is_gone_with_the_reply_and_others_expire(
    redis_client: redis.Redis, client: redis.Redis, prefix: str, losses: Losses
) -> None:
    store = filled(RedisGalleryStore(client, prefix))
    for kept in redis_client.keys(f"{prefix}:g:door:r:*"):
        redis_client.delete(kept)
    losses.due = 1
    store.forget("door", "Ann")
    assert redis_client.keys(f"{prefix}:g:door:r:*") == []
    store.remove("door", "Cid", [key("Cid", 4)])
    [kept] = redis_client.keys(f"{prefix}:g:door:r:*")
    assert 60_000 < redis_client.pttl(kept) <= 300_000


def test_a_switch_of_model_and_the_end_of_a_migration_are_made_once(
    client: redis.Redis, prefix: str, losses: Losses
) -> None:
    galleries = filled(RedisGalleryStore(client, prefix))
    moves = RedisMigrationStore(client, prefix)
    moves.begin("door", model_id="n", dimension=DIMENSION, pack="p")
    vectors = {
        each.template_id: unit(9) for who in ("Ann", "Bert", "Cid") for each in galleries.show("door", who).templates
    }
    moves.put("door", "n", vectors, {})
    before = galleries.info("door")
    losses.due = 1
    switched = moves.switch("door", "n", before=before.settings, after=before.settings)
    assert switched == before.sequence + 1 == galleries.info("door").sequence
    losses.due = 1
    moves.end("door")
    assert losses.lost == 2
    assert moves.state("door") is None
