"""What one evaluation looks at: the folder, the lists beside it or named for it, and the pictures they need."""

from dataclasses import dataclass
from pathlib import Path

from kith.crops import Labelled, list_subjects
from kith.errors import Rejected
from kith.evaluation.lists import (
    GALLERY,
    KNOWN,
    PAIRS,
    UNKNOWN,
    Index,
    PairLists,
    ProbeLists,
    names_of,
    read_pairs,
    read_probes,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """images: the pictures to embed. pairs, probes: as lists say; None: drawn, or (identify False) not looked at.
    skipped: label → why, of what is named or present and cannot be used."""

    folder: Path
    images: tuple[Labelled, ...]
    pairs: PairLists | None
    probes: ProbeLists | None
    identify: bool
    skipped: dict[str, str]


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller named, None for what he did not. beside: look for the usual names next to the folder too."""

    data: Path | None = None
    pairs: Path | None = None
    gallery: Path | None = None
    known: Path | None = None
    unknown: Path | None = None
    beside: bool = True


def plan(given: Given) -> Plan:
    """What to look at. Raises Rejected, naming what is missing or does not fit together.

    With a folder all of it is evaluated: by lists where they are named or lie in the folder's parent and name pictures
    of it, by splitting and drawing where not. With lists alone, they and nothing else.
    """
    named = [given.gallery, given.known, given.unknown]
    if any(named) and not all(named):
        raise Rejected("a gallery and its probes go together: --gallery-csv, --probes-known and --probes-unknown")
    lists = [file for file in (given.pairs, *named) if file is not None]
    if given.data is None and not lists:
        raise Rejected("name the pictures with --data DIR, or lists of them with --pairs FILE")
    folder = given.data or _folder_of(lists[0])
    index = Index(list_subjects(folder))
    pairs_file = given.pairs
    probe_files: tuple[Path, ...] = tuple(file for file in named if file is not None)
    if given.data is not None and given.beside:
        pairs_file = pairs_file or next(iter(_beside(folder, (PAIRS,), index)), None)
        probe_files = probe_files or _beside(folder, (GALLERY, KNOWN, UNKNOWN), index)
    pairs = read_pairs(pairs_file, index) if pairs_file else None
    probes = None
    if probe_files:
        gallery, known, unknown = probe_files
        probes = read_probes((gallery, known, unknown), index)
    by_lists = given.data is None or (pairs is not None and probes is not None)
    needed = set(index.listing.images)
    if by_lists:
        needed = {*(pairs.left + pairs.right if pairs else ())}
        needed |= {*(probes.gallery + probes.mated + probes.non_mated if probes else ())}
    return Plan(
        folder=folder,
        images=tuple(image for image in index.listing.images if image in needed),
        pairs=pairs,
        probes=probes,
        identify=given.data is not None or probes is not None,
        skipped={**index.listing.skipped, **index.missing},
    )


def _beside(folder: Path, names: tuple[str, ...], index: Index) -> tuple[Path, ...]:
    """The files `names` in the folder's parent, if all are there and name pictures of it, not of a neighbour."""
    files = tuple(folder.resolve().parent / name for name in names)
    if not all(file.is_file() for file in files):
        return ()
    looked_up = Index(index.listing)
    for file in files:
        if not any(looked_up.find(identity, image, file) for identity, image in names_of(file)):
            return ()
    return files


def _folder_of(file: Path) -> Path:
    """Where the pictures of a list are, when nobody says: beside it, or in the folder there with most of its people."""
    people = {identity for identity, _ in names_of(file)}
    places = [file.parent, *sorted(path for path in file.parent.iterdir() if path.is_dir())]
    held = {place: sum((place / person).is_dir() for person in people) for place in places}
    most = max(held.values())
    found = [place for place in places if most and held[place] == most]
    if len(found) != 1:
        where = ", ".join(str(place) for place in found) or "nowhere near it"
        raise Rejected(f"the pictures of {file} are in {where}; name their folder with --data")
    return found[0]
