"""Which model packs there are, and on what terms: shipped, imported, and those that `kith models pull` can get."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kith.checkpoints import MANIFEST, Pack
from kith.errors import InvalidPack
from kith.manifest import EmbedderSpec, Manifest, parse
from kith.packs.catalogue import CATALOGUE, Entry
from kith.packs.shipped import imported_packs, shipped_packs

#: Words by which publishers say that weights are not for everybody's use.
_RESTRICTED = re.compile(r"non-?commercial|research|evaluation|academic", re.IGNORECASE)

MODEL_CARD, EVALUATION = "MODEL_CARD.md", "evaluation.json"


@dataclass(frozen=True, slots=True)
class Listed:
    """One pack in a list. model_id: None before it is there. detector: None where faces must come aligned. size: bytes
    of all files. fault: why it cannot be used, else empty."""

    name: str
    where: Literal["shipped", "imported", "catalogue"]
    path: Path | None
    model_id: str | None
    embedder: str
    dimension: int | None
    detector: str | None
    terms: str
    size: int
    fault: str = ""


def list_packs(home: Path) -> list[Listed]:
    """Every pack by its manifest; the catalogue's without those that are imported under their own name.

    Files are not hashed: that is what `kith models verify` is for. A pack whose manifest is broken is listed with its
    fault.
    """
    imported = imported_packs(home)
    found = [_of_folder(name, "shipped", path) for name, path in shipped_packs().items()]
    found += [_of_folder(name, "imported", path) for name, path in imported.items()]
    return found + [_of_entry(entry) for entry in CATALOGUE if entry.name not in imported]


def manifest_of(path: Path) -> Manifest:
    """The manifest of the pack in the folder `path`, without its files being read. Raises InvalidPack."""
    file = path / MANIFEST
    try:
        return parse(file.read_bytes(), str(file))
    except OSError as unreadable:
        raise InvalidPack(f"{file} cannot be read: {unreadable.strerror}") from None


def terms_of(licence: str) -> str:
    """A licence as a list shows it: what restricts the use stands first."""
    line = " ".join(licence.split())
    return f"RESEARCH ONLY: {line}" if _RESTRICTED.search(line) else line


def embedder_text(spec: EmbedderSpec) -> str:
    """Which network, and in which format."""
    return f"{spec.network} ({spec.format})" if spec.network else spec.format


def _of_folder(name: str, where: Literal["shipped", "imported"], path: Path) -> Listed:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        manifest = manifest_of(path)
    except InvalidPack as broken:
        return Listed(name, where, path, None, "", None, None, "", size, str(broken))
    spec, detector = manifest.embedder, manifest.detector
    return Listed(
        name,
        where,
        path,
        Pack(path, manifest).model_id,
        embedder_text(spec),
        spec.dimension,
        None if detector is None else detector.kind,
        terms_of(manifest.licence),
        size,
    )


def _of_entry(entry: Entry) -> Listed:
    return Listed(
        entry.name,
        "catalogue",
        None,
        None,
        entry.embedder,
        entry.dimension,
        entry.detector,
        terms_of(entry.licence),
        sum(file.size for file in entry.files),
    )
