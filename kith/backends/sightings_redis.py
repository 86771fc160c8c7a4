"""News of cameras in Redis: a stream per gallery with the order, a hash beside it with what they say."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from kith.backends.redis_errors import mapped_redis_errors
from kith.backends.watching_script import WatchingScript
from kith.errors import JobRejected
from kith.jobs import now_ms
from kith.names import gallery_name
from kith.settings import Settings
from kith.watching import news as wording
from kith.watching.log import Heard
from kith.watching.news import News

_log = logging.getLogger(__name__)

#: Erased in one round trip.
_AT_ONCE = 500


class RedisSightings:
    """Implements kith.watching.log.SightingLog. Safe to call from many threads."""

    def __init__(self, client: "redis.Redis", settings: Settings) -> None:
        self._script = WatchingScript(client, settings.redis.prefix)
        self._most = settings.watch.max_waiting

    def tell(self, gallery: str, news: Sequence[News]) -> str:
        if not news:
            return "0-0"
        texts = [wording.to_json(each) for each in news]
        return str(self._script.run("tell", gallery_name(gallery), self._most, *texts))

    def galleries(self) -> list[str]:
        with mapped_redis_errors("sightings"):
            return sorted(name.decode() for name in self._script.client.smembers(self._script.key("sightings")))

    def after(self, positions: Mapping[str, str], *, limit: int = 200, block_s: float = 0.0) -> dict[str, list[Heard]]:
        if not positions:
            # Redis waits for streams only; whoever follows nothing yet asks again for what there is.
            time.sleep(block_s)
            return {}
        streams = {self._stream(gallery): entry_id for gallery, entry_id in positions.items()}
        with mapped_redis_errors("sightings"):
            # Zero would mean "for ever" to Redis; here it means "do not wait".
            block_ms = max(1, round(block_s * 1000)) if block_s > 0 else None
            answer = self._script.client.xread(streams, count=limit, block=block_ms)
            found = {}
            for stream, rows in answer or ():
                gallery = stream.decode().rpartition(":")[2]
                ids = [row[0] for row in rows]
                texts = self._script.client.hmget(f"{stream.decode()}:told", ids)
                found[gallery] = [_heard(gallery, each, text) for each, text in zip(ids, texts, strict=True)]
        return found

    def waiting(self, gallery: str) -> int:
        with mapped_redis_errors("sightings"):
            return int(self._script.client.hlen(f"{self._stream(gallery)}:told"))

    def trim(self, gallery: str, keep_s: float) -> int:
        until, gone = now_ms() - round(keep_s * 1000) - 1, 0
        while True:
            with mapped_redis_errors("sightings"):
                rows = self._script.client.xrange(self._stream(gallery), "-", str(until), count=_AT_ONCE)
            if not rows:
                return gone
            gone += int(self._script.run("drop", gallery, *(row[0] for row in rows)))

    def _stream(self, gallery: str) -> str:
        return self._script.key("sightings", gallery)


def _heard(gallery: str, entry_id: bytes, text: Any) -> Heard:
    try:
        return Heard(gallery, entry_id.decode(), None if text is None else wording.from_json(text))
    except JobRejected as unreadable:
        # Of a newer version: what comes after it counts all the same.
        _log.error("news %s of gallery %s are skipped: %s", entry_id.decode(), gallery, unreadable)
        return Heard(gallery, entry_id.decode(), None)
