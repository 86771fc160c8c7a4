"""Model packs: a folder of weights and the manifest that says how to use them; the model_id stamped on every vector.

    pack/
    ├── manifest.json          what Manifest below describes; the SHA-256 of every file is in it
    ├── embedder.safetensors   or .pt (a plain state dict) or .onnx
    └── detector.onnx          optional; without it photos must come as aligned crops

A folder without a manifest works too when `kith.known_weights` recognises its files by their hash. A pack is data that
may come from anywhere: nothing in it is executed, no file outside the folder is read, every hash is checked before use.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeVar

from kith import known_weights, wire
from kith.errors import InvalidPack
from kith.manifest import DetectorSpec, EmbedderSpec, Manifest, Simulation, parse

MANIFEST = "manifest.json"

#: Raised when our own detection, alignment or preprocessing code changes the vectors of the same weights: vectors made
#: before and after must not meet, although no file of the pack differs.
PIPELINE_VERSION = 1

S = TypeVar("S", EmbedderSpec, DetectorSpec)


@dataclass(frozen=True)
class Pack:
    """A folder whose files have been checked against `manifest`."""

    path: Path
    manifest: Manifest

    @cached_property
    def model_id(self) -> str:
        """See `model_id_of`."""
        return model_id_of(self.manifest)

    @property
    def dimension(self) -> int:
        """Length of this model's vectors."""
        return self.manifest.embedder.dimension

    @property
    def default_cutoff(self) -> float:
        """Cosine a match needs where no gallery was calibrated."""
        return self.manifest.default_cutoff

    @property
    def input_size(self) -> int:
        """Side of an aligned crop, pixels."""
        return self.manifest.embedder.input_size

    def read(self, spec: EmbedderSpec | DetectorSpec) -> bytes:
        """The bytes of one file of the pack, checked again: what is used is what was hashed, even if the file changed
        after `load_pack`. Raises InvalidPack."""
        if spec.file is None:
            raise InvalidPack(f"{self.path}: a {spec.format} model has no weights file")
        try:
            data = _inside(self.path, spec.file).read_bytes()
        except OSError as failed:
            raise InvalidPack(f"{self.path / spec.file} cannot be read: {failed.strerror}") from failed
        found = hashlib.sha256(data).hexdigest()
        if found != spec.sha256:
            raise InvalidPack(
                f"{self.path / spec.file} has SHA-256 {found}, its manifest says {spec.sha256}; fetch the pack again"
            )
        return data


def model_id_of(manifest: Manifest) -> str:
    """16 hex digits over all that changes a vector: weights, preprocessing, template, detector, our own pipeline.

    File names, notes, cutoff and simulated speed are not in it.
    """
    embedder = asdict(manifest.embedder)
    del embedder["file"]
    detector = manifest.detector
    parts = {
        "pipeline": PIPELINE_VERSION,
        "embedder": embedder,
        "detector": detector and {"kind": detector.kind, "sha256": detector.sha256},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def manifest_of(path: Path) -> Manifest:
    """What the pack in the folder `path` says of itself; its files are not checked. Raises InvalidPack."""
    if not path.is_dir():
        raise InvalidPack(f"{path} is not a folder; a model pack is a folder with {MANIFEST} and weights")
    file = path / MANIFEST
    return parse(file.read_bytes(), str(file)) if file.is_file() else _recognise(path)


def load_pack(path: Path) -> Pack:
    """The pack in the folder `path`, every file checked. Raises InvalidPack, naming the file and its fault."""
    path = Path(path).expanduser()
    pack = Pack(path, manifest_of(path))
    manifest = pack.manifest
    for spec in (manifest.embedder, manifest.detector):
        if spec is not None and spec.file is not None:
            pack.read(spec)
    return pack


def write_pack(path: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Pack:
    """Make a pack in the folder `path` from `files` (name → content, or the file to copy it from) and load it.

    The hashes in `manifest` are filled in here. The manifest is written last, so an interrupted call leaves nothing
    that loads. Raises InvalidPack when manifest and files do not fit together.
    """
    contents = {name: data.read_bytes() if isinstance(data, Path) else data for name, data in files.items()}
    manifest = replace(
        manifest,
        embedder=_with_hash(manifest.embedder, contents),
        detector=manifest.detector and _with_hash(manifest.detector, contents),
    )
    text = json.dumps(wire.to_dict(manifest), indent=2, ensure_ascii=False) + "\n"
    parse(text, str(path / MANIFEST))
    path.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        _write(_inside(path, name), data)
    _write(path / MANIFEST, text.encode())
    return load_pack(path)


def simulated_pack(path: Path, dimension: int = 128, seconds_per_batch: float = 0.0, batch: int = 32) -> Pack:
    """Write and load a pack without weights, for load tests: vectors depend on the crop alone, speed is as told.

    It has no detector, so its images must be aligned crops. See kith.runtimes.simulated.
    """
    manifest = Manifest(
        name="simulated",
        licence="none: there are no weights",
        source="made by kith; it tells pictures apart, not people",
        embedder=EmbedderSpec(format="simulated", dimension=dimension),
        default_cutoff=0.5,
        cutoff_note="chosen, not measured: equal pictures score 1",
        simulated=Simulation(seconds_per_batch, batch),
    )
    return write_pack(path, manifest, {})


def _recognise(path: Path) -> Manifest:
    """The manifest of a folder of bare files known by their hash."""
    found: dict[str, str] = {}
    for file in sorted(path.iterdir()):
        if file.suffix in known_weights.SUFFIXES and file.is_file():
            with file.open("rb") as opened:
                found[hashlib.file_digest(opened, "sha256").hexdigest()] = file.name
    manifest = known_weights.recognise(found)
    if manifest is None:
        raise InvalidPack(f"{path} has no {MANIFEST} and no weights that are known by their hash")
    return manifest


def _with_hash(spec: S, contents: Mapping[str, bytes]) -> S:
    if spec.file is None:
        return spec
    if spec.file not in contents:
        raise InvalidPack(f"the manifest names {spec.file}, which is not among the files {sorted(contents)}")
    return replace(spec, sha256=hashlib.sha256(contents[spec.file]).hexdigest())


def _inside(folder: Path, name: str) -> Path:
    """`folder`/`name`; a manifest must not make us read or write anything outside its folder, links included."""
    plain = PurePosixPath(name)
    # A backslash is a plain character here and a separator where the pack may go next.
    if plain.is_absolute() or ".." in plain.parts or "\\" in name or name == MANIFEST:
        raise InvalidPack(f"{folder}: {name!r} is not the name of a file inside the pack")
    file = folder / plain
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InvalidPack(f"{folder}: {name!r} is a link that leads out of the pack")
    return file


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with temporary.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)
