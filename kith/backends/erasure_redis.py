"""What forgetting and retention read and erase in Redis. Who owns the keys documents them: gallery.lua, ledger.lua."""

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any

import redis

from kith import wire
from kith.backends.gallery_pictures import in_use
from kith.backends.gallery_script import GalleryScript
from kith.backends.redis_errors import mapped_redis_errors
from kith.backends.watching_script import telling
from kith.errors import JobRejected
from kith.holdings import Holdings, Pending, together
from kith.imagestore import key_of
from kith.jobs import Lane
from kith.names import subject_name

#: Read in one round trip.
_AT_ONCE = 500

#: What a picture's key ends in, wherever it stands; Lua's JSON has another stroke before this one.
_DIGEST = re.compile(rb"/([0-9a-f]{64})")
#: Keys that hold no picture's: vectors, their owners and names, digests (gallery.lua), judged searches (samples.lua).
#: Nor does a picture stay because it is noted as one to be deleted.
_SILENT = re.compile(rb"g:[^:]+:(?:[bcown]:\d+|i:[0-9a-f]+)|samples(:.*)?|spared")
#: Out first, so that the server takes it when memory is full: whoever is forgotten makes room.
_NOTE = "redis.call('HDEL', KEYS[1], ARGV[1]) return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"
_SPARE = "redis.call('SREM', KEYS[1], ARGV[1]) return redis.call('SADD', KEYS[1], ARGV[1])"


class RedisErasure:
    """Implements kith.erasure.Erasure. `P:forgetting`, hash: digest of gallery and name -> Pending (JSON).
    `P:spared`, set: keys of pictures that retention deletes once no open job asks about them.
    `P:retention`, hash: gallery and what is kept -> id of the newest result looked at."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._redis: Any = client
        self._prefix = prefix
        self._galleries = GalleryScript(client, prefix)
        self._note = client.register_script(_NOTE)
        self._spare = client.register_script(_SPARE)
        self._ledger = client.register_script(telling() + _ledger())

    def holdings(self, gallery: str, subject: str) -> Holdings:
        with mapped_redis_errors(f"reading gallery {gallery}"):
            people = self._galleries.ask(gallery, "holdings", subject_name(subject), subject=subject)
        return together([_holdings(*each) for each in people])

    def in_use(self, images: Collection[str]) -> set[str]:
        wanted, used = set(images), set[str]()
        if not wanted:
            return used
        with mapped_redis_errors("looking for pictures in use"):
            for name in sorted(self._redis.smembers(f"{self._prefix}:galleries")):
                used |= in_use(self._galleries, name.decode(), wanted - used)
        return used

    def mentioned(self, images: Collection[str]) -> set[str]:
        wanted, found = set(images), set[str]()
        with mapped_redis_errors("looking for what tells of pictures"):
            for key in self._keys():
                if not _SILENT.fullmatch(key.removeprefix(f"{self._prefix}:".encode())):
                    for _, place, value in self._values_of(key):
                        digests = _DIGEST.findall(place.encode(errors="replace")) + _DIGEST.findall(value)
                        found |= wanted.intersection(key_of(digest.decode()) for digest in digests)
        return found

    def results(self, after: str, gallery: str, until: str = "+") -> Iterator[tuple[str, str | None]]:
        while True:
            with mapped_redis_errors("reading results"):
                rows = self._redis.xrange(f"{self._prefix}:results", f"({after}", until, count=_AT_ONCE)
                ids = [entry_id for entry_id, fields in rows if fields.get(b"gallery", b"").decode() == gallery]
                texts = (
                    dict(zip(ids, self._redis.hmget(f"{self._prefix}:results:told", ids), strict=True)) if ids else {}
                )
            for entry_id, text in texts.items():
                if text is not None:
                    yield entry_id.decode(), text.decode()
            if not rows:
                return
            after = rows[-1][0].decode()
            yield after, None

    def open_jobs(self) -> Iterator[tuple[str, dict[str, str]]]:
        with mapped_redis_errors("reading open jobs"):
            for key in self._redis.scan_iter(f"{self._prefix}:job:*", count=_AT_ONCE):
                job_id = key.decode().removeprefix(f"{self._prefix}:job:")
                if fields := self.open_job(job_id):
                    yield job_id, fields

    def open_job_ids(self) -> set[str]:
        with mapped_redis_errors("reading open jobs"), self._redis.pipeline(transaction=True) as pipe:
            # Together: a job goes from one to another all the time.
            for each in ("due", *(f"waiting:{lane}" for lane in Lane)):
                pipe.zrange(f"{self._prefix}:{each}", 0, -1)
            return {job_id.decode() for some in pipe.execute() for job_id in some}

    def open_job(self, job_id: str) -> dict[str, str]:
        with mapped_redis_errors("reading open jobs"):
            fields = self._redis.hgetall(f"{self._prefix}:job:{job_id}")
        return {name.decode(): text.decode(errors="replace") for name, text in fields.items()}

    def dead_letters(self) -> Iterator[tuple[str, str]]:
        with mapped_redis_errors("reading dead letters"):
            for dead_id, text in self._redis.hscan_iter(f"{self._prefix}:dead", count=_AT_ONCE):
                yield dead_id.decode(), text.decode(errors="replace")

    def amend_job(self, job_id: str, changes: Mapping[str, tuple[str, str]]) -> bool:
        return self._amend("job", job_id, changes)

    def amend_letter(self, dead_id: str, seen: str, text: str) -> bool:
        return self._amend("dead", "", {dead_id: (seen, text)})

    def amend_result(self, entry_id: str, seen: str, text: str) -> bool:
        return self._amend("told", "", {entry_id: (seen, text)})

    def pending(self, place: str) -> Pending | None:
        with mapped_redis_errors("reading what is being forgotten"):
            text = self._redis.hget(f"{self._prefix}:forgetting", place)
        try:
            return None if text is None else wire.from_json(Pending, text)
        except JobRejected:
            return None

    def note(self, place: str, pending: Pending | None) -> None:
        with mapped_redis_errors("noting what is being forgotten"):
            if pending is None:
                self._redis.hdel(f"{self._prefix}:forgetting", place)
            else:
                self._note(keys=[f"{self._prefix}:forgetting"], args=[place, wire.to_json(pending)])

    def forget_pending(self, epoch: str) -> None:
        with mapped_redis_errors("reading what is being forgotten"):
            for place, text in self._redis.hscan_iter(f"{self._prefix}:forgetting", count=_AT_ONCE):
                with suppress(JobRejected):
                    if wire.from_json(Pending, text).epoch == epoch:
                        self._redis.hdel(f"{self._prefix}:forgetting", place)

    def spare(self, images: Collection[str]) -> None:
        with mapped_redis_errors("noting pictures that open jobs ask about"):
            for each in sorted(images):
                self._spare(keys=[f"{self._prefix}:spared"], args=[each])

    def spared(self) -> set[str]:
        with mapped_redis_errors("reading which pictures are to be deleted"):
            return {key.decode() for key in self._redis.smembers(f"{self._prefix}:spared")}

    def spare_no_more(self, images: Collection[str]) -> None:
        if images:
            with mapped_redis_errors("noting which pictures are deleted"):
                self._redis.srem(f"{self._prefix}:spared", *images)

    def reached(self, what: str) -> str:
        with mapped_redis_errors("retention"):
            found = self._redis.hget(f"{self._prefix}:retention", what)
        return "0-0" if found is None else str(found.decode())

    def reach(self, what: str, entry_id: str) -> None:
        with mapped_redis_errors("retention"):
            self._redis.hset(f"{self._prefix}:retention", what, entry_id)

    def values(self) -> Iterator[tuple[str, str, bytes]]:
        with mapped_redis_errors("scanning everything"):
            for key in self._keys():
                yield from self._values_of(key)

    def widths(self, gallery: str) -> set[int]:
        with mapped_redis_errors(f"reading gallery {gallery}"):
            keys = (self._galleries.key(gallery, part) for part in ("meta", "migration"))
            found = [self._redis.hget(key, "width") for key in keys]
        return {int(width) for width in found if width is not None}

    def _keys(self) -> Iterator[bytes]:
        for pattern in (f"{self._prefix}:*", f"{self._prefix}.*", "unacked*", "_kombu*"):
            yield from self._redis.scan_iter(pattern, count=_AT_ONCE)

    def _values_of(self, key: bytes) -> Iterator[tuple[str, str, bytes]]:
        name, kind = key.decode(errors="replace"), self._redis.type(key)
        if kind == b"string":
            yield name, "", self._redis.get(key) or b""
        elif kind == b"hash":
            for field, value in self._redis.hscan_iter(key, count=_AT_ONCE):
                yield name, field.decode(errors="replace"), value
        elif kind == b"list":
            yield from ((name, place, value) for place, value in self._listed(key))
        elif kind == b"set":
            yield from ((name, "", value) for value in self._redis.sscan_iter(key, count=_AT_ONCE))
        elif kind == b"zset":
            yield from ((name, "", value) for value, _ in self._redis.zscan_iter(key, count=_AT_ONCE))
        elif kind == b"stream":
            yield from ((name, place, value) for place, value in self._streamed(key))

    def _listed(self, key: bytes) -> Iterator[tuple[str, bytes]]:
        start = 0
        while some := self._redis.lrange(key, start, start + _AT_ONCE - 1):
            yield from ((str(start + position), value) for position, value in enumerate(some))
            start += len(some)

    def _streamed(self, key: bytes) -> Iterator[tuple[str, bytes]]:
        after = "-"
        while rows := self._redis.xrange(key, after, "+", count=_AT_ONCE):
            for entry_id, fields in rows:
                for field, value in (fields or {}).items():
                    yield f"{entry_id.decode()} {field.decode(errors='replace')}", value
            after = f"({rows[-1][0].decode()}"

    def _amend(self, where: str, job_id: str, changes: Mapping[str, tuple[str, str]]) -> bool:
        with mapped_redis_errors("erasing"):
            triples = [part for field, (seen, text) in changes.items() for part in (field, seen, text)]
            return bool(self._ledger(args=[self._prefix, "amend", job_id, where, *triples]))


def _holdings(number: bytes, text: bytes, templates: Any, payloads: Any) -> Holdings:
    n, record = int(number), json.loads(text)
    ids, names, texts = {record["id"]}, {record["name"]}, {record.get("external_id") or ""}
    template_ids, images, rows = set[str](), set[str](), list[bytes]()
    for template_id, details, row, beside in templates:
        template_ids.add(template_id.decode())
        images.add(json.loads(details)[2])
        rows += [row, beside]
    for payload in payloads:
        header, _, vectors = payload.partition(b"\n")
        told = json.loads(header) if header else {}
        if told.get("n") != n and told.get("id") not in ids:
            # Of somebody who was merged into this subject: nobody else's payload is among its changes.
            ids.add(told.get("id") or "")
        names.add(told.get("name") or "")
        before = told.get("before")
        if "metadata" in told:
            texts |= {told.get("external_id") or "", (before or [""])[0] or ""}
        elif isinstance(before, str) and "templates" in told:
            ended = json.loads(before)
            ids.add(ended["id"])
            names.add(ended["name"])
            texts.add(ended.get("external_id") or "")
        elif isinstance(before, str):
            names.add(before)
        removed = [each for each in told.get("templates") or () if isinstance(each, list)]
        template_ids.update(each[0] for each in removed)
        images.update(each[1] for each in removed)
        # As long as those of the model of the time were, which the gallery may have left since.
        size = len(vectors) // max(1, len(removed))
        rows += [vectors[size * place : size * (place + 1)] for place in range(len(removed))]
    return Holdings(
        record["id"],
        subject_ids=frozenset(ids - {""}),
        names=frozenset(names - {""}),
        texts=frozenset(texts - {""}),
        templates=frozenset(template_ids),
        images=frozenset(images - {""}),
        rows=tuple(rows),
        current=len(templates),
        payloads=len(payloads),
        meant=(record["id"],),
    )


@functools.cache
def _ledger() -> str:
    return files("kith.backends").joinpath("ledger.lua").read_text()
