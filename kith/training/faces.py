"""Folders of subjects → the arrays a run learns from and is validated on, with what is wrong with them said first."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from kith.crops import CROP_PX, CropReader, Crops, Labelled, list_subjects, read_crops
from kith.errors import Rejected

#: How many of each kind of trouble are listed by name.
_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """pixels: (n, 112, 112, 3) uint8 RGB. labels: (n,) int64, rows of `names`, the subjects. notes: what was found
    wrong, in sentences."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def read_faces(
    root: Path, reader: CropReader, cache: Path, tell: Callable[[int, int], None] = lambda *_: None
) -> Faces:
    """All usable faces in `root` (SUBJECT/IMAGE.jpg).

    cache: file stem; the crops are kept in `cache`.npy, mapped and not loaded, and used again while the folder's files
    are the same. tell: (read, of all). Pictures that cannot be used are left out and named in the notes. So is a
    picture that lies under two names: it would teach that one face is two people. Raises Rejected when nothing is left.
    """
    listing = list_subjects(root)
    crops = _cached(cache, listing.images)
    if crops is None:
        crops = _read(listing.images, reader, cache, tell)
    skipped = {**listing.skipped, **crops.skipped}
    notes = [_named(f"{len(skipped)} files are left out", [f"{label} ({why})" for label, why in skipped.items()])]
    keep, twice = _without_twins(crops)
    notes.append(_named(f"{len(twice)} pictures lie under two names (label noise) and are left out", twice))
    names = tuple(sorted({crops.images[row].subject for row in keep}))
    if not names:
        raise Rejected(f"none of the {len(listing.images)} pictures in {root} can be used; {notes[0]}")
    number = {name: index for index, name in enumerate(names)}
    labels = np.array([number[crops.images[row].subject] for row in keep], np.int64)
    single = int((np.bincount(labels) == 1).sum())
    if single:
        notes.append(f"{single} of {len(names)} subjects have one picture only: their positives are variations of it")
    pixels = crops.pixels if len(keep) == len(crops.images) else crops.pixels[np.array(keep)]
    return Faces(pixels, labels, names, tuple(note for note in notes if note))


def split(faces: Faces, share: float, seed: int) -> tuple[Faces, Faces | None]:
    """`faces` without, and with only, the share `share` of its subjects: nobody is on both sides.

    The second is None where `share` is 0 or too few subjects are left to measure anything on.
    """
    rng = np.random.default_rng(seed)
    held = rng.permutation(len(faces.names))[: int(share * len(faces.names))]
    if len(held) < 2:
        return faces, None
    apart = np.isin(faces.labels, held)
    return _only(faces, ~apart), _only(faces, apart)


def _only(faces: Faces, mask: NDArray[np.bool_]) -> Faces:
    rows = np.flatnonzero(mask)
    kept, labels = np.unique(faces.labels[rows], return_inverse=True)
    names = tuple(faces.names[label] for label in kept)
    return Faces(faces.pixels[rows], labels.astype(np.int64), names, faces.notes)


def _without_twins(crops: Crops) -> tuple[list[int], list[str]]:
    """Rows to keep, and labels of the others that matter: the same pixels under two names are dropped, under one name
    kept once."""
    rows = defaultdict(list)
    for row in range(len(crops.images)):
        rows[hashlib.sha256(crops.pixels[row].tobytes()).digest()].append(row)
    keep, twice = list[int](), list[str]()
    for same in rows.values():
        if len({crops.images[row].subject for row in same}) > 1:
            twice.append(" = ".join(crops.images[row].label for row in same))
        else:
            keep.append(same[0])
    return sorted(keep), twice


def _read(images: tuple[Labelled, ...], reader: CropReader, cache: Path, tell: Callable[[int, int], None]) -> Crops:
    cache.parent.mkdir(parents=True, exist_ok=True)
    index = cache.with_suffix(".json")
    index.unlink(missing_ok=True)
    crops = read_crops(
        reader,
        images,
        tell=lambda count: tell(count, len(images)),
        allocate=lambda count: open_memmap(
            cache.with_suffix(".npy"), mode="w+", dtype=np.uint8, shape=(count, CROP_PX, CROP_PX, 3)
        ),
    )
    kept = {image: row for row, image in enumerate(crops.images)}
    # Written last: a cache without its index is none.
    rows = [kept.get(image) for image in images]
    index.write_text(json.dumps({"of": _fingerprint(images), "rows": rows, "skipped": crops.skipped}))
    return crops


def _cached(cache: Path, images: tuple[Labelled, ...]) -> Crops | None:
    try:
        known = json.loads(cache.with_suffix(".json").read_text())
        if known["of"] != _fingerprint(images):
            return None
        pixels = open_memmap(cache.with_suffix(".npy"), mode="r")
        kept = tuple(image for image, row in zip(images, known["rows"], strict=True) if row is not None)
        return Crops(pixels[: len(kept)], kept, dict(known["skipped"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fingerprint(images: tuple[Labelled, ...]) -> str:
    digest = hashlib.sha256()
    for image in images:
        facts = image.path.stat()
        digest.update(f"{image.path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _named(what: str, which: list[str]) -> str:
    if not which:
        return ""
    more = f" and {len(which) - _NAMED} more" if len(which) > _NAMED else ""
    return f"{what}: {', '.join(which[:_NAMED])}{more}"
