"""How much Redis keeps for us, in two round trips. The keys are explained where they are written: ledger.lua,
watching.lua, gallery.lua."""

from collections.abc import Sequence
from typing import Any

import redis

from kith.backends.redis_errors import mapped_redis_errors
from kith.jobs import LANES
from kith.lengths import Lengths


class RedisLengths:
    """Implements kith.lengths.Measures. Safe to call from many threads."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._redis: Any = client
        self._prefix = prefix

    def lengths(self, galleries: Sequence[str]) -> Lengths:
        with mapped_redis_errors("lengths"):
            watched = [name.decode() for name in self._redis.smembers(self._key("sightings"))]
            asks = self._redis.pipeline(transaction=False)
            asks.time()
            asks.xlen(self._key("events"))
            for lane in LANES:
                asks.zrange(self._key("waiting", lane), 0, 0, withscores=True)
            for name in galleries:
                asks.xlen(self._key("g", name, "log"))
            for name in watched:
                asks.hlen(self._key("sightings", name, "told"))
            (seconds, microseconds), events, *rest = asks.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        first, journals, news = _split(rest, len(LANES), len(galleries))
        return Lengths(
            oldest_waiting_s={
                str(lane): max(0.0, now_ms - oldest[0][1]) / 1000 if oldest else 0.0
                for lane, oldest in zip(LANES, first, strict=True)
            },
            events=events,
            news=sum(news),
            journals=dict(zip(galleries, journals, strict=True)),
        )

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))


def _split(answers: list[Any], first: int, second: int) -> tuple[list[Any], list[Any], list[Any]]:
    return answers[:first], answers[first : first + second], answers[first + second :]
