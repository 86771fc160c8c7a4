"""Reading a portable gallery: checked against its own sums before anything of it is used."""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from kith.errors import BrokenArchive, SealBroken
from kith.journal import Vectors
from kith.portable import manifest as stated
from kith.portable.manifest import MANIFEST, SUBJECTS, TEMPLATES, Manifest
from kith.portable.telling import Tell, silent
from kith.sealing import Sealer

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchivedSubject:
    """A subject as it was where it was exported."""

    number: int
    subject_id: str
    name: str
    created_ms: int
    external_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ArchivedTemplate:
    """subject: its number. vector: float32 (d,)."""

    template_id: str
    subject: int
    image: str
    quality: float
    enrolled_ms: int
    vector: Vectors


class Archive:
    """A portable gallery, open. Use as a context manager. Raises OSError, BrokenArchive."""

    def __init__(self, file: Path) -> None:
        self._where = str(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise BrokenArchive(f"{file} is no portable gallery, or was cut off: its end is missing") from None
        self.manifest: Manifest = stated.read(self._bytes(MANIFEST), self._where)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def verify(self, tell: Tell = silent) -> None:
        """Read every part. Raises BrokenArchive that names what is missing, altered or was never part of it."""
        there = set(self._zip.namelist()) - {MANIFEST}
        for extra in sorted(there - self.manifest.parts.keys()):
            raise BrokenArchive(f"{self._where}: {extra} does not belong to it, the manifest does not name it")
        for done, (name, part) in enumerate(self.manifest.parts.items()):
            tell("checking", done, len(self.manifest.parts))
            if name not in there:
                raise BrokenArchive(f"{self._where}: {name} is missing")
            digest = sha256()
            with self._open(name) as stream, self._blamed(name):
                while piece := stream.read(_CHUNK):
                    digest.update(piece)
            if digest.hexdigest() != part.sha256:
                raise BrokenArchive(f"{self._where}: {name} was altered, its SHA-256 is not the manifest's")

    def subjects(self) -> Iterator[ArchivedSubject]:
        """By number."""
        for each in self._lines(SUBJECTS):
            with self._blamed(SUBJECTS):
                said = (each["number"], each["id"], each["name"], each["created_ms"])
                yield ArchivedSubject(*said, each.get("external_id"), each.get("metadata", {}))

    def templates(self, sealer: Callable[[str, int], Sealer] | None = None) -> Iterator[ArchivedTemplate]:
        """By subject, one part of vectors in memory at a time. sealer: for (epoch, dimension) of sealed vectors.

        Raises SealBroken where the vectors are sealed and nothing to open them is given, or it does not.
        """
        if self.manifest.sealed and sealer is None:
            raise SealBroken(f"{self._where}: the vectors are sealed by keys {', '.join(self.manifest.sealed)}")
        opener = sealer(self.manifest.epoch, self.manifest.dimension) if self.manifest.sealed and sealer else None
        lines = self._lines(TEMPLATES)
        for name in sorted(each for each in self.manifest.parts if each.startswith("vectors/")):
            for vector in self._vectors(name, opener):
                each = next(lines, None)
                if each is None:
                    raise BrokenArchive(f"{self._where}: there are more vectors than lines in {TEMPLATES}")
                with self._blamed(TEMPLATES):
                    said = (each["id"], each["subject"], each["image"], float(each["quality"]), each["enrolled_ms"])
                    yield ArchivedTemplate(*said, vector)
        if next(lines, None) is not None:
            raise BrokenArchive(f"{self._where}: there are more lines in {TEMPLATES} than vectors")

    def images(self) -> Iterator[bytes]:
        """The pictures, as many as the manifest says."""
        for name in self.manifest.parts:
            if name.startswith("images/"):
                yield self._bytes(name)

    def _vectors(self, name: str, opener: Sealer | None) -> Vectors:
        with self._blamed(name):
            tensors = load(self._bytes(name))
            if opener is not None:
                return opener.open_many(tensors["rows"].tobytes()).whole(f"{self._where}: {name}")
            vectors = tensors["vectors"]
        if vectors.dtype != np.float32 or vectors.shape[1:] != (self.manifest.dimension,):
            raise BrokenArchive(f"{self._where}: {name} holds {vectors.dtype} {vectors.shape}, not float32 vectors")
        return vectors

    def _lines(self, name: str) -> Iterator[Any]:
        with self._open(name) as stream, self._blamed(name):
            for line in stream:
                yield json.loads(line)

    def _bytes(self, name: str) -> bytes:
        with self._open(name) as stream, self._blamed(name):
            return stream.read()

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._zip.open(name)
        except KeyError:
            raise BrokenArchive(f"{self._where}: {name} is missing") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as wrong:
            raise BrokenArchive(f"{self._where}: {name} cannot be read: {wrong}") from None

    @contextmanager
    def _blamed(self, name: str) -> Iterator[None]:
        wrongs = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, SafetensorError)
        try:
            yield
        except wrongs as wrong:
            raise BrokenArchive(f"{self._where}: {name} cannot be read: {wrong}") from None
