"""What a gallery tells of its subjects, their templates and its changes: plain records, no vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kith.gallery_settings import GallerySettings
from kith.journal import Op


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """A gallery at `sequence`. epoch: tells a gallery from another one that had its name before the store was wiped."""

    name: str
    model_id: str
    dimension: int
    sequence: int
    subjects: int
    templates: int
    settings: GallerySettings
    created_ms: int
    epoch: str = ""

    @property
    def cutoff(self) -> float | None:
        """The gallery's own cutoff, None for the model's."""
        return self.settings.cutoff


@dataclass(frozen=True, slots=True)
class SubjectInfo:
    """One line of the list of subjects; templates: how many. external_id: the caller's own, unique in the gallery."""

    subject_id: str
    name: str
    templates: int
    created_ms: int
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """What is known of one template besides its vector. image: key of its picture, '' where it has none. sequence: of
    the change that enrolled it."""

    template_id: str
    slot: int
    image: str
    quality: float
    enrolled_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class SubjectDetail:
    """One subject with all its templates, oldest first."""

    subject_id: str
    name: str
    created_ms: int
    templates: tuple[TemplateInfo, ...]
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a forget removed. subject_id: the first of GalleryStore.ids. images: keys of the pictures behind the removed
    templates, for the caller to delete; another subject may have been enrolled from the same picture. payloads: entries
    of the journal that were erased."""

    sequence: int
    subject_id: str
    subject: str
    templates: int
    images: tuple[str, ...]
    payloads: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a gallery held that was dropped. sequence: its last. payloads: entries of the journal."""

    sequence: int
    subjects: int
    templates: int
    payloads: int


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change as a person reads it. number, subject_id, subject: whom it is about and the name afterwards; empty for
    settings, and where `erased`: somebody it told of has been forgotten since.

    templates: ids that were added, removed or moved. source: number of the subject they were moved from. created,
    gone: whether the subject began with this change, and the number of the one that ended with it. before: for RENAME
    the former name, for SETTINGS the former settings, for MODEL the former model_id, for DESCRIBE (external_id,
    metadata), for what ended a subject its (id, name). settings: for MODEL, which changes them too, those before and
    after it.
    """

    sequence: int
    op: Op
    at_ms: int
    number: int = 0
    subject_id: str = ""
    subject: str = ""
    templates: tuple[str, ...] = ()
    source: int = 0
    created: bool = False
    gone: int = 0
    before: str | GallerySettings | tuple[str, Mapping[str, str]] | tuple[str, str] | None = None
    after: GallerySettings | tuple[str, Mapping[str, str]] | str | None = None
    settings: tuple[GallerySettings, GallerySettings] | None = None
    erased: bool = False
