"""Who tells outward and how far, in Redis. What each step does stands in outward.lua."""

import redis

from kith.backends.outward_script import OutwardScript
from kith.backends.redis_errors import mapped_redis_errors
from kith.webhooks import Noted


class RedisPlaces:
    """Implements kith.outward.places.Places."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._script = OutwardScript(client, prefix)

    def lead(self, holder: str, lease_s: float) -> bool:
        return bool(self._script.run("lead", holder, round(lease_s * 1000)))

    def leave(self, holder: str) -> None:
        self._script.run("leave", holder)

    def leader(self) -> str | None:
        with mapped_redis_errors("outward: leader"):
            found = self._script.client.get(self._script.key("outward", "leader"))
        return None if found is None else str(found.decode())

    def place(self, name: str) -> str | None:
        with mapped_redis_errors("outward: place"):
            found = self._script.client.hget(self._script.key("outward", "places"), name)
        return None if found is None else str(found.decode())

    def move(self, holder: str, name: str, seen: str | None, text: str) -> Noted:
        return Noted(self._script.run("place", holder, name, seen or "", text))
