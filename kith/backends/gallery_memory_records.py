"""What a gallery in this process is made of: subjects, templates, entries of the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kith.journal import Op, Vectors
from kith.subjects import TemplateInfo


@dataclass(slots=True)
class Record:
    """A subject. changes: entries that tell of it, negative where only their `before` does and the rest is somebody
    else's; foreign: templates that were moved to it, and the entry that enrolled each for somebody else; described: the
    entry of its last description."""

    id: str
    name: str
    created_ms: int
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    templates: list[str] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)
    foreign: dict[str, int] = field(default_factory=dict)
    described: int = 0


@dataclass(slots=True)
class Template:
    """A template and whose it is."""

    number: int
    vector: Vectors
    info: TemplateInfo


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
