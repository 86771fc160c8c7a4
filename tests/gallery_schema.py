"""Every key of a gallery in Redis, recomputed from the others: nothing dangling, nothing missing.

Knows the schema by the head of gallery.lua, and none of the script's ways of writing it.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import numpy as np
import redis

from kith.journal import BLOCK_ROWS

_OWNER = np.dtype([("number", "<u4"), ("quality", "<f4"), ("sequence", "<f8")])
_PARTS = (
    *("meta", "templates", "subjects", "names", "external", "ended", "free", "log", "payloads"),
    *("migration", "unable"),
)


@dataclass(slots=True)
class Stored:
    """A gallery as it stands in Redis, read in one transaction. templates: id → [number, slot, image, quality, ms,
    sequence, told where there is any]; subjects: number → record; log: sequence → fields; payloads: sequence → what is
    personal, JSON, and whatever follows it; pictures: digest → how often there is something of it."""

    meta: dict[str, str]
    templates: dict[str, list[Any]]
    subjects: dict[int, dict[str, Any]]
    names: dict[str, int]
    external: dict[str, int]
    ended: dict[int, int]
    free: list[int]
    log: dict[int, dict[str, str]]
    payloads: dict[int, tuple[dict[str, Any], bytes]]
    migration: dict[str, str] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)
    blocks: list[bytes] = field(default_factory=list)
    owners: list[bytes] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    since: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    pictures: dict[str, int] = field(default_factory=dict)

    def vector(self, slot: int, *, other: bool = False) -> bytes:
        """What is packed in a slot, of the gallery's model or of the other one."""
        width = int((self.migration if other else self.meta)["width"])
        row = slot % BLOCK_ROWS * width
        return (self.others if other else self.blocks)[slot // BLOCK_ROWS][row : row + width]


def read(client: redis.Redis, prefix: str, name: str) -> Stored:
    """All of gallery `name` at one moment; fails when there are keys the schema does not know."""
    base = f"{prefix}:g:{name}"

    counts = client.hmget(f"{base}:meta", "next_slot", "next_subject")
    buckets = sorted(key.decode() for key in client.keys(f"{base}:i:*"))
    # One more of each: there may be more a moment later.
    most = [count + 1 for count in _extent(counts)]
    with client.pipeline(transaction=True) as pipe:
        for part in ("meta", "templates", "subjects", "names", "external", "ended", "payloads", "migration", "unable"):
            pipe.hgetall(f"{base}:{part}")
        pipe.lrange(f"{base}:free", 0, -1)
        pipe.xrange(f"{base}:log")
        pipe.keys(f"{base}:*")
        for bucket in buckets:
            pipe.hgetall(bucket)
        for kind, count in (*((kind, most[0]) for kind in "bcow"), ("n", most[1])):
            for number in range(count):
                pipe.get(f"{base}:{kind}:{number}")
        meta, templates, subjects, names, external, ended, payloads, migration, unable, free, log, keys, *packed = (
            pipe.execute()
        )
    counted, packed = packed[: len(buckets)], packed[len(buckets) :]
    blocks, chunks = _extent([meta[b"next_slot"], meta[b"next_subject"]])
    own = meta.get(b"vectors", b"b").decode()
    # Another model's vectors belong to a migration.
    kinds = "bcow" if migration else own + "o"
    known = {*buckets, *(f"{base}:{part}" for part in _PARTS)} | {
        f"{base}:{kind}:{n}" for kind in kinds for n in range(blocks)
    }
    unknown = {key.decode() for key in keys} - known - {f"{base}:n:{n}" for n in range(chunks)}
    # Answers to changes, each under a key of its own for some minutes.
    unknown = {key for key in unknown if not key.startswith(f"{base}:r:")}
    if any(key.startswith(f"{base}:i:") for key in unknown):
        # One more has come in between.
        return read(client, prefix, name)
    assert not unknown, f"keys the schema does not know: {unknown}"
    texts = [each or b"" for each in packed]
    parts = {kind: texts[at * most[0] :][:blocks] for at, kind in enumerate("bcow")}
    return Stored(
        meta={key.decode(): value.decode() for key, value in meta.items()},
        templates={key.decode(): json.loads(value) for key, value in templates.items()},
        subjects={int(key): _whole(json.loads(value)) for key, value in subjects.items()},
        names={key.decode(): int(value) for key, value in names.items()},
        external={key.decode(): int(value) for key, value in external.items()},
        ended={int(number): int(sequence) for number, sequence in ended.items()},
        free=[int(slot) for slot in free],
        log={
            int(number.split(b"-")[0]): {key.decode(): value.decode() for key, value in fields.items()}
            for number, fields in log
        },
        payloads={int(number): _payload(text) for number, text in payloads.items()},
        migration={key.decode(): value.decode() for key, value in migration.items()},
        unable={key.decode(): value.decode() for key, value in unable.items()},
        blocks=parts[own],
        owners=parts["o"],
        others=parts["c" if own == "b" else "b"],
        since=parts["w"],
        chunks=texts[4 * most[0] :][:chunks],
        pictures={
            f"{bucket[-3:]}{rest.decode()}": int(count)
            for bucket, counts in zip(buckets, counted, strict=True)
            for rest, count in counts.items()
        },
    )


def check(stored: Stored) -> None:
    """Fails where one part does not follow from the others."""
    _check_subjects(stored)
    _check_slots(stored)
    _check_log(stored)
    _check_migration(stored)
    _check_what_subjects_remember(stored)
    _check_who_ended(stored)
    _check_what_names_templates(stored)
    _check_pictures(stored)


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
        # One that was another model's ends where its last vector does, or has not begun.
        assert len(block) // width == len(packed) // _OWNER.itemsize or "model_since" in stored.meta
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
        named = len(told["templates"]) if fields["op"] in ("enrol", "move", "remove") else 0
        if named:
            assert named == len(slots) or (named < len(slots) and told["stripped"])
        if fields["op"] != "remove":
            assert not vectors
        elif number > int(stored.meta.get("model_since", 0)):
            assert len(vectors) == named * width
        else:
            # Of the model of the time, whose rows are of another length.
            assert bool(vectors) == (named > 0)
            assert not named or len(vectors) % named == 0
    for number in stored.log.keys() - stored.payloads.keys():
        assert stored.log[number]["op"] != "settings"


def _check_migration(stored: Stored) -> None:
    """The other model's vectors stand where templates are and say of which enrolment they are."""
    if not stored.migration:
        assert not stored.unable
        return
    assert stored.migration["set"] != stored.meta.get("vectors", "b")
    assert stored.migration["model_id"] != stored.meta["model_id"]
    width, have = int(stored.migration["width"]), 0
    taken = {known[1]: known for known in stored.templates.values()}
    for place, packed in enumerate(stored.since):
        for row, since in enumerate(np.frombuffer(packed, "<f8").tolist()):
            known = taken.get(place * BLOCK_ROWS + row)
            vector = stored.others[place][row * width : (row + 1) * width] if place < len(stored.others) else b""
            assert any(vector) == (since > 0), f"slot {place * BLOCK_ROWS + row} of the other model"
            assert since == 0 or (known is not None and since == known[5])
            have += since > 0
    assert have == int(stored.migration["have"])
    without = {each for each, known in stored.templates.items() if not _has_other(stored, known[1])}
    assert stored.unable.keys() <= without


def _has_other(stored: Stored, slot: int) -> bool:
    packed = stored.since[slot // BLOCK_ROWS] if slot // BLOCK_ROWS < len(stored.since) else b""
    return any(packed[slot % BLOCK_ROWS * 8 :][:8])


def _check_what_subjects_remember(stored: Stored) -> None:
    """Whatever tells of a subject must be found from it when it is forgotten."""
    remembered: dict[int, set[int]] = {}
    for number, record in stored.subjects.items():
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


def _check_who_ended(stored: Stored) -> None:
    latest = {int(fields["gone"]): number for number, fields in stored.log.items() if "gone" in fields}
    for who, number in stored.ended.items():
        assert who not in stored.subjects
        assert latest[who] == number
    for who, number in latest.items():
        if who not in stored.subjects and stored.payloads.get(number, ({}, b""))[0].get("before"):
            assert stored.ended[who] == number, f"subject {who} could not be found to be forgotten"


def _check_what_names_templates(stored: Stored) -> None:
    """Whatever names a template must be found from it, or from the removal that could bring it back."""
    naming: dict[str, set[int]] = {}
    for template, (_, _, _, _, _, sequence, *told) in stored.templates.items():
        naming.setdefault(template, set()).update([sequence], *told)
    for number, (told, _) in stored.payloads.items():
        if stored.log[number]["op"] == "remove":
            for template, _, _, _, others in told["templates"]:
                naming.setdefault(template, set()).update([number], others)
    for number, (told, _) in stored.payloads.items():
        if stored.log[number]["op"] in ("enrol", "move"):
            named = set(told["templates"])
            if told.get("before"):
                named |= set(json.loads(told["before"]).get("templates", ()))
            for template in named:
                assert number in naming.get(template, ()), f"change {number} names {template}, which does not know"


def _check_pictures(stored: Stored) -> None:
    """A picture is counted once for each template made of it, and for each removal that could bring one back."""
    removals = [told for number, (told, _) in stored.payloads.items() if stored.log[number]["op"] == "remove"]
    images = [each[2] for each in stored.templates.values()]
    images += [each[1] for told in removals for each in told["templates"]]
    counts = Counter(sha1(image.encode()).hexdigest()[:15] for image in images if image)
    assert stored.pictures == counts


def meant(stored: Stored, name: str) -> dict[int, str]:
    """Number → id of whoever is called so, and of those who ended under that name."""
    found = {number: record["id"] for number, record in stored.subjects.items() if record["name"] == name}
    for who, number in stored.ended.items():
        before = json.loads(stored.payloads.get(number, ({}, b""))[0].get("before") or "{}")
        if before.get("name") == name:
            found[who] = before["id"]
    return found


def _extent(counts: list[Any]) -> tuple[int, int]:
    slots, subjects = (int(each or 0) for each in counts)
    return -(-slots // BLOCK_ROWS), subjects // BLOCK_ROWS + 1


def _whole(record: dict[str, Any]) -> dict[str, Any]:
    return {"external_id": "", "templates": [], "changes": [], "metadata": {}} | record


def _payload(text: bytes) -> tuple[dict[str, Any], bytes]:
    header, _, vectors = text.partition(b"\n")
    return json.loads(header), vectors
