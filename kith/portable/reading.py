"""Reading a portable gallery: checked against its own sums, and for what no gallery could have held, before anything of
it is used."""

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from kith.enrolment import NORM_TOLERANCE
from kith.errors import BrokenArchive, SealBroken
from kith.journal import Vectors
from kith.portable import manifest as stated
from kith.portable.lines import ArchivedSubject, ArchivedTemplate, subject_of, template_of
from kith.portable.manifest import MANIFEST, SUBJECTS, TEMPLATES, Manifest
from kith.portable.telling import Tell, silent
from kith.sealing import Sealer

_CHUNK = 1 << 20


class Archive:
    """A portable gallery, open. Use as a context manager. Raises OSError, BrokenArchive."""

    def __init__(self, file: Path) -> None:
        self._where = str(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise BrokenArchive(f"{file} is no portable gallery, or was cut off: its end is missing") from None
        try:
            self.manifest: Manifest = stated.read(self._bytes(MANIFEST), self._where)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def verify(self, tell: Tell = silent) -> None:
        """Read every part. Raises BrokenArchive that names what is missing, altered, was never part of it, or cannot
        be. After that, only what is sealed may turn out not to be a vector."""
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
        self._check_lines()

    def subjects(self) -> Iterator[ArchivedSubject]:
        """By number."""
        for said in self._lines(SUBJECTS):
            with self._blamed(SUBJECTS):
                yield subject_of(said)

    def templates(
        self, sealer: Callable[[str, int], Sealer] | None = None
    ) -> Iterator[tuple[ArchivedTemplate, Vectors]]:
        """By subject, each with its vector, float32 (d,); one part of vectors in memory at a time. Verify first.

        sealer: for (epoch, dimension) of sealed vectors. Raises SealBroken where the vectors are sealed and nothing to
        open them is given, or it does not.
        """
        if self.manifest.sealed and sealer is None:
            raise SealBroken(f"{self._where}: the vectors are sealed by keys {', '.join(self.manifest.sealed)}")
        opener = sealer(self.manifest.epoch, self.manifest.dimension) if self.manifest.sealed and sealer else None
        vectors = (vector for name in self._shards() for vector in self._opened(name, self._tensor(name), opener))
        yield from zip(self._templates(), vectors, strict=True)

    def images(self) -> Iterator[bytes]:
        """The pictures, as many as the manifest says."""
        for name in self.manifest.parts:
            if name.startswith("images/"):
                yield self._bytes(name)

    def _check_lines(self) -> None:
        numbers, names, ids, templates, rows = set[int](), set[str](), set[str](), 0, 0
        for subject in self.subjects():
            known = (subject.number in numbers, subject.name in names, subject.subject_id in ids)
            if any(known):
                what = ("number", "name", "id")[known.index(True)]
                raise BrokenArchive(f"{self._where}: {SUBJECTS} has two subjects of the {what} of {subject.name!r}")
            numbers.add(subject.number)
            names.add(subject.name)
            ids.add(subject.subject_id)
        for template in self._templates():
            templates += 1
            if template.subject not in numbers:
                raise BrokenArchive(f"{self._where}: line {templates} of {TEMPLATES} is of no subject of {SUBJECTS}")
        for name in self._shards():
            tensor = self._tensor(name)
            rows += len(tensor if self.manifest.sealed else self._opened(name, tensor, None))
        if templates != rows:
            which = "more vectors than lines" if rows > templates else "more lines than vectors"
            raise BrokenArchive(f"{self._where}: {rows:,} vectors, {templates:,} lines in {TEMPLATES}: {which}")

    def _shards(self) -> list[str]:
        return sorted(each for each in self.manifest.parts if each.startswith("vectors/"))

    def _templates(self) -> Iterator[ArchivedTemplate]:
        for said in self._lines(TEMPLATES):
            with self._blamed(TEMPLATES):
                yield template_of(said)

    def _tensor(self, name: str) -> Any:
        with self._blamed(name):
            return load(self._bytes(name))["rows" if self.manifest.sealed else "vectors"]

    def _opened(self, name: str, tensor: Any, opener: Sealer | None) -> Vectors:
        if opener is not None:
            return opener.open_many(tensor.tobytes()).whole(f"{self._where}: {name}")
        if tensor.dtype != np.float32 or tensor.shape[1:] != (self.manifest.dimension,):
            raise BrokenArchive(f"{self._where}: {name} holds {tensor.dtype} {tensor.shape}, not float32 vectors")
        norms = np.linalg.norm(tensor.astype(np.float64), axis=1)
        # Written so that a NaN norm fails it too.
        for row in np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE)):
            raise BrokenArchive(f"{self._where}: {name}: vector {row + 1} has the norm {norms[row]:.6g}, not 1")
        found: Vectors = tensor
        return found

    def _lines(self, name: str) -> Iterator[Any]:
        with self._open(name) as stream, self._blamed(name):
            for line in stream:
                yield json.loads(line)

    def _bytes(self, name: str) -> bytes:
        with self._open(name) as stream, self._blamed(name):
            return stream.read()

    def _open(self, name: str) -> IO[bytes]:
        try:
            if self._zip.getinfo(name).compress_type != zipfile.ZIP_STORED:
                # So nothing in it is larger than the file is.
                raise BrokenArchive(f"{self._where}: {name} is compressed; nothing in a portable gallery is")
            return self._zip.open(name)
        except KeyError:
            raise BrokenArchive(f"{self._where}: {name} is missing") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as wrong:
            raise BrokenArchive(f"{self._where}: {name} cannot be read: {wrong}") from None

    @contextmanager
    def _blamed(self, name: str) -> Iterator[None]:
        wrongs = (zipfile.BadZipFile, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
        try:
            yield
        except (*wrongs, SafetensorError) as wrong:
            raise BrokenArchive(f"{self._where}: {name} cannot be read: {wrong}") from None
