"""Galleries in Redis or Valkey. Every change is one run of the script whose parts gallery.lua begins."""

import json
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import redis

from kith.backends.gallery_enrolling import enrol, introduce, new_id
from kith.backends.gallery_redis_catalogue import read_catalogue, subject_detail, template_info
from kith.backends.gallery_redis_listing import read_infos, read_subjects, settings_as_kept
from kith.backends.gallery_redis_log import read_changes, read_history
from kith.backends.gallery_redis_snapshot import read_snapshot
from kith.backends.gallery_resealing import reseal
from kith.backends.gallery_rows import RowFormats
from kith.backends.gallery_script import GalleryScript, checked
from kith.backends.gone_redis import erase_rows
from kith.backends.redis_errors import mapped_redis_errors
from kith.enrolment import Introduction, check_description, check_template_ids
from kith.errors import KeysUnavailable, Misconfigured, ModelMismatch, UnknownGallery
from kith.free_memory import overwriting_freed
from kith.gallery import (
    Catalogue,
    Change,
    Dropped,
    Enrolment,
    Forgotten,
    GalleryDamaged,
    GalleryInfo,
    HistoryEntry,
    Snapshot,
    SubjectDetail,
    SubjectInfo,
)
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.keys import KeyRing, KeyStore
from kith.names import gallery_name, subject_name
from kith.wire import to_json

_log = logging.getLogger(__name__)

_TRIM_AT_ONCE = 1000


class RedisGalleryStore:
    """GalleryStore on a client that does not decode replies. prefix: of all keys. keys: of encrypted galleries.
    encrypt: whether galleries made from now on are."""

    def __init__(
        self, client: redis.Redis, prefix: str = "kith", keys: KeyStore | None = None, *, encrypt: bool = False
    ) -> None:
        if client.get_connection_kwargs().get("decode_responses"):
            raise Misconfigured("the gallery's Redis client must not decode replies: vectors are bytes")
        self._client = client
        self._prefix = prefix
        self._script = GalleryScript(client, prefix, RowFormats(keys))
        self._encrypt = encrypt

    @property
    def formats(self) -> RowFormats:
        """How its vectors are kept, with the keys."""
        return self._script.rows

    def create(
        self, name: str, *, model_id: str, dimension: int, settings: GallerySettings | None = None
    ) -> GalleryInfo:
        gallery_name(name)
        text = to_json(settings or GallerySettings())
        with mapped_redis_errors(f"creating gallery {name}"):
            if not self._client.exists(self._script.key(name, "meta")):
                if self._client.hexists(f"{self._prefix}:gone", name):
                    # Said before a key is made for it; the script says so again.
                    checked(name, [b"being_forgotten"])
                width = self._script.rows.width(name, dimension, self._encrypt)
                made = (name, model_id, dimension, width, text, now_ms(), uuid.uuid4().hex, int(self._encrypt))
                checked(name, self._script.run([(name, "create", *made)])[0])
        info = self.info(name)
        if (info.model_id, info.dimension) != (model_id, dimension):
            raise ModelMismatch(
                f"gallery {name} is of model {info.model_id} ({info.dimension} numbers), not {model_id} ({dimension})"
            )
        return info

    def info(self, name: str) -> GalleryInfo:
        info = read_infos(self._script, [name])[0]
        if info is None:
            raise UnknownGallery(f"there is no gallery {name}")
        if isinstance(info, GalleryDamaged):
            raise info
        return info

    def galleries(self) -> list[GalleryInfo]:
        with mapped_redis_errors("listing galleries"):
            names: Any = self._client.smembers(f"{self._prefix}:galleries")
        infos = read_infos(self._script, sorted(name.decode() for name in names))
        for info in infos:
            if isinstance(info, GalleryDamaged):
                # Whoever looks after all of them goes on with the others.
                _log.error("%s", info)
        return [info for info in infos if isinstance(info, GalleryInfo)]

    def configure(self, name: str, settings: GallerySettings, *, over: GalleryInfo | None = None) -> int:
        with mapped_redis_errors(f"configuring gallery {name}"):
            seen = () if over is None else (settings_as_kept(self._script, name, over.settings), over.model_id)
            return int(self._script.change(name, "settings", to_json(settings), now_ms(), *seen)[0])

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        # Vectors are copied several times on their way out.
        with overwriting_freed():
            try:
                return enrol(self._script, name, enrolments)
            except KeysUnavailable:
                # Sealed anew since we read the keys. What was written before that stands, and is known by its ids.
                self._script.rows.renew(name)
                return enrol(self._script, name, enrolments)

    def introduce(self, name: str, subject: str, introduction: Introduction) -> int | None:
        return introduce(self._script, name, subject, introduction)

    def remove(self, name: str, subject: str, template_ids: Sequence[str]) -> int:
        ids = check_template_ids(template_ids)
        with mapped_redis_errors(f"removing templates from gallery {name}"):
            reply = self._script.change(name, "remove", subject_name(subject), now_ms(), *ids, subject=subject)
        return int(reply[0])

    def move(self, name: str, subject: str, template_ids: Sequence[str], to: str) -> int:
        ids = check_template_ids(template_ids)
        names = subject_name(subject), subject_name(to)
        with mapped_redis_errors(f"moving templates of gallery {name}"):
            reply = self._script.change(name, "move", *names, new_id(), now_ms(), *ids, subject=subject, new=to)
        return int(reply[0])

    def merge(self, name: str, subject: str, into: str) -> int:
        names = subject_name(subject), subject_name(into)
        with mapped_redis_errors(f"merging subjects of gallery {name}"):
            return int(self._script.change(name, "move", *names, "", now_ms(), subject=subject, new=into)[0])

    def describe(
        self,
        name: str,
        subject: str,
        *,
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        over: SubjectDetail | None = None,
    ) -> int:
        check_description(external_id, metadata)
        said = external_id or "", json.dumps(dict(metadata or {}))
        seen = () if over is None else (over.subject_id, over.external_id or "", json.dumps(dict(over.metadata)))
        with mapped_redis_errors(f"describing a subject of gallery {name}"):
            reply = self._script.change(
                name, "describe", subject_name(subject), *said, now_ms(), *seen, subject=subject, new=external_id or ""
            )
        return int(reply[0])

    def by_external_id(self, name: str, external_id: str) -> str:
        with mapped_redis_errors(f"reading gallery {name}"):
            reply = self._script.ask(name, "external", external_id, subject=external_id)
        return str(reply[0].decode())

    def history(self, name: str, *, before: int | None = None, limit: int = 100) -> list[HistoryEntry]:
        with mapped_redis_errors(f"reading the history of gallery {name}"):
            return read_history(self._script, name, before, limit)

    def undo(self, name: str, sequence: int) -> int:
        with mapped_redis_errors(f"undoing a change of gallery {name}"):
            return int(self._script.change(name, "undo", sequence, now_ms(), new=str(sequence))[0])

    def subjects(self, name: str) -> list[SubjectInfo]:
        self.info(name)
        return read_subjects(self._script, name)

    def show(self, name: str, subject: str) -> SubjectDetail:
        with mapped_redis_errors(f"reading gallery {name}"):
            record, *rest = self._script.ask(name, "show", subject_name(subject), subject=subject)
        templates = [
            template_info(template_id.decode(), json.loads(template))
            for template_id, template in zip(rest[::2], rest[1::2], strict=True)
        ]
        return subject_detail(json.loads(record), templates)

    def catalogue(self, name: str, *, vectors: bool = False) -> Catalogue:
        with mapped_redis_errors(f"reading gallery {name}"):
            return read_catalogue(self._script, name, vectors=vectors)

    def rename(self, name: str, old: str, new: str) -> int:
        names = subject_name(old), subject_name(new)
        with mapped_redis_errors(f"renaming in gallery {name}"):
            return int(self._script.change(name, "rename", *names, now_ms(), subject=old, new=new)[0])

    def ids(self, name: str, subject: str) -> list[str]:
        with mapped_redis_errors(f"reading gallery {name}"):
            return [each.decode() for each in self._script.ask(name, "ids", subject_name(subject), subject=subject)]

    def forgettable(self, name: str, subject: str) -> list[str]:
        with mapped_redis_errors(f"reading gallery {name}"):
            found = self._script.ask(name, "forgettable", subject_name(subject), subject=subject)
        return sorted({each.decode() for each in found})

    def forget(self, name: str, subject: str, *, only: Collection[str] = ()) -> Forgotten:
        clean = subject_name(subject)
        with mapped_redis_errors(f"forgetting a subject of gallery {name}"):
            sequence, subject_id, count, payloads, *images = self._script.change(
                name, "forget", clean, now_ms(), *only, subject=subject, discreet=True
            )
        keys = tuple(sorted({image.decode() for image in images if image}))
        return Forgotten(int(sequence), subject_id.decode(), clean, int(count), keys, int(payloads))

    def drop(self, name: str, epoch: str) -> Dropped:
        with mapped_redis_errors(f"dropping gallery {name}"):
            counts = self._script.change(name, "drop", name, epoch)
            erase_rows(self._client, self._prefix, epoch)
        # Another gallery of this name has other keys.
        self._script.rows.renew(name)
        return Dropped(*map(int, counts))

    def snapshot(self, name: str) -> Snapshot:
        with mapped_redis_errors(f"loading gallery {name}"):
            return read_snapshot(self._script, name)

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        return self.changes_many({name: after}, block_ms=block_ms, limit=limit).get(name, [])

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000, likely: Collection[str] = ()
    ) -> dict[str, list[Change]]:
        with mapped_redis_errors("following galleries"):
            return read_changes(self._script, after, block_ms=block_ms, limit=limit, likely=likely)

    def trim(self, name: str, keep_s: float) -> int:
        before_ms, cut = now_ms() - int(keep_s * 1000), 0
        while True:
            with mapped_redis_errors(f"trimming the log of gallery {name}"):
                some = int(self._script.ask(name, "trim", before_ms, _TRIM_AT_ONCE)[0])
            cut += some
            if some < _TRIM_AT_ONCE:
                return cut

    def reseal(self, name: str, ring: KeyRing, keys: KeyStore) -> int:
        """Seal everything by the newest key of `ring`, see kith.backends.gallery_resealing."""
        return reseal(self._script, name, ring, keys)

    def incarnation(self) -> str:
        with mapped_redis_errors("asking Redis who it is"):
            server: Any = self._client.info("server")
        # Whoever follows galleries asks once a second.
        self._script.rows.drop_unused()
        return str(server["run_id"])
