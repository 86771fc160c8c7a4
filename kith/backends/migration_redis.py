"""The other model's vectors of galleries in Redis. gallery.lua documents the keys, gallery_migrate.lua the changes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import redis

from kith.backends.gallery_redis_listing import settings_as_kept
from kith.backends.gallery_redis_log import OWNER
from kith.backends.gallery_redis_snapshot import read_snapshot
from kith.backends.gallery_rows import RowFormats, Rows
from kith.backends.gallery_script import Call, GalleryScript, checked
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import CannotMigrate, KeysUnavailable, UnknownGallery
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.journal import BLOCK_ROWS, FREE, Snapshot, Vectors
from kith.keys import KeyStore
from kith.migration import Migration, Missing, check_vectors
from kith.wire import from_json, to_json

#: Templates in one run of the script, during which nobody else is served.
_AT_ONCE = 64
#: Subjects asked about in one run of the script.
_SUBJECTS_AT_ONCE = 256
_FIELDS = ("model_id", "dimension", "pack", "started_ms", "switched", "settings", "have")


class RedisMigrationStore:
    """MigrationStore on a client that does not decode replies. prefix: of all keys. keys: of encrypted galleries."""

    def __init__(self, client: redis.Redis, prefix: str = "kith", keys: KeyStore | None = None) -> None:
        self._client = client
        self._script = GalleryScript(client, prefix, RowFormats(keys))

    def begin(self, name: str, *, model_id: str, dimension: int, pack: str) -> Migration:
        with mapped_redis_errors(f"beginning to migrate gallery {name}"):
            width = self._packed(name, dimension).width
            self._script.ask(name, "migrate_begin", model_id, dimension, width, pack, now_ms())
        state = self.state(name)
        if state is None or state.model_id != model_id:
            raise CannotMigrate(f"somebody else has ended the migration of gallery {name} meanwhile")
        return state

    def state(self, name: str) -> Migration | None:
        what = f"reading the migration of gallery {name}"
        with mapped_redis_errors(what), self._client.pipeline(transaction=True) as pipe:
            pipe.exists(self._key(name, "meta"))
            pipe.hmget(self._key(name, "migration"), *_FIELDS)
            pipe.hlen(self._key(name, "templates"))
            pipe.hlen(self._key(name, "unable"))
            there, fields, templates, unable = pipe.execute()
        if not there:
            raise UnknownGallery(f"there is no gallery {name}")
        if fields[0] is None:
            return None
        known: list[Any] = [None if value is None else value.decode() for value in fields]
        model_id, dimension, pack, started_ms, switched, settings, have = known
        return Migration(
            *(name, model_id, int(dimension), pack, int(started_ms), int(switched)),
            *(None if settings is None else from_json(GallerySettings, settings), templates, int(have), unable),
        )

    def missing(self, name: str, *, after: int = -1, limit: int = 1024) -> list[Missing]:
        found: list[Missing] = []
        with mapped_redis_errors(f"reading what is missing of gallery {name}"):
            blocks: Any = self._client.hget(self._key(name, "meta"), "next_slot")
            if blocks is None:
                raise UnknownGallery(f"there is no gallery {name}")
            last = (int(blocks) + BLOCK_ROWS - 1) // BLOCK_ROWS
            for block in range(max(0, after + 1) // BLOCK_ROWS, last):
                found += self._missing_in(name, block, after)
                if len(found) >= limit:
                    break
        return found

    def _missing_in(self, name: str, block: int, after: int) -> list[Missing]:
        owned, since = self._rows(name, block)
        short = np.flatnonzero((owned["number"] != FREE) & (owned["sequence"] != since))
        numbers = np.unique(owned["number"][short[short + block * BLOCK_ROWS > after]]).tolist()
        found = {}
        for start in range(0, len(numbers), _SUBJECTS_AT_ONCE):
            some = numbers[start : start + _SUBJECTS_AT_ONCE]
            for template_id, slot, image in self._script.ask(name, "migrate_missing", *some):
                found[int(slot)] = Missing(template_id.decode(), int(slot), image.decode())
        # Of the same subjects' templates those in other blocks are found with theirs.
        mine = range(max(after + 1, block * BLOCK_ROWS), (block + 1) * BLOCK_ROWS)
        return [found[slot] for slot in sorted(found) if slot in mine]

    def _rows(self, name: str, block: int) -> tuple[Any, Any]:
        """The owners of a block, and for which enrolment each has a vector in the other set."""
        packed: Any = self._client.mget(self._key(name, f"o:{block}"), self._key(name, f"w:{block}"))
        owned = np.frombuffer(packed[0] or b"", OWNER)
        since = np.zeros(len(owned))
        known = np.frombuffer(packed[1] or b"", "<f8")[: len(owned)]
        since[: len(known)] = known
        return owned, since

    def put(self, name: str, model_id: str, vectors: Mapping[str, Vectors], unable: Mapping[str, str]) -> int:
        try:
            return self._put(name, model_id, vectors, unable)
        except KeysUnavailable:
            # Sealed anew since we read the keys. What was put before that stands, and is known by its ids.
            self._script.rows.renew(name)
            return self._put(name, model_id, vectors, unable)

    def _put(self, name: str, model_id: str, vectors: Mapping[str, Vectors], unable: Mapping[str, str]) -> int:
        state = self.state(name)
        if state is None or state.model_id != model_id:
            return 0
        check_vectors(name, state.dimension, vectors)
        calls: list[Call] = []
        each = list(vectors.items())
        for start in range(0, len(each), _AT_ONCE):
            some = each[start : start + _AT_ONCE]
            packed = self._packed(name, state.dimension).pack(np.stack([vector for _, vector in some]))
            rows = [part for (template_id, _), row in zip(some, packed, strict=True) for part in (template_id, row)]
            calls.append((name, "migrate_put", model_id, len(some), *rows))
        if unable:
            calls.append((name, "migrate_put", model_id, 0, *(part for pair in unable.items() for part in pair)))
        with mapped_redis_errors(f"keeping vectors of gallery {name}"):
            return sum(int(checked(name, reply)[0]) for reply in self._script.run(calls)) if calls else 0

    def unable(self, name: str) -> dict[str, str]:
        with mapped_redis_errors(f"reading the migration of gallery {name}"):
            found: Any = self._client.hgetall(self._key(name, "unable"))
        return {template_id.decode(): reason.decode() for template_id, reason in found.items()}

    def retry(self, name: str) -> int:
        with mapped_redis_errors(f"trying again for gallery {name}"), self._client.pipeline(transaction=True) as pipe:
            pipe.hlen(self._key(name, "unable"))
            pipe.delete(self._key(name, "unable"))
            return int(pipe.execute()[0])

    def other(self, name: str) -> Snapshot:
        with mapped_redis_errors(f"loading the other model's vectors of gallery {name}"):
            fields: Any = self._client.hmget(self._key(name, "migration"), "model_id", "dimension", "set")
            if fields[0] is None:
                raise CannotMigrate(f"gallery {name} holds no vectors of another model")
            model_id, dimension, own = (value.decode() for value in fields)
            snapshot = read_snapshot(self._script, name)
            snapshot.model_id, snapshot.dimension = model_id, int(dimension)
            for block, owners in enumerate(snapshot.owners):
                packed: Any = self._client.get(self._key(name, f"{own}:{block}"))
                owned, since = self._rows(name, block)
                rows = np.zeros((len(owners), int(dimension)), np.float32)
                known = self._packed(name, int(dimension)).unpack(packed or b"")[0][: len(rows)]
                rows[: len(known)] = known
                there = np.zeros(len(owners), np.bool_)
                same = min(len(owners), len(owned))
                # Read one after the other: what changed in between is left out, as if it had no vector.
                there[:same] = (owned["sequence"] == since)[:same] & (owned["number"][:same] == owners[:same])
                rows[~there] = 0
                snapshot.blocks[block], snapshot.owners[block] = rows, np.where(there, owners, FREE).astype(np.int32)
        return snapshot

    def switch(
        self, name: str, model_id: str, *, before: GallerySettings, after: GallerySettings, drop_unable: bool = False
    ) -> int:
        with mapped_redis_errors(f"switching the model of gallery {name}"):
            said = settings_as_kept(self._script, name, before)
            call = ("migrate_switch", model_id, said, to_json(after), int(drop_unable), now_ms())
            return int(self._script.change(name, *call)[0])

    def end(self, name: str) -> None:
        with mapped_redis_errors(f"ending the migration of gallery {name}"):
            self._script.change(name, "migrate_end")

    def _packed(self, name: str, dimension: int) -> Rows:
        meta: Any = self._client.hmget(self._key(name, "meta"), "epoch", "sealed")
        epoch, sealed = meta
        if epoch is None:
            raise UnknownGallery(f"there is no gallery {name}")
        return self._script.rows.of(name, epoch.decode(), dimension, sealed == b"1")

    def _key(self, name: str, part: str) -> str:
        return self._script.key(name, part)
