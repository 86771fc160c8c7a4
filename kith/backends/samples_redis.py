"""Judged searches in Redis or Valkey. Every change is one run of samples.lua, whose head documents the keys."""

import logging
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from importlib.resources import files
from typing import Any

import redis

from kith import wire
from kith.backends.redis_errors import mapped_redis_errors
from kith.calibration_samples import KEPT, SearchSample
from kith.errors import JobRejected

_log = logging.getLogger(__name__)

#: Read or removed in one round trip.
_AT_ONCE = 1000


class RedisSamples:
    """Implements kith.calibration_samples.SampleStore. prefix: of all keys; kept: samples of one gallery."""

    def __init__(self, client: "redis.Redis", prefix: str = "kith", kept: int = KEPT) -> None:
        self._client: Any = client
        self._prefix = prefix
        self._kept = kept

    def put(self, sample: SearchSample) -> None:
        with mapped_redis_errors(f"keeping a sample of gallery {sample.gallery}"):
            self._run("put", sample.gallery, sample.decision_id, sample.at_ms, wire.to_json(sample), self._kept)

    def drop(self, gallery: str, decision_id: str) -> bool:
        return self._remove(gallery, [decision_id]) > 0

    def samples(self, gallery: str) -> list[SearchSample]:
        found: list[SearchSample] = []
        with mapped_redis_errors(f"reading the samples of gallery {gallery}"):
            # A dict, as HSCAN may hand out an entry twice.
            records = dict(self._client.hscan_iter(self._key(gallery), count=_AT_ONCE))
        for decision_id, record in records.items():
            try:
                found.append(wire.from_json(SearchSample, record))
            except JobRejected as unreadable:
                # Of a newer version: the others are samples all the same.
                _log.error("the sample of decision %s is skipped: %s", decision_id.decode(), unreadable)
        return sorted(found, key=lambda sample: (sample.at_ms, sample.decision_id))

    def count(self, gallery: str, after_ms: int = -1) -> int:
        with mapped_redis_errors(f"counting the samples of gallery {gallery}"):
            return int(self._client.zcount(self._key(gallery, "order"), f"({after_ms}", "+inf"))

    def trim(self, gallery: str, before_ms: int) -> int:
        gone = 0
        while True:
            with mapped_redis_errors(f"trimming the samples of gallery {gallery}"):
                some = int(self._run("trim", gallery, before_ms, _AT_ONCE))
            gone += some
            if some < _AT_ONCE:
                return gone

    def forget_images(self, keys: Collection[str]) -> int:
        erased = frozenset(keys)
        return self._forget(lambda sample: sample.image in erased) if erased else 0

    def forget_subject(self, subject_id: str) -> int:
        return self._forget(lambda sample: sample.subject_id == subject_id) if subject_id else 0

    def forget_gallery(self, gallery: str) -> int:
        with mapped_redis_errors(f"forgetting the samples of gallery {gallery}"):
            # Ids, not samples: what this version cannot read must go as well.
            ids = self._client.hkeys(self._key(gallery))
        return self._remove(gallery, [decision_id.decode() for decision_id in ids])

    def _forget(self, meant: Callable[[SearchSample], bool]) -> int:
        with mapped_redis_errors("listing galleries with samples"):
            galleries = sorted(name.decode() for name in self._client.smembers(f"{self._prefix}:samples"))
        return sum(
            self._remove(name, [sample.decision_id for sample in self.samples(name) if meant(sample)])
            for name in galleries
        )

    def _remove(self, gallery: str, decision_ids: Iterable[str]) -> int:
        ids, gone = list(decision_ids), 0
        with mapped_redis_errors(f"removing samples of gallery {gallery}"):
            for start in range(0, len(ids), _AT_ONCE):
                gone += int(self._run("remove", gallery, *ids[start : start + _AT_ONCE]))
        return gone

    def _key(self, gallery: str, part: str = "") -> str:
        base = f"{self._prefix}:samples:{gallery}"
        return f"{base}:{part}" if part else base

    @cached_property
    def _script(self) -> Any:
        # redis-py loads it again after the server has lost it.
        return self._client.register_script(files("kith.backends").joinpath("samples.lua").read_text(encoding="utf-8"))

    def _run(self, operation: str, gallery: str, *arguments: object) -> Any:
        keys = [self._key(gallery), self._key(gallery, "order"), f"{self._prefix}:samples"]
        return self._script(keys=keys, args=[operation, gallery, *arguments])
