"""Writing a portable gallery."""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from kith.catalogue import Catalogue
from kith.errors import ImageRejected
from kith.gallery import GalleryStore
from kith.imagestore import ImageStore
from kith.jobs import now_ms
from kith.journal import Vectors
from kith.portable.manifest import MANIFEST, SUBJECTS, TEMPLATES, Manifest, Part, written
from kith.portable.telling import Tell, silent
from kith.sealing import Sealer
from kith.subjects import TemplateInfo
from kith.whole_file import whole_file

#: Templates in one part of vectors: 32 MiB at 512 numbers.
SHARD_ROWS = 16_384


def export_gallery(
    store: GalleryStore,
    name: str,
    file: Path,
    *,
    images: ImageStore | None = None,
    sealer: Callable[[str, int], Sealer] | None = None,
    tell: Tell = silent,
) -> Manifest:
    """Write gallery `name` to `file`, which appears when it is whole, for its owner alone; what it holds.

    images: where the pictures of the templates are fetched from, None for a file without; one that is gone, or damaged
    there, is left out.
    sealer: for an (epoch, dimension), None for vectors in the clear. Takes as much memory as the gallery. Raises
    UnknownGallery, StateUnavailable, StoreUnavailable, OSError.
    """
    tell("reading", 0, 1)
    found = store.catalogue(name, vectors=True)
    seal = None if sealer is None else sealer(found.info.epoch, found.info.dimension)
    with whole_file(file) as opened, zipfile.ZipFile(opened, "w", zipfile.ZIP_STORED) as archive:
        manifest = _write(_Parts(archive), found, images, seal, tell)
        archive.writestr(MANIFEST, written(manifest))
    return manifest


@dataclass(slots=True)
class _Parts:
    archive: zipfile.ZipFile
    told: dict[str, Part] = field(default_factory=dict)

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        digest, size = sha256(), 0
        with self.archive.open(name, "w", force_zip64=True) as part:
            for piece in pieces:
                digest.update(piece)
                size += part.write(piece)
        self.told[name] = Part(digest.hexdigest(), size)


def _write(parts: _Parts, found: Catalogue, images: ImageStore | None, seal: Sealer | None, tell: Tell) -> Manifest:
    info = found.info
    parts.add(SUBJECTS, _subjects(found))
    parts.add(TEMPLATES, _templates(found))
    templates = [template for subject in found.subjects.values() for template in subject.templates]
    key_ids: set[str] = set()
    for shard, start in enumerate(range(0, len(templates), SHARD_ROWS)):
        tell("templates", start, len(templates))
        vectors = _stacked(found, templates[start : start + SHARD_ROWS])
        if seal is None:
            data = save({"vectors": vectors})
        else:
            key_ids.add(seal.sealing_key.hex())
            data = save({"rows": np.frombuffer(seal.seal_many(vectors), np.uint8).reshape(-1, seal.width)})
        parts.add(f"vectors/{shard:05}.safetensors", [data])
    kept = 0
    keys = sorted({template.image for template in templates} - {""}) if images is not None else []
    for done, key in enumerate(keys):
        assert images is not None
        tell("images", done, len(keys))
        try:
            picture = images.get(key)
        except ImageRejected:
            # It may never have been there, as with vectors from a table; the template is still good.
            continue
        parts.add(f"images/{key}", [picture])
        kept += 1
    return Manifest(
        *(info.name, info.model_id, info.dimension, info.epoch, info.sequence, info.settings),
        *(info.subjects, len(templates), kept, now_ms()),
        tuple(sorted(key_ids)),
        parts.told,
    )


def _stacked(found: Catalogue, templates: list[TemplateInfo]) -> Vectors:
    return np.stack([found.vector(each.slot) for each in templates])


def _subjects(found: Catalogue) -> Iterator[bytes]:
    for number, each in found.subjects.items():
        said = {"number": number, "id": each.subject_id, "name": each.name, "created_ms": each.created_ms}
        if each.external_id is not None:
            said["external_id"] = each.external_id
        yield _line({**said, "metadata": dict(each.metadata)} if each.metadata else said)


def _templates(found: Catalogue) -> Iterator[bytes]:
    for number, subject in found.subjects.items():
        for each in subject.templates:
            yield _line(
                {
                    "id": each.template_id,
                    "subject": number,
                    "image": each.image,
                    "quality": each.quality,
                    "enrolled_ms": each.enrolled_ms,
                }
            )


def _line(said: dict[str, object]) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
