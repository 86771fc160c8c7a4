"""What is left of galleries that were dropped, in Redis. gallery.lua documents their keys.

`P:gone`, hash: gallery -> kith.gone.Going (JSON), while it is being forgotten.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from kith import wire
from kith.backends.erasure_redis import NOTE
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import JobRejected
from kith.gone import Going

#: Read in one round trip.
_AT_ONCE = 1000
#: Keys of some megabytes erased in one call: a millisecond or two.
_ERASED_AT_ONCE = 16
_PARTS = "templates", "payloads"


def erase_rows(client: "redis.Redis", prefix: str, epoch: str) -> None:
    """Erase vectors, owners and names of a dropped gallery, some at a time: nobody else waits for long meanwhile."""
    redis_py: Any = client
    place = f"{prefix}:gone:{epoch}"
    with mapped_redis_errors("erasing a gallery"):
        extent = redis_py.hgetall(f"{place}:extent")
        blocks, chunks = int(extent.get(b"blocks", 0)), int(extent.get(b"chunks", 0))
        keys = [f"{place}:{kind}:{block}" for block in range(blocks) for kind in "bcwo"]
        keys += [f"{place}:n:{chunk}" for chunk in range(chunks)]
        for start in range(0, len(keys), _ERASED_AT_ONCE):
            redis_py.unlink(*keys[start : start + _ERASED_AT_ONCE])
        # Last: whoever goes on after an interruption knows by it that there is something left.
        redis_py.unlink(f"{place}:extent")


class RedisGoneGalleries:
    """Implements kith.gone.GoneGalleries. prefix: of all keys."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._redis: Any = client
        self._prefix = prefix
        self._note = client.register_script(NOTE)

    def going(self, gallery: str) -> Going | None:
        with mapped_redis_errors("reading which galleries are being forgotten"):
            text = self._redis.hget(f"{self._prefix}:gone", gallery)
        try:
            return None if text is None else wire.from_json(Going, text)
        except JobRejected:
            return None

    def note(self, gallery: str, going: Going | None) -> None:
        with mapped_redis_errors("noting which galleries are being forgotten"):
            if going is None:
                self._redis.hdel(f"{self._prefix}:gone", gallery)
            else:
                self._note(keys=[f"{self._prefix}:gone"], args=[gallery, wire.to_json(going)])

    def pictures(self, epoch: str) -> Iterator[set[str]]:
        erase_rows(self._redis, self._prefix, epoch)
        for part, told in zip(_PARTS, (_of_templates, _of_payloads), strict=True):
            key = f"{self._prefix}:gone:{epoch}:{part}"
            cursor, there = 0, True
            # Some that were there all the time are in one of the pages, whatever is erased between them.
            while there:
                with mapped_redis_errors("reading what a gallery told of pictures"):
                    cursor, rows = self._redis.hscan(key, cursor, count=_AT_ONCE)
                if rows:
                    yield told(rows)
                    with mapped_redis_errors("erasing what a gallery told of pictures"):
                        self._redis.hdel(key, *rows)
                there = cursor != 0

    def left(self, gallery: str, epoch: str) -> Iterator[str]:
        with mapped_redis_errors(f"looking for gallery {gallery}"):
            found = self._redis.hget(f"{self._prefix}:g:{gallery}:meta", "epoch")
            if found is not None and found.decode() == epoch:
                yield f"{self._prefix}:g:{gallery}:meta"
            for part in (*_PARTS, "extent"):
                if self._redis.exists(f"{self._prefix}:gone:{epoch}:{part}"):
                    yield f"{self._prefix}:gone:{epoch}:{part}"

    def born_ms(self, gallery: str) -> int | None:
        with mapped_redis_errors(f"looking for gallery {gallery}"):
            found = self._redis.hget(f"{self._prefix}:g:{gallery}:meta", "created_ms")
        return None if found is None else int(found)


def _of_templates(rows: Mapping[bytes, bytes]) -> set[str]:
    return {json.loads(text)[2] for text in rows.values()} - {""}


def _of_payloads(rows: Mapping[bytes, bytes]) -> set[str]:
    found: set[str] = set()
    for payload in rows.values():
        told = json.loads(payload.partition(b"\n")[0])
        # Removed ones are listed with what they were; others by their ids alone.
        found.update(each[1] for each in told.get("templates") or () if isinstance(each, list))
    return found - {""}
