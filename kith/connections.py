"""What a client works with: every part of an installation, open. `connect` opens them from settings."""

from collections.abc import Callable
from dataclasses import dataclass

from kith.api_keys import ApiKeys
from kith.audit import AuditLog
from kith.backends.api_keys_redis import RedisApiKeys
from kith.backends.audit_redis import RedisAudit
from kith.backends.cameras_redis import RedisCameras
from kith.backends.connect import gallery_store, image_store, key_store, redis_client
from kith.backends.erasure_redis import RedisErasure
from kith.backends.events_redis import RedisEvents
from kith.backends.gone_redis import RedisGoneGalleries
from kith.backends.ledger_redis import RedisLedger
from kith.backends.migration_redis import RedisMigrationStore
from kith.backends.queue_celery import CeleryQueue, make_app
from kith.backends.results_redis import RedisResults
from kith.backends.samples_redis import RedisSamples
from kith.backends.sightings_redis import RedisSightings
from kith.backends.watching_redis import RedisWatch
from kith.backends.webhooks_redis import RedisWebhooks
from kith.calibration_samples import SampleStore
from kith.cameras import CameraRegistry
from kith.erasure import Erasure
from kith.gallery import GalleryStore
from kith.gone import GoneGalleries
from kith.imagestore import ImageStore
from kith.intake import JobQueue
from kith.keys import KeyStore
from kith.ledger import Ledger
from kith.migration import MigrationStore
from kith.results import Results
from kith.settings import Settings
from kith.watching.desk import Watched
from kith.watching.log import SightingLog
from kith.webhooks import Webhooks


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Connections:
    """Each is safe to use from many threads. close: what was opened here."""

    store: ImageStore
    ledger: Ledger
    queue: JobQueue
    galleries: GalleryStore
    results: Results
    samples: SampleStore
    migrations: MigrationStore
    erasure: Erasure
    gone: GoneGalleries
    audit: AuditLog
    keys: KeyStore
    cameras: CameraRegistry
    sightings: SightingLog
    watched: Watched
    api_keys: ApiKeys
    webhooks: Webhooks
    close: Callable[[], None] = _nothing


def connect(settings: Settings) -> Connections:
    """The parts of the installation that `settings` describe; nothing is asked of them yet. Raises Misconfigured."""
    state, keys = redis_client(settings), key_store(settings)
    prefix = settings.redis.prefix
    watch = RedisWatch(state, settings, keys)
    return Connections(
        store=image_store(settings),
        ledger=RedisLedger(state, settings),
        queue=CeleryQueue(make_app(settings), settings),
        galleries=gallery_store(settings, state, keys),
        results=RedisResults(state, settings),
        samples=RedisSamples(state, prefix),
        migrations=RedisMigrationStore(state, prefix, keys),
        erasure=RedisErasure(state, prefix),
        gone=RedisGoneGalleries(state, prefix),
        audit=RedisAudit(state, prefix),
        keys=keys,
        cameras=RedisCameras(state, prefix),
        sightings=RedisSightings(state, settings),
        watched=Watched(watch, RedisEvents(state, settings), watch.vectors.of_text),
        api_keys=RedisApiKeys(state, prefix),
        webhooks=RedisWebhooks(state, prefix),
        close=state.close,
    )
