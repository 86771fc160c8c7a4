"""What a folder or a file of weights is: by its manifest, by its hash, by InsightFace's names, or as one is told."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kith import known_weights
from kith.checkpoints import MANIFEST, load_pack
from kith.errors import InvalidPack, Rejected
from kith.manifest import EmbedderSpec, Manifest
from kith.packs import insightface
from kith.packs.catalogue import Entry
from kith.packs.conventions import CUTOFF, CUTOFF_NOTE, Conventions, check_named
from kith.packs.probing import onnx_dimension

#: Until the hash of the file stands there.
_NO_HASH = "0" * 64

#: Characters a pack's name has not.
_OTHERS = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Parts:
    """A pack to be: its manifest, and name → content, or the file with it."""

    manifest: Manifest
    files: Mapping[str, bytes | Path]


def recognise(found: Path, source: Path, said: Conventions, entry: Entry | None = None) -> Parts:
    """The pack in `found`, a folder or one weights file; source: what the person named, for names and messages.

    Raises Rejected when its conventions have to be named, InvalidPack when it is not what it seems.
    """
    if entry is not None and entry.embedder_spec is not None:
        return _as_listed(found, entry)
    if (found / MANIFEST).is_file():
        pack = load_pack(found)
        specs = (pack.manifest.embedder, pack.manifest.detector)
        return Parts(pack.manifest, {s.file: found / s.file for s in specs if s is not None and s.file is not None})
    files = _weights_in(found)
    if not files:
        raise Rejected(
            f"{source} holds no weights: a pack is made of {', '.join(sorted(known_weights.SUFFIXES))} files, a folder "
            "or a .zip of them"
        )
    known = known_weights.recognise({_sha256(file): name for name, file in files.items()})
    if known is not None:
        return Parts(known, _named_by(known, files))
    parts = insightface.recognise(files)
    if parts is not None:
        return _of_insightface(parts, files, source)
    if len(files) > 1:
        raise Rejected(
            f"{source} holds several files of weights ({', '.join(files)}) and none that is known; name the embedding "
            "network itself, and the detector with --detector"
        )
    [file] = files.values()
    return _as_told(file, source, said)


def _as_listed(folder: Path, entry: Entry) -> Parts:
    assert entry.embedder_spec is not None
    manifest = Manifest(
        name=entry.name,
        licence=entry.licence,
        source=entry.source,
        embedder=entry.embedder_spec,
        detector=entry.detector_spec,
        default_cutoff=CUTOFF,
        cutoff_note=CUTOFF_NOTE,
    )
    return Parts(manifest, {file.name: folder / file.name for file in entry.files})


def _of_insightface(found: insightface.Found, files: Mapping[str, Path], source: Path) -> Parts:
    recogniser = files[found.recogniser]
    manifest = Manifest(
        name=_name_of(source),
        licence=insightface.LICENCE,
        source=insightface.SOURCE,
        embedder=insightface.embedder_of(found, onnx_dimension(recogniser.read_bytes(), str(recogniser))),
        detector=insightface.detector_of(found),
        default_cutoff=CUTOFF,
        cutoff_note=CUTOFF_NOTE,
        notes="Recognised by the names of its files.",
    )
    return Parts(manifest, _named_by(manifest, files))


def _as_told(file: Path, source: Path, said: Conventions) -> Parts:
    if file.suffix == ".onnx":
        check_named(said, str(source))
        data = file.read_bytes()
        name, spec = "embedder.onnx", EmbedderSpec(format="onnx", dimension=onnx_dimension(data, str(file)))
    else:
        # Imported here: an import of ONNX does without torch.
        from kith.networks import BUILDERS  # noqa: PLC0415
        from kith.networks.adopt import adopt  # noqa: PLC0415

        check_named(said, str(source), networks=sorted(BUILDERS))
        adopted = adopt(file.read_bytes(), str(file), said.network or "")
        name, data = "embedder.safetensors", adopted.weights
        spec = EmbedderSpec(format="safetensors", dimension=adopted.dimension, network=said.network)
    manifest = Manifest(
        name=_name_of(source),
        licence=said.licence or "",
        source=said.source or f"imported from {source.name}",
        embedder=replace(spec, file=name, sha256=_NO_HASH),
        default_cutoff=CUTOFF,
        cutoff_note=CUTOFF_NOTE,
    )
    return Parts(manifest, {name: data})


def _weights_in(found: Path) -> dict[str, Path]:
    """Name → file of what can be weights and is of use."""
    files = sorted(found.iterdir()) if found.is_dir() else [found]
    return {
        file.name: file
        for file in files
        if file.suffix in known_weights.SUFFIXES and file.is_file() and not insightface.ignored(file.name)
    }


def _named_by(manifest: Manifest, files: Mapping[str, Path]) -> dict[str, Path]:
    specs = (manifest.embedder, manifest.detector)
    return {spec.file: files[spec.file] for spec in specs if spec is not None and spec.file is not None}


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as fault:
        raise InvalidPack(f"{file} cannot be read: {fault.strerror}") from None


def _name_of(source: Path) -> str:
    name = _OTHERS.sub("-", source.resolve().stem.lower()).strip("-._")
    return name or "imported"
