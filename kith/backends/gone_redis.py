"""What is left of galleries that were dropped, in Redis. gallery.lua documents the keys of a dropped gallery.

`P:gone`, hash: gallery -> kith.gone.Going (JSON), while it is being forgotten; gallery_change.lua makes none of that
name. `P:gone:held:G`, string: who is at it just now, expires with the lease. `P:gone:EPOCH:asked`, set: pictures that
jobs of the gallery had asked about.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.erasure import DIGEST
from kith.errors import JobRejected, StateUnavailable
from kith.gone import Going
from kith.imagestore import key_of
from kith.subjects import Dropped

#: Read in one round trip.
_AT_ONCE = 1000
#: Keys of some megabytes erased in one call: a millisecond or two.
_ERASED_AT_ONCE = 16

# Each takes something away first, so that the server lets it when memory is full: whoever is forgotten makes room.
_HOLD = (
    "local who = redis.call('GET', KEYS[1]) if who and who ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1]) "
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
)
_NOTED = (
    "if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end redis.call('HDEL', KEYS[1], ARGV[1]) "
    "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1"
)
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
_ASK = "redis.call('SREM', KEYS[1], '') for _, each in ipairs(ARGV) do redis.call('SADD', KEYS[1], each) end return 1"


def erase_rows(client: "redis.Redis", prefix: str, epoch: str) -> None:
    """Erase vectors, owners and names of a dropped gallery, some at a time: nobody else waits for long meanwhile."""
    redis_py: Any = client
    place = f"{prefix}:gone:{epoch}"
    with mapped_redis_errors("erasing a gallery"):
        blocks, chunks = (int(each or 0) for each in redis_py.hmget(f"{place}:extent", "blocks", "chunks"))
        keys = [f"{place}:{kind}:{block}" for block in range(blocks) for kind in "bcwo"]
        keys += [f"{place}:n:{chunk}" for chunk in range(chunks)]
        for start in range(0, len(keys), _ERASED_AT_ONCE):
            redis_py.unlink(*keys[start : start + _ERASED_AT_ONCE])
        # Last: whoever goes on after an interruption knows by them that there is something left.
        redis_py.hdel(f"{place}:extent", "blocks", "chunks")


class RedisGoneGalleries:
    """Implements kith.gone.GoneGalleries. prefix: of all keys."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._redis: Any = client
        self._prefix = prefix
        self._note, self._hold = client.register_script(_NOTED), client.register_script(_HOLD)
        self._release, self._ask = client.register_script(_RELEASE), client.register_script(_ASK)

    def all(self) -> Mapping[str, Going]:
        with mapped_redis_errors("reading which galleries are being forgotten"):
            found = self._redis.hgetall(f"{self._prefix}:gone")
        return {name.decode(): going for name, text in sorted(found.items()) if (going := _going(text))}

    def going(self, gallery: str) -> Going | None:
        with mapped_redis_errors("reading which galleries are being forgotten"):
            return _going(self._redis.hget(f"{self._prefix}:gone", gallery))

    def note(self, gallery: str, going: Going, holder: str) -> bool:
        keys = [f"{self._prefix}:gone", self._held(gallery)]
        with mapped_redis_errors("noting which galleries are being forgotten"):
            return bool(self._note(keys=keys, args=[gallery, wire.to_json(going), holder]))

    def hold(self, gallery: str, holder: str, lease_s: float) -> bool:
        with mapped_redis_errors("forgetting a gallery"):
            return bool(self._hold(keys=[self._held(gallery)], args=[holder, round(lease_s * 1000)]))

    def release(self, gallery: str, holder: str) -> None:
        with mapped_redis_errors("forgetting a gallery"):
            self._release(keys=[self._held(gallery)], args=[holder])

    def dropped(self, epoch: str) -> Dropped | None:
        with mapped_redis_errors("reading what a gallery held"):
            place, fields = f"{self._prefix}:gone:{epoch}:extent", ("sequence", "subjects", "templates", "payloads")
            counts = self._redis.hmget(place, *fields)
        return None if None in counts else Dropped(*map(int, counts))

    def ask(self, epoch: str, pictures: Collection[str]) -> None:
        listed = sorted(pictures)
        with mapped_redis_errors("noting pictures that jobs asked about"):
            for start in range(0, len(listed), _AT_ONCE):
                self._ask(keys=[f"{self._prefix}:gone:{epoch}:asked"], args=listed[start : start + _AT_ONCE])

    def pictures(self, epoch: str) -> Iterator[tuple[bool, set[str]]]:
        erase_rows(self._redis, self._prefix, epoch)
        place = f"{self._prefix}:gone:{epoch}"
        while asked := self._read(lambda: self._redis.srandmember(f"{place}:asked", _AT_ONCE)):
            yield False, {key.decode() for key in asked}
            self._read(lambda some=asked: self._redis.srem(f"{place}:asked", *some))
        for part, told in (("templates", _of_templates), ("payloads", _of_payloads)):
            key, cursor, there = f"{place}:{part}", 0, True
            # Some that were there all the time are in one of the pages, whatever is erased between them.
            while there:
                cursor, rows = self._read(lambda at=cursor, of=key: self._redis.hscan(of, at, count=_AT_ONCE))
                if rows:
                    yield True, told(rows)
                    self._read(lambda of=key, some=rows: self._redis.hdel(of, *some))
                there = cursor != 0

    def finish(self, gallery: str, epoch: str) -> None:
        with (
            mapped_redis_errors("noting which galleries are forgotten"),
            self._redis.pipeline(transaction=True) as pipe,
        ):
            pipe.delete(f"{self._prefix}:gone:{epoch}:extent")
            pipe.hdel(f"{self._prefix}:gone", gallery)
            pipe.execute()

    def left(self, gallery: str, epoch: str) -> Iterator[str]:
        with mapped_redis_errors(f"looking for gallery {gallery}"):
            if self.standing(gallery) == epoch:
                yield f"{self._prefix}:g:{gallery}:meta"
            yield from sorted(
                key.decode() for key in self._redis.scan_iter(f"{self._prefix}:gone:{epoch}:*", count=1000)
            )

    def standing(self, gallery: str) -> str | None:
        with mapped_redis_errors(f"looking for gallery {gallery}"):
            found = self._redis.hmget(f"{self._prefix}:g:{gallery}:meta", "epoch", "model_id", "sequence")
        return None if found == [None] * 3 else (found[0] or b"").decode(errors="replace")

    def born_ms(self, gallery: str) -> int | None:
        with mapped_redis_errors(f"looking for gallery {gallery}"):
            found = self._redis.hget(f"{self._prefix}:g:{gallery}:meta", "created_ms")
        return None if found is None else int(found)

    def _held(self, gallery: str) -> str:
        return f"{self._prefix}:gone:held:{gallery}"

    def _read(self, ask: Any) -> Any:
        with mapped_redis_errors("erasing what a gallery told of pictures"):
            return ask()


def _going(text: bytes | None) -> Going | None:
    if text is None:
        return None
    try:
        return wire.from_json(Going, text)
    except JobRejected as fault:
        raise StateUnavailable(f"what is noted of a gallery that is being forgotten cannot be read: {fault}") from None


def _of_templates(rows: Mapping[bytes, bytes]) -> set[str]:
    return _pictures(rows, lambda text: [json.loads(text)[2]])


def _of_payloads(rows: Mapping[bytes, bytes]) -> set[str]:
    # Removed ones are listed with what they were; others by their ids alone.
    return _pictures(
        rows, lambda text: [each[1] for each in json.loads(text).get("templates") or () if isinstance(each, list)]
    )


def _pictures(rows: Mapping[bytes, bytes], told: Callable[[bytes], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    for row in rows.values():
        text = row.partition(b"\n")[0]
        try:
            found.update(told(text))
        except (ValueError, TypeError, IndexError, KeyError, AttributeError):
            # Of a gallery that was damaged: whatever looks like one.
            found.update(key_of(digest) for digest in DIGEST.findall(text.decode(errors="replace")))
    return found - {""}
