"""What a gallery in this process keeps of another model, beside its own vectors."""

from dataclasses import dataclass, field

from kith.gallery_settings import GallerySettings
from kith.journal import Vectors


@dataclass(slots=True)
class OtherModel:
    """Vectors of another model beside a gallery's own, by template id, and why some have none. settings: in force when
    it last was the gallery's."""

    model_id: str
    dimension: int
    pack: str
    started_ms: int
    switched: int = 0
    settings: GallerySettings | None = None
    vectors: dict[str, Vectors] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)
