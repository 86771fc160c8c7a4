"""What a portable gallery says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kith.errors import BrokenArchive, MalformedMessage
from kith.gallery_settings import GallerySettings
from kith.names import gallery_name
from kith.wire import from_json, to_json

#: Raised when an older Kith could no longer read what is written; never for something added.
FORMAT = 1

MANIFEST, SUBJECTS, TEMPLATES = "manifest.json", "subjects.jsonl", "templates.jsonl"


@dataclass(frozen=True, slots=True)
class Part:
    """sha256: in hex."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Of the gallery called `gallery` at `sequence`. subjects, templates, images: how many are in the file.

    sealed: ids of the keys that open the vectors, in hex; empty where they stand in the clear. parts: by name.
    exported_ms: Unix milliseconds.
    """

    gallery: str
    model_id: str
    dimension: int
    epoch: str
    sequence: int
    settings: GallerySettings
    subjects: int
    templates: int
    images: int
    exported_ms: int
    sealed: tuple[str, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    format: int = FORMAT


def written(manifest: Manifest) -> str:
    """The manifest as it stands in the file."""
    return to_json(manifest)


def read(text: bytes, where: str) -> Manifest:
    """Raises BrokenArchive. where: the file, for the message."""
    try:
        manifest = from_json(Manifest, text)
        gallery_name(manifest.gallery)
    except (MalformedMessage, ValueError) as wrong:
        raise BrokenArchive(f"{where}: the manifest cannot be read: {wrong}") from None
    if manifest.format != FORMAT:
        raise BrokenArchive(f"{where} has format {manifest.format}, this Kith reads format {FORMAT}: upgrade it")
    return manifest
