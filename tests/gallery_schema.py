"""Every key of a gallery in Redis, recomputed from the others: nothing dangling, nothing missing.

Knows the schema by the head of gallery.lua, and none of the script's ways of writing it.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis

from kith.journal import BLOCK_ROWS

_OWNER = np.dtype([("number", "<u4"), ("quality", "<f4"), ("sequence", "<f8")])
_PARTS = ("meta", "templates", "subjects", "names", "external", "free", "log", "payloads", "migration", "unable")


@dataclass(slots=True)
class Stored:
    """A gallery as it stands in Redis, read in one transaction. templates: id → [number, slot, image, quality, ms,
    sequence]; subjects: number → record; log: sequence → fields; payloads: sequence → what is personal, JSON, and
    whatever follows it."""

    meta: dict[str, str]
    templates: dict[str, list[Any]]
    subjects: dict[int, dict[str, Any]]
    names: dict[str, int]
    external: dict[str, int]
    free: list[int]
    log: dict[int, dict[str, str]]
    payloads: dict[int, tuple[dict[str, Any], bytes]]
    blocks: list[bytes] = field(default_factory=list)
    owners: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)


def read(client: redis.Redis, prefix: str, name: str) -> Stored:
    """All of gallery `name` at one moment; fails when there are keys the schema does not know."""
    base = f"{prefix}:g:{name}"

    vectors, *counts = client.hmget(f"{base}:meta", "vectors", "next_slot", "next_subject")
    # One more of each: there may be more a moment later.
    most = [count + 1 for count in _extent(counts)]
    with client.pipeline(transaction=True) as pipe:
        for part in ("meta", "templates", "subjects", "names", "external", "payloads"):
            pipe.hgetall(f"{base}:{part}")
        pipe.lrange(f"{base}:free", 0, -1)
        pipe.xrange(f"{base}:log")
        pipe.keys(f"{base}:*")
        for kind, count in (((vectors or b"b").decode(), most[0]), ("o", most[0]), ("n", most[1])):
            for number in range(count):
                pipe.get(f"{base}:{kind}:{number}")
        meta, templates, subjects, names, external, payloads, free, log, keys, *packed = pipe.execute()
    blocks, chunks = _extent([meta[b"next_slot"], meta[b"next_subject"]])
    vectors = meta.get(b"vectors")
    # A set of another model's vectors belongs to a migration, which is looked at elsewhere.
    kinds = "bcow" if f"{base}:migration".encode() in keys else (vectors or b"b").decode() + "o"
    known = {f"{base}:{part}" for part in _PARTS} | {f"{base}:{kind}:{n}" for kind in kinds for n in range(blocks)}
    unknown = {key.decode() for key in keys} - known - {f"{base}:n:{n}" for n in range(chunks)}
    assert not unknown, f"keys the schema does not know: {unknown}"
    texts = [each or b"" for each in packed]
    return Stored(
        meta={key.decode(): value.decode() for key, value in meta.items()},
        templates={key.decode(): json.loads(value) for key, value in templates.items()},
        subjects={int(key): _whole(json.loads(value)) for key, value in subjects.items()},
        names={key.decode(): int(value) for key, value in names.items()},
        external={key.decode(): int(value) for key, value in external.items()},
        free=[int(slot) for slot in free],
        log={
            int(number.split(b"-")[0]): {key.decode(): value.decode() for key, value in fields.items()}
            for number, fields in log
        },
        payloads={int(number): _payload(text) for number, text in payloads.items()},
        blocks=texts[:blocks],
        owners=texts[most[0] :][:blocks],
        chunks=texts[2 * most[0] :][:chunks],
    )


def check(stored: Stored) -> None:
    """Fails where one part does not follow from the others."""
    _check_subjects(stored)
    _check_slots(stored)
    _check_log(stored)
    _check_what_subjects_remember(stored)


def told_of(stored: Stored, subject_ids: set[str]) -> list[str]:
    """Where subjects of these public ids are still told of, one line each."""
    places = {f"payload {number}": json.dumps(told) for number, (told, _) in stored.payloads.items()}
    places |= {f"subject {number}": json.dumps(record) for number, record in stored.subjects.items()}
    places |= {f"names {number}": chunk.decode() for number, chunk in enumerate(stored.chunks)}
    return [f"{who} in {place}" for place, text in places.items() for who in subject_ids if who in text]


def _check_subjects(stored: Stored) -> None:
    assert stored.names == {record["name"]: number for number, record in stored.subjects.items()}
    assert stored.external == {
        record["external_id"]: number for number, record in stored.subjects.items() if record["external_id"]
    }
    assert all(0 < number <= int(stored.meta["next_subject"]) for number in stored.subjects)
    for place, chunk in enumerate(stored.chunks):
        listed = {number: (subject_id, name) for number, subject_id, name in map(json.loads, chunk.splitlines())}
        assert len(listed) == len(chunk.splitlines()), "somebody is listed twice"
        assert listed == {
            number: (record["id"], record["name"])
            for number, record in stored.subjects.items()
            if number // BLOCK_ROWS == place
        }
    held = [template for record in stored.subjects.values() for template in record["templates"]]
    assert len(held) == len(set(held)), "a template stands twice"
    assert {t: n for n, record in stored.subjects.items() for t in record["templates"]} == {
        template: known[0] for template, known in stored.templates.items()
    }


def _check_slots(stored: Stored) -> None:
    used = int(stored.meta["next_slot"])
    taken = {known[1]: known for known in stored.templates.values()}
    assert len(taken) == len(stored.templates), "two templates in one slot"
    assert sorted(stored.free) == sorted(set(range(used)) - taken.keys())
    width = int(stored.meta["width"])
    for place, (block, packed) in enumerate(zip(stored.blocks, stored.owners, strict=True)):
        assert len(block) // width == len(packed) // _OWNER.itemsize
        assert len(block) % width == len(packed) % _OWNER.itemsize == 0
        for row, owner in enumerate(np.frombuffer(packed, _OWNER).tolist()):
            vector = block[row * width : (row + 1) * width]
            known = taken.pop(place * BLOCK_ROWS + row, None)
            if known is None:
                assert owner == (0, 0.0, 0.0), f"slot {place * BLOCK_ROWS + row} is free and has an owner"
                assert not any(vector), f"slot {place * BLOCK_ROWS + row} is free and has a vector"
            else:
                assert owner == (known[0], float(np.float32(float(known[3]))), known[5])
                assert any(vector)
    assert not taken, "templates in slots beyond the blocks"


def _check_log(stored: Stored) -> None:
    sequence, trimmed = int(stored.meta["sequence"]), int(stored.meta["trimmed"])
    assert list(stored.log) == list(range(trimmed + 1, sequence + 1))
    assert stored.payloads.keys() <= stored.log.keys(), "payloads of changes that are cut off"
    width = int(stored.meta["width"])
    for number, (told, vectors) in stored.payloads.items():
        fields = stored.log[number]
        assert told["n"] == int(fields["n"])
        slots = fields.get("slots", "").split()
        assert len(vectors) == (len(slots) * width if fields["op"] == "remove" else 0)
        if fields["op"] in ("enrol", "move", "remove") and "stripped" not in told:
            assert len(told["templates"]) == len(slots)
    for number in stored.log.keys() - stored.payloads.keys():
        assert stored.log[number]["op"] != "settings"


def _check_what_subjects_remember(stored: Stored) -> None:
    """Whatever tells of a subject must be found from it when it is forgotten."""
    remembered: dict[int, set[int]] = {}
    for number, record in stored.subjects.items():
        assert record["foreign"].keys() <= set(record["templates"])
        for change in record["changes"]:
            remembered.setdefault(abs(change), set()).add(number)
    # What those remember who ended without being forgotten, as the changes that ended them tell: they may come back.
    asleep = {
        abs(change)
        for number, (told, _) in stored.payloads.items()
        if told.get("before") and stored.log[number]["op"] in ("move", "remove")
        for change in json.loads(told["before"]).get("changes", ())
    }
    for number, (told, _) in stored.payloads.items():
        fields = stored.log[number]
        about = [told["n"]] if told["n"] else []
        if told.get("before") and fields["op"] in ("move", "remove"):
            about.append(int(fields["gone"]))
        for who in about:
            if who in stored.subjects:
                assert who in remembered.get(number, ()), f"change {number} tells of subject {who}, who does not know"
            else:
                found = number in remembered or number in asleep or fields.get("gone") == str(who)
                assert found, f"change {number} tells of subject {who}, who is no more, and nobody knows"


def _extent(counts: list[Any]) -> tuple[int, int]:
    slots, subjects = (int(each or 0) for each in counts)
    return -(-slots // BLOCK_ROWS), subjects // BLOCK_ROWS + 1


def _whole(record: dict[str, Any]) -> dict[str, Any]:
    return {"external_id": "", "templates": [], "changes": [], "foreign": {}, "metadata": {}} | record


def _payload(text: bytes) -> tuple[dict[str, Any], bytes]:
    header, _, vectors = text.partition(b"\n")
    return json.loads(header), vectors
