"""What a watcher has come to, in Redis. What each step does stands in watching.lua, with the key schema at its head."""

from collections.abc import Mapping, Sequence

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.backends.watched_vectors import WatchedVectors
from kith.backends.watching_script import WatchingScript
from kith.keys import KeyStore
from kith.settings import Settings
from kith.watching.log import FROM_START
from kith.watching.store import Committed, Saved, Step

_RECORD = "r:"


class RedisWatch:
    """Implements kith.watching.store.WatchStore. keys: of encrypted galleries."""

    def __init__(self, client: "redis.Redis", settings: Settings, keys: KeyStore | None) -> None:
        self._script = WatchingScript(client, settings.redis.prefix)
        self._keep = settings.watch.keep_events_s * 1000, settings.watch.keep_events
        self.vectors = WatchedVectors(client, settings.redis.prefix, keys)

    def lead(self, holder: str, lease_s: float) -> int | None:
        # Whoever watches asks all the time.
        self.vectors.drop_unused()
        return int(self._script.run("lead", holder, round(lease_s * 1000))) or None

    def leave(self, holder: str) -> None:
        self._script.run("leave", holder)

    def leader(self) -> str | None:
        with mapped_redis_errors("the watcher's lease"):
            holder = self._script.client.get(self._script.key("watch", "leader"))
        return None if holder is None else str(holder.decode())

    def load(self, gallery: str) -> Saved:
        with mapped_redis_errors(f"reading what is watched in gallery {gallery}"):
            reads = self._script.client.pipeline(transaction=True)
            reads.hgetall(self._script.key("watch", gallery))
            reads.hgetall(self._script.key("watch", gallery, "vectors"))
            fields, kept = reads.execute()
        return Saved(
            records=_records(fields),
            vectors=self.vectors.unpacked(gallery, {key.decode(): rows for key, rows in kept.items()}),
            position=fields.get(b"position", FROM_START.encode()).decode(),
            step=int(fields.get(b"step", 0)),
        )

    def records(self, gallery: str) -> Mapping[str, str]:
        with mapped_redis_errors(f"reading what is watched in gallery {gallery}"):
            return _records(self._script.client.hgetall(self._script.key("watch", gallery)))

    def position(self, gallery: str) -> str:
        with mapped_redis_errors(f"reading what is watched in gallery {gallery}"):
            found = self._script.client.hget(self._script.key("watch", gallery), "position")
        return FROM_START if found is None else str(found.decode())

    def commit(self, holder: str, step: Step) -> Committed:
        events = [wire.to_json(event) for event in step.events]
        records = [part for key, text in step.changes.records.items() for part in (key, text or "")]
        packed = self.vectors.packed(
            step.gallery, {key: rows for key, rows in step.changes.vectors.items() if rows is not None}
        )
        vectors = [part for key in step.changes.vectors for part in (key, packed.get(key, b""))]
        litter = [part for pair in step.changes.litter.items() for part in pair]
        lists: list[str | bytes | int] = []
        for width, parts in ((1, step.taken), (1, events), (2, records), (2, vectors), (2, litter)):
            lists += [len(parts) // width, *parts]
        deadline = "" if step.deadline_ms is None else step.deadline_ms
        where = holder, step.gallery, step.step, step.position
        return Committed(self._script.run("commit", *where, deadline, *self._keep, *lists))

    def litter(self, gallery: str) -> Mapping[str, int]:
        with mapped_redis_errors(f"reading what is watched in gallery {gallery}"):
            found = self._script.client.hgetall(self._script.key("watch", gallery, "litter"))
        return {picture.decode(): int(at_ms) for picture, at_ms in found.items()}

    def swept(self, gallery: str, pictures: Sequence[str]) -> None:
        if pictures:
            with mapped_redis_errors(f"noting pictures of gallery {gallery} as deleted"):
                self._script.client.hdel(self._script.key("watch", gallery, "litter"), *pictures)

    def wipe(self, gallery: str) -> None:
        self._script.run("wipe", gallery)


def _records(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    texts = {name.decode(): text.decode() for name, text in fields.items()}
    return {name.removeprefix(_RECORD): text for name, text in texts.items() if name.startswith(_RECORD)}
