"""What an enrolment says to the gallery script: subjects with their templates, in runs that keep nobody waiting."""

import json
import uuid
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from kith.backends.gallery_rows import Rows
from kith.backends.gallery_script import Call
from kith.enrolment import Enrolment, Introduction
from kith.jobs import now_ms

#: Templates in one run of the script, during which nobody else is served.
_AT_ONCE = 32


def enrol_calls(
    name: str, model_id: bytes, subjects: Sequence[str], enrolments: Sequence[Enrolment], rows: Rows
) -> list[Call]:
    """Runs of the script, each with whole subjects; only a subject with more templates than fit is cut in several."""
    at_ms = now_ms()
    calls: list[list[Any]] = []
    room = 0
    packed = iter(rows.pack(np.stack([each.vector for each in enrolments])) if enrolments else ())
    for subject, group in groupby(zip(subjects, enrolments, strict=True), key=lambda pair: pair[0]):
        each = [enrolment for _, enrolment in group]
        for start in range(0, len(each), _AT_ONCE):
            some = each[start : start + _AT_ONCE]
            if room < len(some):
                calls.append([name, "enrol", model_id, at_ms])
                room = _AT_ONCE
            room -= len(some)
            calls[-1] += [subject, who(each[0].introduction), len(some)]
            for enrolment in some:
                quality = repr(float(enrolment.quality))
                calls[-1] += [enrolment.template_id, next(packed), enrolment.image, quality]
                calls[-1].append(enrolment.enrolled_ms or "")
    return [tuple(call) for call in calls]


def who(introduction: Introduction | None) -> str:
    if introduction is None:
        return new_id()
    said = {
        "created_ms": introduction.created_ms,
        "external_id": introduction.external_id,
        "metadata": dict(introduction.metadata),
    }
    # Without what is empty: Lua knows no null, and an empty table may be a list.
    return json.dumps(
        {"id": introduction.subject_id or new_id(), **{key: value for key, value in said.items() if value}}
    )


def new_id() -> str:
    return uuid.uuid4().hex[:16]
