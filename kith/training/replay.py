"""What a grown classifier learns from: pictures of the new classes, and of the old ones again (replay).

A network that sees the new classes only forgets the old (McCloskey and Cohen 1989); shown some of the old pictures with
them, class by class as often as the new, it does not (Rebuffi, Kolesnikov, Sperl and Lampert, "iCaRL", CVPR 2017).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kith.crops import CropReader
from kith.errors import Rejected
from kith.training.faces import Faces, read_faces

Rows = NDArray[np.int64]

#: Names listed in a message.
_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """pixels: (n, 112, 112, 3) uint8 RGB. labels: (n,) int64, places in `names`: the old classes in the order of the
    classifier's outputs, then the new. old: how many are old. learn, judge: rows to learn from and rows held out, none
    in both. notes: what was found wrong with the folders."""

    pixels: NDArray[np.uint8]
    labels: Rows
    names: tuple[str, ...]
    old: int
    learn: Rows
    judge: Rows
    notes: tuple[str, ...]

    def judged(self, new: bool) -> Rows:
        """The rows held out of the new, or of the old classes."""
        is_new = self.labels[self.judge] >= self.old
        held_out: Rows = self.judge[is_new == new]
        return held_out


def read_examples(
    old: Path,
    new: Path,
    known: Sequence[str] | int,
    reader: CropReader,
    cache: Path,
    *,
    held_out: float = 0.25,
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Examples:
    """Examples of the folders `old` and `new` (CLASS/IMAGE.jpg).

    known: the old classes in the order of the classifier's outputs, or their number, when the folders of `old`, sorted,
    are that order. held_out: share of each class that is judged by and not learned from, one picture at least. cache:
    folder for the crops that were read. A new class of a single picture and a picture under two names are left out and
    noted. Raises Rejected when a new class is an old one, when the old folders do not fit, and when nothing is left.
    """
    notes = [*_empty(old), *_empty(new)]
    before = read_faces(old, reader, cache / "old", tell)
    after = read_faces(new, reader, cache / "new", tell)
    notes += [note for note in (*before.notes, *after.notes) if "one picture only" not in note]
    names = _old_names(before, known, old)
    if both := sorted(set(names) & set(after.names)):
        raise Rejected(
            f"{len(both)} classes of {new} are known to the classifier already ({_some(both)}): rename those that are "
            "somebody else, and put more pictures of old classes under --old"
        )
    keep_old, keep_new, twins = _without_twins(before, after)
    if twins:
        notes.append(f"{len(twins)} pictures lie under an old and a new name (label noise), left out: {_some(twins)}")
    counts = np.bincount(after.labels[keep_new], minlength=len(after.names))
    single = [after.names[index] for index in np.flatnonzero(counts < 2)]
    if single:
        notes.append(
            f"{len(single)} new classes have fewer than two usable pictures, one to learn from and one to judge by, "
            f"and are left out: {_some(single)}"
        )
    added = [name for name in after.names if name not in single]
    if not added:
        raise Rejected(f"no new class is left in {new}; {'; '.join(notes) or 'it is empty'}")
    if unseen := sorted(set(names) - set(before.names)):
        notes.append(f"{old} shows nothing of {len(unseen)} old classes, which may be forgotten: {_some(unseen)}")
    place = {name: index for index, name in enumerate([*names, *added])}
    keep_new = keep_new[np.isin(after.labels[keep_new], [after.names.index(name) for name in added])]
    labels = np.array(
        [place[before.names[label]] for label in before.labels[keep_old]]
        + [place[after.names[label]] for label in after.labels[keep_new]],
        np.int64,
    )
    pixels = np.concatenate([before.pixels[keep_old], after.pixels[keep_new]])
    learn, judge = _split(labels, held_out, np.random.default_rng(seed))
    return Examples(pixels, labels, tuple(place), len(names), learn, judge, tuple(notes))


def balanced(labels: Rows, rows: Rows, batch: int, random: np.random.Generator) -> Iterator[Rows]:
    """About as many batches as `rows` fill, each class as often as any other however many pictures it has.

    Classes come in rounds, each class once in a round, in a new order each time.
    """
    by_class = [rows[labels[rows] == label] for label in np.unique(labels[rows])]
    drawn: list[int] = []
    wanted = -(-len(rows) // batch) * batch
    while len(drawn) < wanted:
        drawn += [int(random.choice(by_class[index])) for index in random.permutation(len(by_class))]
    for start in range(0, wanted, batch):
        yield np.array(drawn[start : start + batch], np.int64)


def _old_names(found: Faces, known: Sequence[str] | int, folder: Path) -> list[str]:
    if isinstance(known, int):
        if known != len(found.names):
            raise Rejected(
                f"the classifier knows {known} classes and {folder} shows {len(found.names)}: name them all, in the "
                "order of its outputs, in a JSON list with --names FILE"
            )
        return list(found.names)
    if unknown := sorted(set(found.names) - set(known)):
        raise Rejected(f"{len(unknown)} folders of {folder} are none of the classifier's classes: {_some(unknown)}")
    return list(known)


def _without_twins(old: Faces, new: Faces) -> tuple[Rows, Rows, list[str]]:
    """Rows to keep of both, and what shows the same pixels in both."""
    where: defaultdict[bytes, list[tuple[bool, int]]] = defaultdict(list)
    for is_new, faces in ((False, old), (True, new)):
        for row, pixels in enumerate(faces.pixels):
            where[hashlib.sha256(pixels.tobytes()).digest()].append((is_new, row))
    twins = [same for same in where.values() if len({is_new for is_new, _ in same}) == 2]
    out = {pair for same in twins for pair in same}
    said = [f"{old.names[old.labels[a[1]]]} = {new.names[new.labels[b[1]]]}" for a, b in ((s[0], s[-1]) for s in twins)]
    keep = [
        np.array([row for row in range(len(faces.labels)) if (is_new, row) not in out], np.int64)
        for is_new, faces in ((False, old), (True, new))
    ]
    return keep[0], keep[1], said


def _split(labels: Rows, share: float, random: np.random.Generator) -> tuple[Rows, Rows]:
    learn, judge = [], []
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        held = min(len(rows) - 1, max(1, round(share * len(rows))))
        judge.append(rows[:held])
        learn.append(rows[held:])
    return np.sort(np.concatenate(learn)), np.sort(np.concatenate(judge))


def _empty(root: Path) -> list[str]:
    bare = sorted(folder.name for folder in root.iterdir() if folder.is_dir() and not any(folder.iterdir()))
    return [f"{len(bare)} folders of {root} are empty: {_some(bare)}"] if bare else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
