"""Which pictures are compared with which, as CSV files say it: pairs, gallery and probes.

    pairs.csv                        identity1,image1,identity2,image2,same[,fold]
    gallery.csv, probes_known.csv, probes_unknown.csv        identity,image

An image is IDENTITY/IMAGE.jpg of the evaluated folder, with or without its ending. same: 1 or 0. fold: any word.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kith.crops import Labelled, Listing
from kith.errors import InvalidName, Rejected
from kith.names import subject_name

#: Names of the lists, where nobody names others.
PAIRS, GALLERY, KNOWN, UNKNOWN = "pairs.csv", "gallery.csv", "probes_known.csv", "probes_unknown.csv"

#: Folds by identity for pairs that come without.
_FOLDS = 10


@dataclass(frozen=True, slots=True)
class PairLists:
    """The pairs of a file: left with right, whether they show one person, and the fold of each."""

    file: Path
    left: tuple[Labelled, ...]
    right: tuple[Labelled, ...]
    same: tuple[bool, ...]
    folds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeLists:
    """Who is enrolled with which pictures, and with which ones is asked: of people enrolled, and of strangers."""

    files: tuple[Path, Path, Path]
    gallery: tuple[Labelled, ...]
    mated: tuple[Labelled, ...]
    non_mated: tuple[Labelled, ...]


@dataclass
class Index:
    """The pictures of a folder by what the lists call them. missing: label → why, of those that are not there."""

    listing: Listing
    missing: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._found: dict[tuple[str, str], Labelled] = {}
        for image in self.listing.images:
            self._found.setdefault((image.subject, image.path.stem), image)
        # An ending named is an ending meant.
        self._found.update({(image.subject, image.path.name): image for image in self.listing.images})

    def find(self, identity: str, name: str, file: Path) -> Labelled | None:
        """The picture `name` of `identity`; None, and noted as missing, when it is not in the folder."""
        try:
            image = self._found.get((subject_name(identity), name))
        except InvalidName:
            image = None
        if image is None:
            self.missing[f"{identity}/{name}"] = f"named in {file.name}, not in the folder"
        return image


def read_pairs(file: Path, index: Index) -> PairLists:
    """The pairs of `file` whose two pictures are in the folder; the others are noted in `index.missing`.

    Raises Rejected, naming file and line, for a table of another kind, and when no picture at all is there.
    """
    left, right, same, folds = [], [], [], []
    for line, row in _rows(file, ("identity1", "image1", "identity2", "image2", "same")):
        if row["same"].strip().lower() not in ("0", "1", "true", "false"):
            raise Rejected(f"{file}, line {line}: same is {row['same']!r}, it takes 1 or 0")
        is_same = row["same"].strip().lower() in ("1", "true")
        if is_same != (row["identity1"] == row["identity2"]):
            raise Rejected(f"{file}, line {line}: same is {row['same']} for {row['identity1']} and {row['identity2']}")
        one = index.find(row["identity1"], row["image1"], file)
        other = index.find(row["identity2"], row["image2"], file)
        if one is not None and other is not None:
            left.append(one)
            right.append(other)
            same.append(is_same)
            folds.append(row.get("fold") or "")
    if not left:
        raise Rejected(f"{file} names no two pictures of the folder; name the folder they lie in with --data")
    if len(set(folds)) < 2:
        people = sorted({image.subject for image in left})
        fold_of = {name: str(place % _FOLDS) for place, name in enumerate(people)}
        folds = [fold_of[image.subject] for image in left]
    return PairLists(file, tuple(left), tuple(right), tuple(same), tuple(folds))


def read_probes(files: tuple[Path, Path, Path], index: Index) -> ProbeLists:
    """Gallery, mated and non-mated probes; pictures that are not in the folder are noted in `index.missing`.

    Raises Rejected for a table of another kind, a list of which no picture is there, a stranger who is enrolled, a
    mated probe of somebody who is not, and a picture that is both enrolled and asked about.
    """
    gallery, known, unknown = files
    lists = []
    for file in (gallery, known, unknown):
        found = [index.find(row["identity"], row["image"], file) for _, row in _rows(file, ("identity", "image"))]
        images = tuple(image for image in found if image is not None)
        if not images:
            raise Rejected(f"{file} names no picture of the folder; name the folder they lie in with --data")
        lists.append(images)
    enrolled = {image.subject for image in lists[0]}
    if strangers := enrolled & {image.subject for image in lists[2]}:
        raise Rejected(f"{min(strangers)} is enrolled in {gallery} and a stranger in {unknown}")
    if absent := {image.subject for image in lists[1]} - enrolled:
        raise Rejected(f"{min(absent)} is asked about in {known} and not enrolled in {gallery}")
    if both := set(lists[0]) & set(lists[1]):
        label = min(image.label for image in both)
        raise Rejected(f"{label} is enrolled in {gallery} and asked about in {known}: it would find itself")
    return ProbeLists(files, *lists)


def names_of(file: Path) -> set[tuple[str, str]]:
    """(identity, image) pairs that `file` names, of either kind of list."""
    names = set()
    for _, row in _rows(file, ()):
        for ending in ("", "1", "2"):
            if row.get(f"identity{ending}") and row.get(f"image{ending}"):
                names.add((row[f"identity{ending}"], row[f"image{ending}"]))
    return names


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """(line number, row) of a CSV file that has `columns`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            if lacking := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise Rejected(
                    f"{file} has no column {', '.join(lacking)}; it begins with {','.join(reader.fieldnames or ())!r}"
                )
            for row in reader:
                if any(row[column] is None for column in columns):
                    raise Rejected(f"{file}, line {reader.line_num}: fewer columns than the first line")
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise Rejected(f"{file} cannot be read as CSV: {fault}") from None
