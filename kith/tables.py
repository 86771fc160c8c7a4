"""Vectors with names, as other systems hand them over: `open_table` for .csv, .npy beside a .csv, and .npz.

.csv, with a header, UTF-8: `subject`; `vector` (base64 of float32 little endian) or `v0`, `v1`, …; and where there are
any `external_id`, `image` (key in the image store), `quality` (0..1), `template_id` and `model_id`.
.npy: float32 (n, d), with a .csv of the same columns but the vector, a line for each row. .npz: the arrays `vectors`
and `subjects`, and where there are any `external_ids`, `images`, `qualities`; it is read whole, the others row by row.
"""

import base64
import csv
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from zipfile import BadZipFile

import numpy as np

from kith.errors import Rejected
from kith.journal import Vectors

#: Columns of a table besides the vector.
COLUMNS = ("subject", "external_id", "image", "quality", "template_id", "model_id")

#: Rows of a mapped array copied in one go: few enough that a row which is kept keeps little else.
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """number: from 1 on, the header not counted. vector: float32 (d,), not looked at yet; None where it could not be
    read, which `wrong` says."""

    number: int
    cells: Mapping[str, str]
    vector: Vectors | None
    wrong: str = ""


class Table(Protocol):
    """A file of rows. Use as a context manager. files: it, and what is read beside it. total: how many rows, 0 where
    nobody counted them. normalise: bring vectors to length 1 instead of refusing those that are not."""

    files: tuple[Path, ...]
    total: int
    normalise: bool

    def rows(self, after: int) -> Iterator[Row]:
        """The rows beyond number `after`. Raises Rejected where the file cannot be read on."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None: ...


def open_table(file: Path, names: Path | None = None, *, normalise: bool = False) -> Table:
    """Raises Rejected for a file that is no such table, OSError."""
    try:
        return _opened(file, names, normalise)
    except (ValueError, EOFError, BadZipFile, zlib.error) as wrong:
        # NumPy's words for what is no array, or holds Python objects, which are never unpickled.
        raise Rejected(f"{file} cannot be read: {wrong}") from None


def _opened(file: Path, names: Path | None, normalise: bool) -> Table:
    kind = file.suffix.lower()
    if (kind == ".npy") != (names is not None):
        raise Rejected("names belong beside a .npy, a row for each vector: import v.npy --names names.csv")
    if kind == ".csv":
        return CsvTable(file, normalise)
    if kind == ".npy":
        assert names is not None
        return NpyTable(file, names, normalise)
    if kind == ".npz":
        return NpzTable(file, normalise)
    raise Rejected(f"{file} is not a .csv, .npy or .npz")


class CsvTable:
    """See the module. Read line by line; empty lines are none."""

    def __init__(self, file: Path, normalise: bool, *, vectors: bool = True) -> None:
        self.files: tuple[Path, ...] = (file,)
        self.normalise, self.total = normalise, 0
        self._text = file.open(newline="", encoding="utf-8-sig")
        self._records = self._read()
        try:
            header = next(self._records, [])
            if "subject" not in header:
                raise Rejected(f"{file}: the first line names no column `subject`")
            self._places = {name: header.index(name) for name in COLUMNS if name in header}
            self._packed = header.index("vector") if "vector" in header else None
            numbered = [place for place, name in enumerate(header) if name[:1] == "v" and name[1:].isdecimal()]
            self._numbers = sorted(numbered, key=lambda place: int(header[place][1:]))
            self._width = len(header)
            if vectors and self._packed is None and not self._numbers:
                raise Rejected(f"{file}: there is neither a column `vector` nor v0, v1, …")
        except Rejected:
            self._text.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._text.close()

    def rows(self, after: int) -> Iterator[Row]:
        """See Table."""
        for number, cells in enumerate(islice(self._records, after, None), after + 1):
            if len(cells) != self._width:
                yield Row(number, {}, None, f"{len(cells)} cells, the header has {self._width}")
                continue
            said = {name: cells[place] for name, place in self._places.items()}
            try:
                vector = self._vector(cells)
            except ValueError as wrong:
                yield Row(number, said, None, f"the vector cannot be read: {wrong}")
            else:
                yield Row(number, said, vector)

    def _read(self) -> Iterator[list[str]]:
        reader = csv.reader(self._text)
        try:
            yield from filter(None, reader)
        except csv.Error as wrong:
            # Most often a quotation mark that is never closed.
            raise Rejected(f"{self.files[0]}: line {reader.line_num} cannot be read: {wrong}") from None
        except UnicodeDecodeError as wrong:
            raise Rejected(f"{self.files[0]}: what follows line {reader.line_num} is no UTF-8: {wrong}") from None

    def _vector(self, cells: list[str]) -> Vectors | None:
        if self._packed is not None:
            return np.frombuffer(base64.b64decode(cells[self._packed], validate=True), "<f4").astype(np.float32)
        if not self._numbers:
            return None
        return np.array([float(cells[place]) for place in self._numbers], np.float32)


class NpyTable:
    """See the module. The vectors are mapped, not read whole."""

    def __init__(self, file: Path, names: Path, normalise: bool) -> None:
        self.files: tuple[Path, ...] = (file, names)
        self.normalise = normalise
        # Not np.load, which takes a .npz by this name too.
        self._vectors = _matrix(file, np.lib.format.open_memmap(file, mode="r"))
        self.total = len(self._vectors)
        self._names = CsvTable(names, normalise, vectors=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._names.__exit__()

    def rows(self, after: int) -> Iterator[Row]:
        """See Table. Raises Rejected at the end when there are more names than vectors, or fewer."""
        number, (file, names) = after, self.files
        first, block = after, np.empty((0, 0), np.float32)
        for row in self._names.rows(after):
            number = row.number
            if number > self.total:
                raise Rejected(f"{names} has more rows than the {self.total} vectors of {file}")
            if number > first + len(block):
                first = number - 1
                block = np.array(self._vectors[first : first + _ROWS_AT_ONCE], np.float32)
            yield row if row.wrong else Row(number, row.cells, block[number - 1 - first])
        if number < self.total:
            raise Rejected(f"{names} ends after {number} rows, {file} has {self.total} vectors")


class NpzTable:
    """See the module."""

    def __init__(self, file: Path, normalise: bool) -> None:
        self.files: tuple[Path, ...] = (file,)
        self.normalise = normalise
        with file.open("rb") as opened:
            if opened.read(2) != b"PK":
                raise Rejected(f"{file} is not what its name says, the arrays of np.savez")
        with np.load(file) as arrays:
            missing = {"vectors", "subjects"} - set(arrays.files)
            if missing:
                raise Rejected(f"{file}: there is no array {', '.join(sorted(missing))}")
            self._vectors = _matrix(file, arrays["vectors"])
            self.total = len(self._vectors)
            plural = {"subject": "subjects", "external_id": "external_ids", "image": "images", "quality": "qualities"}
            self._cells = {one: arrays[many] for one, many in plural.items() if many in arrays.files}
        for name, cells in self._cells.items():
            if cells.shape != (self.total,):
                raise Rejected(f"{file}: {name} has shape {cells.shape}, there are {self.total} vectors")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        pass

    def rows(self, after: int) -> Iterator[Row]:
        """See Table."""
        for index in range(after, self.total):
            said = {name: str(cells[index]) for name, cells in self._cells.items()}
            yield Row(index + 1, said, self._vectors[index].astype(np.float32))


def _matrix(file: Path, array: Any) -> Any:
    if array.ndim != 2 or array.dtype.kind != "f":
        raise Rejected(f"{file} holds {array.dtype} {array.shape}, not vectors of floating point numbers, one a row")
    # As a plain array: of a mapped one NumPy asks at every row whether it still is, for half the time of reading.
    return np.asarray(array)
