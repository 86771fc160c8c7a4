"""API keys in Redis: `P:apikeys`, a hash of key id → record (JSON)."""

from collections.abc import Callable
from typing import Any

import redis

from kith import wire
from kith.api_keys import ApiKey
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import StateUnavailable, UnknownApiKey

#: Each time somebody else changed the key in between; nobody changes one so often.
_ATTEMPTS = 20

_SWAP = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class RedisApiKeys:
    """Implements kith.api_keys.ApiKeys."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies; ours are bytes (RESP2, not decoded).
        self._redis: Any = client
        self._keys = f"{prefix}:apikeys"
        self._swap = client.register_script(_SWAP)

    def add(self, key: ApiKey) -> None:
        with mapped_redis_errors("API keys"):
            self._redis.hset(self._keys, key.key_id, wire.to_json(key))

    def get(self, key_id: str) -> ApiKey:
        return wire.from_json(ApiKey, self._text(key_id))

    def all(self) -> list[ApiKey]:
        with mapped_redis_errors("API keys"):
            texts = self._redis.hvals(self._keys)
        return sorted((wire.from_json(ApiKey, text) for text in texts), key=lambda key: (key.created_ms, key.key_id))

    def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        for _ in range(_ATTEMPTS):
            seen = self._text(key_id)
            changed = change(wire.from_json(ApiKey, seen))
            text = wire.to_json(changed)
            with mapped_redis_errors("API keys"):
                # Asked twice because an answer was lost, it finds what it wrote: read again, and written once more.
                if self._swap(keys=[self._keys], args=[key_id, seen, text]):
                    return changed
        raise StateUnavailable(f"API key {key_id} was changed by others {_ATTEMPTS} times; try again")

    def _text(self, key_id: str) -> bytes:
        with mapped_redis_errors("API keys"):
            found = self._redis.hget(self._keys, key_id)
        if found is None:
            raise UnknownApiKey(f"there is no API key {key_id} (kith apikeys list)")
        return bytes(found)
