"""Images in S3-compatible object storage, by MinIO's client."""

import io
import random
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from typing import TypeVar

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider
from minio.datatypes import Object

from kith.backends.image_keys import checked, is_key
from kith.backends.minio_errors import NoBucket, mapped
from kith.errors import (
    CorruptImage,
    EmptyImage,
    ImageTooLarge,
    KithError,
    Misconfigured,
    MissingImage,
    StoreDenied,
    StoreUnavailable,
)
from kith.imagestore import StoredImage, content_key
from kith.settings import Store

T = TypeVar("T")

#: Sockets kept open to the store: fetch threads of one worker fit in; more threads work, on sockets made for one call.
CONNECTIONS = 64

#: First pause between attempts and the longest; doubled each time, the real pause is random below it.
_PAUSE_S = 0.1
_PAUSE_MAX_S = 2.0

#: Below this S3 refuses parts; above the size of the data it makes every put one request, whole or not at all.
_MIN_PART_BYTES = 5 * 1024 * 1024


class _MaskedCredentials(Credentials):
    """MinIO's own is a dataclass whose repr, and so any traceback that shows locals, prints the secret."""

    def __repr__(self) -> str:
        return "Credentials(**********)"


class _Given(Provider):
    def __init__(self, store: Store) -> None:
        self._credentials = _MaskedCredentials(store.access_key.get_secret_value(), store.secret_key.get_secret_value())

    def retrieve(self) -> Credentials:
        return self._credentials


class MinioImageStore:
    """One object per image in one bucket. Implements kith.imagestore.ImageStore.

    A call ends within (retries + 1) × (connect + read timeout) plus pauses of at most 2 s each. image_bytes: refuse to
    read larger objects; anybody with an upload URL can put one. Raises Misconfigured for an address that cannot be one.
    """

    def __init__(self, store: Store, *, image_bytes: int | None = None, connections: int = CONNECTIONS) -> None:
        self._bucket = store.bucket
        self._where = f"{'https' if store.tls else 'http'}://{store.endpoint}/{store.bucket}"
        self._retries = store.retries
        self._expiry = timedelta(seconds=store.upload_expiry_s)
        self._image_bytes = image_bytes
        # retries=False: the client's own would retry what we must not and hide what we must see; ours are in _call.
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=store.timeout_s, read=store.timeout_s), maxsize=connections, retries=False
        )
        try:
            # The region given, no call ever asks for it: half the requests, and one less permission.
            self._client = Minio(
                store.endpoint, credentials=_Given(store), secure=store.tls, region=store.region, http_client=self._http
            )
        except ValueError as wrong:
            raise Misconfigured(f"store.endpoint or store.access_key cannot be used: {wrong}") from None

    def __repr__(self) -> str:
        return f"MinioImageStore({self._where!r})"

    def put(self, data: bytes) -> str:
        """Store `data`, return its key; a missing bucket is created.

        Raises EmptyImage, StoreUnavailable, StoreDenied.
        """
        if not data:
            raise EmptyImage
        key = content_key(data)
        try:
            self._call(lambda: self._put(key, data))
        except NoBucket:
            self._create_bucket()
            self._call(lambda: self._put(key, data))
        return key

    def get(self, key: str) -> bytes:
        """The bytes under `key`. Raises MissingImage, CorruptImage, ImageTooLarge, StoreUnavailable, StoreDenied."""
        data = self._call(lambda: self._get(checked(key)), key)
        if content_key(data) != key:
            raise CorruptImage(f"{key} in {self._where} holds {len(data):,} bytes that do not hash to it; put it again")
        return data

    def exists(self, key: str) -> bool:
        """Whether `key` is stored. Raises StoreUnavailable, StoreDenied."""
        if not is_key(key):
            return False
        try:
            self._call(lambda: self._client.stat_object(self._bucket, key), key)
        except MissingImage:
            return False
        return True

    def delete(self, key: str) -> bool:
        """Remove `key`; whether it was there. Raises StoreUnavailable, StoreDenied.

        S3 does not tell, so it is asked before: two callers deleting the same key at once may both hear True.
        """
        if not self.exists(key):
            return False
        self._call(lambda: self._client.remove_object(self._bucket, key), key)
        return True

    def upload_url(self, key: str) -> str:
        """A URL for one HTTP PUT of the bytes of `key`, valid for store.upload_expiry_s.

        Signed here, without a request. Raises MissingImage for what cannot be a key.
        """
        return self._call(
            lambda: str(self._client.presigned_put_object(self._bucket, checked(key), expires=self._expiry)), key
        )

    def listed(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[StoredImage]:
        """Images by key, see kith.imagestore.ImageStore. Raises StoreUnavailable, StoreDenied."""
        try:
            return self._call(lambda: self._listed(prefix, after, limit))
        except NoBucket:
            return []

    def check(self) -> None:
        """Reach the bucket, or create it. Raises StoreUnavailable or StoreDenied, naming the place."""
        if not self._call(lambda: self._client.bucket_exists(self._bucket)):
            self._create_bucket()

    def _put(self, key: str, data: bytes) -> None:
        part_size = max(len(data), _MIN_PART_BYTES)
        self._client.put_object(self._bucket, key, io.BytesIO(data), len(data), part_size=part_size)

    def _get(self, key: str) -> bytes:
        response = self._client.get_object(self._bucket, key)
        try:
            size = int(response.headers.get("Content-Length", 0))
            if self._image_bytes is not None and size > self._image_bytes:
                # Not to be read, so not to be reused either.
                response.close()
                raise ImageTooLarge(
                    f"{key} has {size:,} bytes, limits.image_bytes allows {self._image_bytes:,}; "
                    "send a smaller file or raise the setting"
                )
            return bytes(response.read())
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()

    def _listed(self, prefix: str, after: str, limit: int) -> list[StoredImage]:
        # S3 lists by the bytes of the names, which for ours is their order as text.
        every = self._client.list_objects(self._bucket, prefix=prefix, recursive=True, start_after=after or None)
        return list(islice(filter(None, map(_stored, every)), limit))

    def _create_bucket(self) -> None:
        try:
            self._call(lambda: self._client.make_bucket(self._bucket))
        except StoreDenied as refused:
            # Another process was quicker: the bucket is what we wanted.
            if not self._call(lambda: self._client.bucket_exists(self._bucket)):
                raise StoreDenied(
                    f"{self._where}: the bucket is missing and creating it was refused: {refused}"
                ) from None

    def _call(self, ask: Callable[[], T], key: str | None = None) -> T:
        """`ask()`, tried again where that makes sense, its exceptions made ours."""
        for attempt in range(self._retries + 1):
            if attempt:
                # Random over the whole range: workers that failed together must not come back together.
                time.sleep(random.uniform(0, min(_PAUSE_S * 2 ** (attempt - 1), _PAUSE_MAX_S)))  # noqa: S311
            try:
                return ask()
            except KithError:
                raise
            except Exception as failure:  # noqa: BLE001
                error = mapped(failure, self._where, key)
            if not isinstance(error, StoreUnavailable):
                break
        # Without its cause: the frames below hold signed headers, and the message says what the cause said.
        raise error


def _stored(found: Object) -> StoredImage | None:
    """None for what is no image of ours."""
    if found.object_name is None or not is_key(found.object_name) or found.last_modified is None:
        return None
    return StoredImage(found.object_name, found.size or 0, round(found.last_modified.timestamp() * 1000))
