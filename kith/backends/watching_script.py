"""Runs watching.lua, whose head documents the keys."""

import functools
from importlib.resources import files
from typing import Any

import redis

from kith.backends.redis_errors import mapped_redis_errors


class WatchingScript:
    """The operations of watching.lua on one client. prefix: of all keys."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self.client: Any = client
        self.prefix = prefix
        self._script = client.register_script(telling() + _source())

    def run(self, operation: str, *arguments: str | bytes | int | float) -> Any:
        """One operation; bytes come as text."""
        with mapped_redis_errors(f"watching: {operation}"):
            answer = self._script(args=[self.prefix, operation, *arguments])
        return answer.decode() if isinstance(answer, bytes) else answer

    def key(self, *parts: str) -> str:
        """A key of this installation."""
        return ":".join((self.prefix, *parts))


@functools.cache
def telling() -> str:
    """The part that other scripts have in front of theirs: `P` and `tell`."""
    return files("kith.backends").joinpath("sightings_tell.lua").read_text(encoding="utf-8")


@functools.cache
def _source() -> str:
    return files("kith.backends").joinpath("watching.lua").read_text(encoding="utf-8")
