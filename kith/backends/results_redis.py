"""The results stream in Redis (`P:results`, written by ledger.lua in the step that strikes a job off)."""

from dataclasses import replace

import redis

from kith import wire
from kith.backends.told_stream import ToldStream
from kith.jobs import Decision
from kith.results import Entry
from kith.settings import Settings


class RedisResults(ToldStream[Entry]):
    """Implements kith.results.Results. Safe to call from many threads."""

    what = "results"

    def __init__(self, client: "redis.Redis", settings: Settings) -> None:
        super().__init__(client, f"{settings.redis.prefix}:results")

    def entry(self, entry_id: str, text: bytes) -> Entry:
        # The stream's ids begin with the server's time at publication: no need to write it down a second time.
        published_ms = int(entry_id.partition("-")[0])
        return Entry(entry_id, replace(wire.from_json(Decision, text), published_ms=published_ms))

    def place_of(self, entry: Entry) -> str:
        return entry.entry_id
