"""What the outward worker is made of, by the settings: a part of the composition root."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kith.backends.cameras_redis import RedisCameras
from kith.backends.connect import image_store, key_store, redis_client
from kith.backends.events_redis import RedisEvents
from kith.backends.ledger_redis import RedisLedger
from kith.backends.places_redis import RedisPlaces
from kith.backends.queue_celery import CeleryQueue, make_app
from kith.backends.results_redis import RedisResults
from kith.backends.sightings_redis import RedisSightings
from kith.backends.webhooks_redis import RedisWebhooks
from kith.errors import Misconfigured
from kith.intake import Intake
from kith.metrics.tellings import Tellings
from kith.outward.broker import Broker, Dial, Heard, Message
from kith.outward.discovery import BIRTH, Discovery
from kith.outward.dispatch import Dispatcher
from kith.outward.double_take import DoubleTakeTeller
from kith.outward.feed import Feed
from kith.outward.frigate_answers import FrigateAnswers
from kith.outward.frigate_api import FrigateApi
from kith.outward.frigate_pictures import FrigatePictures
from kith.outward.home import HouseTeller
from kith.outward.lease import Lease
from kith.outward.link import Link
from kith.outward.posting import Post
from kith.outward.seals import opened
from kith.outward.telling import Means
from kith.outward.topics import Topics
from kith.settings import Settings
from kith.webhooks import Source
from workers.outward import Step

#: Threads that fetch Frigate's snapshots.
_FETCHERS = 3
_BLOCK_S = 0.25


@dataclass(frozen=True, slots=True)
class Parts:
    """steps: what is done again and again; close: what is done after the last step."""

    lease: Lease
    steps: Sequence[Step]
    close: Sequence[Callable[[], None]]


def open_parts(settings: Settings, holder: str, tellings: Tellings) -> Parts:
    """tellings: told how it goes. Raises Misconfigured, also where the extra `mqtt` is wanted and not installed."""
    state = redis_client(settings)
    lease = Lease(RedisPlaces(state, settings.redis.prefix), holder, settings.webhooks.lease_s)
    tellings.shows(lambda: lease.held)
    dispatcher, steps = _webhooks(settings, lease, tellings)
    close = [dispatcher.close]
    if settings.mqtt.host is not None:
        link, more = _mqtt(settings, lease)
        tellings.speaks_mqtt(lambda: link.connected)
        steps += more
        close.append(link.close)
    elif settings.frigate.url is not None:
        raise Misconfigured("frigate.url is set, but not mqtt.host: Frigate tells of its events by MQTT")
    return Parts(lease, steps, close)


def _webhooks(settings: Settings, lease: Lease, tellings: Tellings) -> tuple[Dispatcher, list[Step]]:
    state, keys = redis_client(settings), key_store(settings)
    feeds = {Source.EVENTS: Feed(RedisEvents(state, settings)), Source.RESULTS: Feed(RedisResults(state, settings))}
    means = Means(
        store=RedisWebhooks(state, settings.redis.prefix),
        feeds=feeds,
        post=Post(settings.webhooks),
        reveal=lambda webhook: opened(webhook.sealed, webhook.webhook_id, keys),
        knobs=settings.webhooks,
        lease=lease,
        live_ms=_live_ms(settings),
        attempted=tellings.attempted,
    )
    dispatcher = Dispatcher(means)
    steps: list[Step] = [("webhooks", dispatcher.round)]
    steps += [(f"webhooks-{each}", partial(_follow, each, feed, lease, dispatcher)) for each, feed in feeds.items()]
    return dispatcher, steps


def _follow(source: Source, feed: Feed, lease: Lease, dispatcher: Dispatcher) -> None:
    # Where nobody wants anything of it, nothing is read.
    if not lease.held or not dispatcher.reads(source):
        feed.forget()
        time.sleep(_BLOCK_S)
    elif feed.follow(_BLOCK_S):
        dispatcher.news()


def _mqtt(settings: Settings, lease: Lease) -> tuple[Link, list[Step]]:
    state, knobs = redis_client(settings), settings.mqtt
    prefix = settings.redis.prefix
    events, results = RedisEvents(state, settings), RedisResults(state, settings)
    places, registry = RedisPlaces(state, prefix), RedisCameras(state, prefix)
    topics = Topics(knobs.topic, _live_ms(settings))
    discovery = Discovery(knobs.discovery_topic, topics) if knobs.discovery else None

    def cameras() -> list[str]:
        return [each.name for each in registry.all() if not knobs.galleries or each.gallery in knobs.galleries]

    born = threading.Event()
    subscriptions: list[tuple[str, Heard]] = []
    steps: list[Step] = []
    gallery = settings.frigate.gallery or settings.gallery.default
    if settings.frigate.url is not None:
        api = FrigateApi(settings.frigate, settings.limits.image_bytes)
        queue, ledger = CeleryQueue(make_app(settings), settings), RedisLedger(state, settings)
        intake = Intake(image_store(settings), ledger, queue, settings)
        sightings = RedisSightings(state, settings)
        pictures = FrigatePictures(api, intake, sightings, settings.frigate, gallery, _live_ms(settings))
        subscriptions.append((f"{settings.frigate.topic}/events", pictures.heard))
        steps += [(f"frigate-{number}", pictures.round) for number in range(1, _FETCHERS + 1)]
        if settings.frigate.sub_labels:
            give_up_ms = round(settings.frigate.give_up_s * 1000)
            answers = FrigateAnswers(api, results, places, lease, gallery, give_up_ms)
            steps.append(("frigate-answers", answers.round))
    if discovery is not None:
        subscriptions.append((discovery.status, partial(_hear_birth, born)))
    link = Link(_dial(settings), lease, topics.availability(online=False), knobs.retry_max_s, subscriptions)
    house = HouseTeller(events, places, lease, link, topics, discovery, cameras, knobs.galleries, born)
    steps += [("mqtt-link", link.round), ("mqtt", house.round)]
    if knobs.double_take:
        double = DoubleTakeTeller(results, places, lease, link, knobs.double_take_topic, knobs.galleries)
        steps.append(("double-take", double.round))
    return link, steps


def _hear_birth(born: threading.Event, _: str, payload: bytes) -> None:
    # Home Assistant has started, and knows of nothing that is not retained.
    if payload == BIRTH:
        born.set()


def _dial(settings: Settings) -> Dial:
    try:
        from kith.backends.mqtt_paho import PahoBroker  # noqa: PLC0415 (whoever uses no MQTT need not have it)
    except ModuleNotFoundError as absent:
        if not (absent.name or "").startswith("paho"):
            raise
        raise Misconfigured("mqtt.host is set, and paho-mqtt is not installed (pip install 'kith[mqtt]')") from None
    # Of its first levels, which no other installation at this broker may have either: whoever takes over takes over the
    # connection too, and the last will of the former one comes before what the next one says.
    client_id = f"{settings.mqtt.topic.replace('/', '-')}-outward"

    def dial(will: Message) -> Broker:
        return PahoBroker(settings.mqtt, client_id, will)

    return dial


def _live_ms(settings: Settings) -> int:
    return round(settings.jobs.live_expiry_s * 1000)
