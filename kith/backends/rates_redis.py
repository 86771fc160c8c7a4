"""Rates in Redis, shared by all processes. What a call does stands in rates.lua."""

import functools
from importlib.resources import files
from typing import Any

import redis

from kith.backends.redis_errors import mapped_redis_errors


class RedisRates:
    """Implements kith.rates.Rates."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies.
        self._script: Any = client.register_script(_source())
        self._prefix = prefix

    def take(self, name: str, rate_per_s: float, burst: int, count: int = 1) -> float:
        with mapped_redis_errors("rates"):
            return int(self._script(keys=[f"{self._prefix}:rate:{name}"], args=[rate_per_s, burst, count])) / 1e6


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("rates.lua").read_text(encoding="utf-8")
