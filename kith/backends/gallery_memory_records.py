"""What a gallery in this process is made of: subjects, templates, entries of the journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kith.journal import Op, Vectors
from kith.subjects import SubjectDetail, TemplateInfo


@dataclass(slots=True)
class Record:
    """A subject. changes: entries that tell of it, negative where only their `before` does and the rest is somebody
    else's; described: the entry of its last description."""

    id: str
    name: str
    created_ms: int
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    templates: list[str] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    described: int = 0

    def is_noted_as(self, seen: SubjectDetail) -> bool:
        """Whether it is the subject that was seen, with the same external id and notes."""
        noted = self.id, self.external_id, dict(self.metadata)
        return noted == (seen.subject_id, seen.external_id, dict(seen.metadata))


@dataclass(slots=True)
class Template:
    """A template and whose it is. told: entries that name it, besides that of its enrolment."""

    number: int
    vector: Vectors
    info: TemplateInfo
    told: list[int] = field(default_factory=list)

    @property
    def tellers(self) -> list[int]:
        """All entries that name it; some may have been cut off."""
        return [self.info.sequence, *self.told]


@dataclass(slots=True)
class Incoming:
    """A template that is to be put into a slot. told: as of Template, where it was there before."""

    template_id: str
    vector: Vectors
    image: str
    quality: float
    enrolled_ms: int
    told: Sequence[int] = ()


@dataclass(slots=True)
class Removed:
    """A template that was taken out, as the entry tells of it. told: all entries that named it before."""

    template_id: str
    vector: Vectors
    info: TemplateInfo
    told: list[int]


@dataclass(slots=True)
class Entry:
    """An entry of the journal. told: what is personal about it, None once that was erased."""

    sequence: int
    op: Op
    at_ms: int
    number: int
    slots: tuple[int, ...] = ()
    source: int = 0
    gone: int = 0
    told: dict[str, Any] | None = None
