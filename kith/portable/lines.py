"""The lines of a portable gallery, and what they must be: whatever stands there is about to enter a gallery."""

import re
from dataclasses import dataclass, field
from typing import Any

from kith.enrolment import check_description
from kith.names import subject_name

_SUBJECT_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class ArchivedSubject:
    """A subject as it was where it was exported."""

    number: int
    subject_id: str
    name: str
    created_ms: int
    external_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArchivedTemplate:
    """A template without its vector. subject: its number."""

    template_id: str
    subject: int
    image: str
    quality: float
    enrolled_ms: int


def subject_of(said: Any) -> ArchivedSubject:
    """A line of subjects. Raises ValueError, TypeError, KeyError for what no gallery could have held."""
    found = ArchivedSubject(
        _is(int, said["number"]),
        _is(str, said["id"]),
        subject_name(_is(str, said["name"])),
        _is(int, said["created_ms"]),
        None if said.get("external_id") is None else _is(str, said["external_id"]),
        {_is(str, key): _is(str, value) for key, value in _is(dict, said.get("metadata", {})).items()},
    )
    if not _SUBJECT_ID.fullmatch(found.subject_id):
        raise ValueError(f"the id {found.subject_id[:40]!r} is not 16 hex digits")
    check_description(found.external_id, found.metadata)
    return found


def template_of(said: Any) -> ArchivedTemplate:
    """A line of templates. Raises as `subject_of`."""
    quality = _is((int, float), said["quality"])
    if not 0 <= quality <= 1:
        raise ValueError(f"the quality {quality:g} is not in 0..1")
    return ArchivedTemplate(
        _is(str, said["id"]),
        _is(int, said["subject"]),
        _is(str, said["image"]),
        float(quality),
        _is(int, said["enrolled_ms"]),
    )


def _is(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{str(value)[:40]!r} is of the wrong type")
    return value
