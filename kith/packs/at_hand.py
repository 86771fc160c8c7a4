"""The model packs that are on this machine, by their manifests: what is told of a model where nobody loads it."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kith.checkpoints import manifest_of
from kith.errors import Rejected
from kith.manifest import Manifest
from kith.packs.shipped import default_pack, imported_packs, resolve_pack, shipped_packs
from kith.settings import Settings


def main_manifest(settings: Settings) -> Manifest | None:
    """Of the installation's main model (`model.pack`), None where its pack is not here. Reads no weights."""
    folder: Path | None = None
    with suppress(Rejected):
        folder = default_pack() if settings.model.pack is None else resolve_pack(settings.model.pack, settings.home)
    return _manifest(folder)


def other_manifests(settings: Settings) -> Iterator[Manifest]:
    """Of the further models (`model.also`), then of all packs that are shipped or imported. Some come twice."""
    for folder in _folders(settings):
        manifest = _manifest(folder)
        if manifest is not None:
            yield manifest


def _folders(settings: Settings) -> Iterator[Path]:
    for named in settings.model.also:
        with suppress(Rejected):
            yield resolve_pack(named, settings.home)
    yield from shipped_packs().values()
    yield from imported_packs(settings.home).values()


def _manifest(folder: Path | None) -> Manifest | None:
    if folder is not None:
        with suppress(Rejected, OSError):
            return manifest_of(folder)
    return None
