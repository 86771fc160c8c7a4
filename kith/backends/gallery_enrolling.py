"""Enrolling in Redis: subjects with their templates, in runs of the gallery script that keep nobody waiting."""

import json
import secrets
from collections.abc import Sequence
from itertools import groupby, islice
from typing import Any

import numpy as np

from kith.backends.gallery_rows import Rows
from kith.backends.gallery_script import Call, GalleryScript, checked
from kith.backends.redis_errors import mapped_redis_errors
from kith.enrolment import Enrolment, Introduction, check_description, check_enrolments
from kith.errors import UnknownGallery
from kith.jobs import now_ms
from kith.names import subject_name

#: Templates in one run of the script, during which nobody else is served.
_AT_ONCE = 64
#: Runs sent before the first answer is read.
_PIPELINE = 16

_quoted = json.JSONEncoder().encode


def enrol(script: GalleryScript, name: str, enrolments: Sequence[Enrolment]) -> list[int]:
    """See GalleryStore.enrol. Raises KeysUnavailable when the gallery has been sealed anew since its keys were read."""
    subjects = [subject_name(enrolment.subject) for enrolment in enrolments]
    with mapped_redis_errors(f"reading gallery {name}"):
        meta: Any = script.client.hmget(script.key(name, "meta"), "model_id", "dimension", "epoch", "sealed")
    model_id, dimension, epoch, sealed = meta
    if model_id is None:
        raise UnknownGallery(f"there is no gallery {name}")
    # Before anything is sent, so that one bad template leaves nothing behind. The script looks at the model once more.
    check_enrolments(name, model_id.decode(), int(dimension), enrolments)
    rows = script.rows.of(name, epoch.decode(), int(dimension), sealed == b"1")
    calls = _calls(name, model_id, subjects, enrolments, rows)
    sequences: list[int] = []
    with mapped_redis_errors(f"enrolling in gallery {name}"):
        for start in range(0, len(calls), _PIPELINE):
            for reply in script.run(calls[start : start + _PIPELINE]):
                sequences.extend(map(int, checked(name, reply)[0].split()))
    return sequences


def introduce(script: GalleryScript, name: str, subject: str, introduction: Introduction) -> int | None:
    """See GalleryStore.introduce."""
    check_description(introduction.external_id, introduction.metadata)
    with mapped_redis_errors(f"introducing a subject to gallery {name}"):
        model_id: Any = script.client.hget(script.key(name, "meta"), "model_id")
        told = json.dumps([subject_name(subject), _who(introduction, new_id()), 0])
        made = script.change(name, "enrol", model_id or b"", now_ms(), told, b"")[1]
    return int(made) if made else None


def new_id() -> str:
    """Of a subject: 16 hex digits."""
    return secrets.token_hex(8)


def _calls(
    name: str, model_id: bytes, subjects: Sequence[str], enrolments: Sequence[Enrolment], rows: Rows
) -> list[Call]:
    """Runs of the script, each with whole subjects; only a subject with more templates than fit is cut in several."""
    at_ms = now_ms()
    packed = iter(rows.pack(np.stack([each.vector for each in enrolments])) if enrolments else ())
    # Drawn together: one by one, each lets go of the interpreter's lock and waits for it.
    drawn = secrets.token_hex(8 * len(enrolments))
    ids = (drawn[start : start + 16] for start in range(0, len(drawn), 16))
    told: list[list[Any]] = []
    counts: list[int] = []
    for subject, group in groupby(zip(subjects, enrolments, strict=True), key=lambda pair: pair[0]):
        each = [enrolment for _, enrolment in group]
        for start in range(0, len(each), _AT_ONCE):
            some = each[start : start + _AT_ONCE]
            if not counts or counts[-1] + len(some) > _AT_ONCE:
                told.append([])
                counts.append(0)
            counts[-1] += len(some)
            told[-1] += [subject, _who(each[0].introduction, next(ids)), len(some)]
            for enrolment in some:
                told[-1] += [enrolment.template_id, _details(enrolment, at_ms), float(enrolment.quality)]
    # Two large arguments instead of many small ones: redis-py and the server take each one up singly.
    return [
        (name, "enrol", model_id, at_ms, json.dumps(groups), b"".join(islice(packed, count)))
        for groups, count in zip(told, counts, strict=True)
    ]


def _who(introduction: Introduction | None, fresh: str) -> str | dict[str, Any]:
    """How the script is told of somebody who may be new. fresh: his id, unless he brings one."""
    if introduction is None:
        return fresh
    said = {
        "created_ms": introduction.created_ms,
        "external_id": introduction.external_id,
        "metadata": dict(introduction.metadata),
    }
    # Without what is empty: Lua knows no null, and an empty table may be a list.
    return {"id": introduction.subject_id or fresh, **{key: value for key, value in said.items() if value}}


def _details(enrolment: Enrolment, at_ms: int) -> str:
    # As it is stored: the script would only take it apart and put it together again. The quality is text: JSON in Lua
    # keeps 14 digits.
    return f'{_quoted(enrolment.image)},"{float(enrolment.quality)!r}",{enrolment.enrolled_ms or at_ms}'
