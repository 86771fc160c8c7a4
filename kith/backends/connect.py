"""From settings to open backends, for the composition roots: one place that knows how each part is reached."""

import redis
from redis._parsers import _RESP2Parser
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from kith.backends.gallery_redis import RedisGalleryStore
from kith.backends.images_directory import DirectoryImageStore
from kith.backends.key_service import NamedWrapper
from kith.backends.keys_directory import DirectoryKeys
from kith.backends.keys_settings import SettingsKeys
from kith.imagestore import ImageStore
from kith.keys import KeyStore
from kith.settings import Settings


def redis_client(settings: Settings) -> "redis.Redis":
    """A client for the state. It rides out a restart of the server: every script it runs may safely be run twice."""
    return redis.Redis.from_url(
        settings.redis.url.get_secret_value(),
        socket_timeout=settings.redis.timeout_s,
        socket_connect_timeout=settings.redis.timeout_s,
        health_check_interval=25,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), retries=6),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError],
        # Also where hiredis is installed: that keeps what it has read in a buffer of each connection, and so vectors of
        # whoever is forgotten meanwhile. (For RESP3 redis-py takes the like of it.)
        parser_class=_RESP2Parser,
    )


def image_store(settings: Settings) -> ImageStore:
    """The configured store, not yet checked."""
    if settings.store.kind == "s3":
        # Here, because it takes longer to import than a command takes that asks a local stack something.
        from kith.backends.images_minio import MinioImageStore  # noqa: PLC0415

        return MinioImageStore(settings.store, image_bytes=settings.limits.image_bytes)
    return DirectoryImageStore(settings.store.directory.expanduser(), image_bytes=settings.limits.image_bytes)


def gallery_store(settings: Settings, state: "redis.Redis", keys: KeyStore) -> RedisGalleryStore:
    """The galleries; those made from now on are encrypted where the settings say so."""
    return RedisGalleryStore(state, settings.redis.prefix, keys, encrypt=settings.security.encrypt)


def key_store(settings: Settings) -> KeyStore:
    """The keys of the galleries: those in the settings, else those in the directory. Raises Misconfigured."""
    security = settings.security
    directory = DirectoryKeys(settings.keys_directory, NamedWrapper(security.kms) if security.kms else None)
    return SettingsKeys(security.keys, directory) if security.keys.get_secret_value() else directory
