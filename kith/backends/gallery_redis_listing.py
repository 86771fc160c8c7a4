"""What galleries in Redis are listed with: their own facts, and their subjects. gallery.lua documents the keys."""

import json
from collections.abc import Sequence
from typing import Any

import redis

from kith.backends.gallery_script import GalleryScript
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import JobRejected, UnknownGallery
from kith.gallery import GalleryDamaged
from kith.gallery_settings import GallerySettings
from kith.subjects import GalleryInfo, SubjectInfo
from kith.wire import from_json, to_json

_SCAN = 1000
_META = ("model_id", "dimension", "sequence", "settings", "created_ms", "epoch")


def read_infos(script: GalleryScript, names: Sequence[str]) -> list[GalleryInfo | GalleryDamaged | None]:
    """The facts of each gallery, None where there is none of the name; or why they cannot be read."""
    with mapped_redis_errors("reading galleries"), script.client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(script.key(name, "meta"), *_META)
            pipe.hlen(script.key(name, "subjects"))
            pipe.hlen(script.key(name, "templates"))
        # One whose keys are of another kind is no other's trouble.
        replies = pipe.execute(raise_on_error=False)
    grouped = zip(names, *(replies[start::3] for start in range(3)), strict=True)
    return [_info(script, name, *facts) for name, *facts in grouped]


def read_subjects(script: GalleryScript, name: str) -> list[SubjectInfo]:
    """See GalleryStore.subjects; empty for an unknown gallery."""
    with mapped_redis_errors(f"listing gallery {name}"):
        # A dict, as HSCAN may hand out an entry twice.
        records = dict(script.client.hscan_iter(script.key(name, "subjects"), count=_SCAN))
    return sorted((_subject(json.loads(each)) for each in records.values()), key=lambda subject: subject.name)


def settings_as_kept(script: GalleryScript, name: str, seen: GallerySettings) -> str | bytes:
    """`seen` in the words in which the gallery has them, for the script to compare: another version may write the same
    settings otherwise. Where it has others, some that are not theirs. Raises UnknownGallery."""
    text: Any = script.client.hget(script.key(name, "meta"), "settings")
    if text is None:
        raise UnknownGallery(f"there is no gallery {name}")
    return text if from_json(GallerySettings, text) == seen else to_json(seen)


def _info(
    script: GalleryScript, name: str, meta: Any, subjects: Any, templates: Any
) -> GalleryInfo | GalleryDamaged | None:
    try:
        for fact in (meta, subjects, templates):
            if isinstance(fact, redis.exceptions.ResponseError):
                raise ValueError(str(fact))
        if not any(meta):
            return None
        lacking = [field for field, value in zip(_META, meta, strict=True) if value is None]
        if lacking:
            raise ValueError(f"{', '.join(lacking)} are not there")
        model_id, dimension, sequence, settings, created_ms, epoch = (value.decode() for value in meta if value)
        own = from_json(GallerySettings, settings)
        return GalleryInfo(
            *(name, model_id, int(dimension), int(sequence), subjects, templates, own),
            created_ms=int(created_ms),
            epoch=epoch,
        )
    except (ValueError, JobRejected) as fault:
        return GalleryDamaged(
            f"gallery {name} was damaged in Redis, at {script.key(name, 'meta')}: {fault}; kith gallery restore an "
            "export of it under another name, or kith gallery forget it"
        )


def _subject(record: Any) -> SubjectInfo:
    return SubjectInfo(
        record["id"],
        record["name"],
        len(record.get("templates", ())),
        int(record["created_ms"]),
        record.get("external_id"),
    )
