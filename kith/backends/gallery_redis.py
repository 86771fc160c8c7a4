"""Galleries in Redis or Valkey. Every change is one run of gallery.lua, whose head documents the keys."""

import json
import uuid
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import Any, NoReturn

import redis

from kith.backends.gallery_redis_log import read_changes, read_snapshot
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import Misconfigured, ModelMismatch, NameTaken, StateUnavailable, UnknownGallery, UnknownSubject
from kith.gallery import (
    Change,
    Enrolment,
    Forgotten,
    GalleryInfo,
    Snapshot,
    SubjectDetail,
    SubjectInfo,
    TemplateInfo,
    check_cutoff,
    check_enrolments,
)
from kith.jobs import now_ms
from kith.names import gallery_name, subject_name

#: Scripts sent before the first answer is read: enough to hide the round trip, little enough to buffer.
_PIPELINE = 100
_TRIM_AT_ONCE = 1000
_META = ("model_id", "dimension", "sequence", "cutoff", "created_ms", "epoch")


class RedisGalleryStore:
    """GalleryStore on a client that does not decode replies. prefix: of all keys."""

    def __init__(self, client: redis.Redis, prefix: str = "kith") -> None:
        if client.get_connection_kwargs().get("decode_responses"):
            raise Misconfigured("the gallery's Redis client must not decode replies: vectors are bytes")
        self._client = client
        self._prefix = prefix

    def create(self, name: str, *, model_id: str, dimension: int, cutoff: float | None = None) -> GalleryInfo:
        gallery_name(name)
        text = _cutoff_text(cutoff)
        with mapped_redis_errors(f"creating gallery {name}"):
            self._run([(name, "create", name, model_id, dimension, text, now_ms(), uuid.uuid4().hex)])
        info = self.info(name)
        if (info.model_id, info.dimension) != (model_id, dimension):
            raise ModelMismatch(
                f"gallery {name} is of model {info.model_id} ({info.dimension} numbers), not {model_id} ({dimension})"
            )
        return info

    def info(self, name: str) -> GalleryInfo:
        info = self._infos([name])[0]
        if info is None:
            raise UnknownGallery(f"there is no gallery {name}")
        return info

    def galleries(self) -> list[GalleryInfo]:
        with mapped_redis_errors("listing galleries"):
            names: Any = self._client.smembers(f"{self._prefix}:galleries")
        return [info for info in self._infos(sorted(name.decode() for name in names)) if info is not None]

    def set_cutoff(self, name: str, cutoff: float | None) -> int:
        with mapped_redis_errors(f"setting the cutoff of gallery {name}"):
            return int(self._ask(name, "cutoff", _cutoff_text(cutoff), now_ms())[0])

    def enrol(self, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
        subjects = [subject_name(enrolment.subject) for enrolment in enrolments]
        with mapped_redis_errors(f"reading gallery {name}"):
            meta: Any = self._client.hmget(self._key(name, "meta"), "model_id", "dimension")
        model_id, dimension = meta
        if model_id is None:
            raise UnknownGallery(f"there is no gallery {name}")
        # Before anything is sent, so that one bad template leaves nothing behind. No race: a gallery keeps its model.
        check_enrolments(name, model_id.decode(), int(dimension), enrolments)
        at_ms = now_ms()
        calls = [
            (
                *(name, "enrol", each.model_id, subject, uuid.uuid4().hex[:16], each.template_id),
                *(each.vector.astype("<f4", copy=False).tobytes(), each.image, repr(float(each.quality)), at_ms),
            )
            for subject, each in zip(subjects, enrolments, strict=True)
        ]
        sequences: list[int] = []
        with mapped_redis_errors(f"enrolling in gallery {name}"):
            for start in range(0, len(calls), _PIPELINE):
                replies = self._run(calls[start : start + _PIPELINE])
                sequences.extend(int(_checked(name, reply)[0]) for reply in replies)
        return sequences

    def subjects(self, name: str) -> list[SubjectInfo]:
        self.info(name)
        found: list[SubjectInfo] = []
        with mapped_redis_errors(f"listing gallery {name}"):
            # A dict, as HSCAN may hand out an entry twice.
            records = dict(self._client.hscan_iter(self._key(name, "subjects"), count=1000))
            ids = [subject_id.decode() for subject_id in records]
            counts: list[Any] = []
            for start in range(0, len(ids), 1000):
                with self._client.pipeline(transaction=False) as pipe:
                    for subject_id in ids[start : start + 1000]:
                        pipe.scard(self._key(name, f"of:{subject_id}"))
                    counts.extend(pipe.execute())
        for subject_id, record, count in zip(ids, records.values(), counts, strict=True):
            # None left: forgotten between the two readings.
            if count:
                subject = json.loads(record)
                found.append(SubjectInfo(subject_id, subject["name"], count, int(subject["created_ms"])))
        return sorted(found, key=lambda subject: subject.name)

    def show(self, name: str, subject: str) -> SubjectDetail:
        with mapped_redis_errors(f"reading gallery {name}"):
            subject_id, record, *rest = self._ask(name, "show", subject_name(subject), subject=subject)
        templates = []
        for slot, template in zip(rest[::2], rest[1::2], strict=True):
            _, template_id, image, quality, enrolled_ms, sequence = json.loads(template)
            templates.append(
                TemplateInfo(template_id, int(slot), image, float(quality), int(enrolled_ms), int(sequence))
            )
        known = json.loads(record)
        ordered = tuple(sorted(templates, key=lambda template: template.sequence))
        return SubjectDetail(subject_id.decode(), known["name"], int(known["created_ms"]), ordered)

    def rename(self, name: str, old: str, new: str) -> int:
        with mapped_redis_errors(f"renaming in gallery {name}"):
            reply = self._ask(name, "rename", subject_name(old), subject_name(new), now_ms(), subject=old, new=new)
        return int(reply[0])

    def forget(self, name: str, subject: str) -> Forgotten:
        clean = subject_name(subject)
        with mapped_redis_errors(f"forgetting a subject of gallery {name}"):
            sequence, subject_id, count, *images = self._ask(name, "forget", clean, now_ms(), subject=subject)
        keys = tuple(sorted({image.decode() for image in images}))
        return Forgotten(int(sequence), subject_id.decode(), clean, int(count), keys)

    def snapshot(self, name: str) -> Snapshot:
        with mapped_redis_errors(f"loading gallery {name}"):
            return read_snapshot(self._client, self._key(name), name)

    def changes(self, name: str, after: int, *, block_ms: int = 0, limit: int = 1000) -> list[Change]:
        return self.changes_many({name: after}, block_ms=block_ms, limit=limit).get(name, [])

    def changes_many(
        self, after: Mapping[str, int], *, block_ms: int = 0, limit: int = 1000
    ) -> dict[str, list[Change]]:
        with mapped_redis_errors("following galleries"):
            keyed = {self._key(name): (name, sequence) for name, sequence in after.items()}
            found = read_changes(
                self._client, {key: sequence for key, (_, sequence) in keyed.items()}, block_ms=block_ms, limit=limit
            )
        return {keyed[key][0]: changes for key, changes in found.items()}

    def trim(self, name: str, keep_s: float) -> int:
        before_ms, cut = now_ms() - int(keep_s * 1000), 0
        while True:
            with mapped_redis_errors(f"trimming the log of gallery {name}"):
                some = int(self._ask(name, "trim", before_ms, _TRIM_AT_ONCE)[0])
            cut += some
            if some < _TRIM_AT_ONCE:
                return cut

    def incarnation(self) -> str:
        with mapped_redis_errors("asking Redis who it is"):
            server: Any = self._client.info("server")
        return str(server["run_id"])

    def _key(self, name: str, part: str = "") -> str:
        base = f"{self._prefix}:g:{name}"
        return f"{base}:{part}" if part else base

    @cached_property
    def _script(self) -> tuple[str, str]:
        text = files("kith.backends").joinpath("gallery.lua").read_text(encoding="utf-8")
        # Redis names scripts by SHA-1; nothing is protected by it.
        return text, sha1(text.encode(), usedforsecurity=False).hexdigest()

    def _ask(self, name: str, operation: str, *arguments: object, subject: str = "", new: str = "") -> list[Any]:
        return _checked(name, self._run([(name, operation, *arguments)])[0], subject, new)

    def _run(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run operations in one round trip: (gallery, operation, *arguments) each; their raw replies."""
        text, digest = self._script
        for attempt in range(2):
            with self._client.pipeline(transaction=False) as pipe:
                for name, *arguments in calls:
                    pipe.evalsha(digest, 2, self._key(name), f"{self._prefix}:galleries", *arguments)
                try:
                    return pipe.execute()
                except redis.exceptions.NoScriptError:
                    # A new or restarted server. Should some have run before the script was flushed, then running all
                    # again changes nothing: only enrolments are sent together, and they know their template ids.
                    if attempt:
                        raise
            self._client.script_load(text)
        raise AssertionError("unreachable")

    def _infos(self, names: Sequence[str]) -> list[GalleryInfo | None]:
        with mapped_redis_errors("reading galleries"), self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(self._key(name, "meta"), *_META)
                pipe.hlen(self._key(name, "subjects"))
                pipe.hlen(self._key(name, "slots"))
            replies = pipe.execute()
        infos: list[GalleryInfo | None] = []
        for name, meta, subjects, templates in zip(names, replies[::3], replies[1::3], replies[2::3], strict=True):
            if meta[0] is None:
                infos.append(None)
                continue
            model_id, dimension, sequence, cutoff, created_ms, epoch = (value.decode() for value in meta)
            own = float(cutoff) if cutoff else None
            infos.append(
                GalleryInfo(
                    name, model_id, int(dimension), int(sequence), subjects, templates, own, int(created_ms), epoch
                )
            )
        return infos


def _checked(name: str, reply: list[Any], subject: str = "", new: str = "") -> list[Any]:
    code, *rest = reply
    if code != b"ok":
        _refuse(name, code.decode(), subject, new)
    return rest


def _refuse(name: str, code: str, subject: str, new: str) -> NoReturn:
    if code == "unknown_gallery":
        raise UnknownGallery(f"there is no gallery {name}")
    if code == "unknown_subject":
        raise UnknownSubject(f"nobody is called {subject!r} in gallery {name}")
    if code == "name_taken":
        raise NameTaken(f"another subject of gallery {name} is called {new!r}")
    if code == "model_mismatch":
        raise ModelMismatch(f"gallery {name} is of another model now: it was wiped and made anew meanwhile")
    raise StateUnavailable(f"gallery.lua answered {code!r}, which this version does not know")


def _cutoff_text(cutoff: float | None) -> str:
    check_cutoff(cutoff)
    return "" if cutoff is None else repr(float(cutoff))
