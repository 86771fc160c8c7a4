"""Runs outward.lua, whose head documents the keys."""

import functools
from importlib.resources import files
from typing import Any

import redis

from kith.backends.redis_errors import mapped_redis_errors


class OutwardScript:
    """The operations of outward.lua on one client. prefix: of all keys."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        # Any: redis-py types every reply as a union of all protocols' replies.
        self.client: Any = client
        self.prefix = prefix
        self._script = client.register_script(_source())

    def run(self, operation: str, *arguments: str | int) -> Any:
        """One operation; bytes come as text."""
        with mapped_redis_errors(f"outward: {operation}"):
            answer = self._script(args=[self.prefix, operation, *arguments])
        return answer.decode() if isinstance(answer, bytes) else answer

    def key(self, *parts: str) -> str:
        """A key of this installation."""
        return ":".join((self.prefix, *parts))


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("outward.lua").read_text(encoding="utf-8")
