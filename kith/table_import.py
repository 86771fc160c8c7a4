"""A table of vectors into a gallery: millions of rows, in bounded memory, and on from where it was broken off.

A template's id follows from its row, so the same row twice is one template. How far it came is noted after each batch
in a file beside the table; the next run begins there. A row that is refused harms no other. Two rows of one name and
different external ids are two people, and the second is refused: for them, and only where a table has external ids, all
names of the gallery are in memory.
"""

import json
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kith.enrolment import Enrolment, Introduction, check_enrolments, template_id
from kith.errors import ModelMismatch, NameTaken, Rejected
from kith.gallery import GalleryInfo, GalleryStore
from kith.imagestore import content_key
from kith.names import subject_name
from kith.tables import Row, Table

_BATCH = 2048
#: Batches sent at once: while the server writes one, the next is read and checked. More only wait for the interpreter's
#: lock, and two parts of one subject would overtake one another.
_CONNECTIONS = 1
#: Refused rows whose reason is kept.
_MOST_REFUSED = 1000

Tell = Callable[[str, int, int], None]


@dataclass(slots=True)
class Imported:
    """rows: looked at, in all runs. enrolled: templates of rows of this run that are in the gallery now, before: of
    earlier runs. refused: row number → why, the first 1,000 of `refused_count`."""

    rows: int = 0
    enrolled: int = 0
    before: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    refused_count: int = 0

    def refuse(self, row: int, why: str) -> None:
        """Note a row that is not enrolled."""
        self.refused_count += 1
        if len(self.refused) < _MOST_REFUSED:
            self.refused[row] = why


def import_table(
    store: GalleryStore,
    gallery: str,
    table: Table,
    *,
    model_id: str | None = None,
    again: bool = False,
    tell: Tell = lambda *_: None,
) -> Imported:
    """Enrol the rows of `table` in `gallery`.

    model_id: of the vectors, None for the gallery's. again: from the first row, whatever an earlier run did. Raises
    UnknownGallery, ModelMismatch, Rejected for a table that ends otherwise than it says, StateUnavailable, StateFull:
    the same call goes on from there.
    """
    info = store.info(gallery)
    if model_id not in (None, info.model_id):
        raise ModelMismatch(f"gallery {gallery} holds vectors of model {info.model_id}, the table of {model_id}")
    note = _Note(table, info)
    done = Imported() if again else note.read()
    done.before, done.enrolled = done.before + done.enrolled, 0
    rows, people = table.rows(done.rows), _People(store, gallery)
    under_way: deque[tuple[int, int, Future[tuple[dict[int, str], int]]]] = deque()

    def finish() -> None:
        last, count, future = under_way.popleft()
        refused, sequence = future.result()
        for row, why in refused.items():
            done.refuse(row, why)
        done.rows, done.enrolled = last, done.enrolled + count - len(refused)
        note.write(done, sequence)
        tell("rows", done.rows, max(table.total, done.rows))

    with ThreadPoolExecutor(_CONNECTIONS, "import") as senders:
        while batch := list(islice(rows, _BATCH)):
            refused: dict[int, str] = {}
            good = _enrolments(info, people, batch, table.normalise, refused)
            under_way.append((batch[-1].number, len(batch), senders.submit(_send, store, info, good, refused)))
            if len(under_way) > _CONNECTIONS:
                finish()
        while under_way:
            finish()
    return done


def _send(
    store: GalleryStore, info: GalleryInfo, good: list[tuple[int, Enrolment]], refused: dict[int, str]
) -> tuple[dict[int, str], int]:
    """Enrol them, by row number; those that are `refused`, with those that the store refuses, and the last change."""
    sequences = [0]
    try:
        sequences += store.enrol(info.name, [enrolment for _, enrolment in good])
    except NameTaken:
        # Somebody's external id: one by one, to see whose.
        for number, enrolment in good:
            try:
                sequences += store.enrol(info.name, [enrolment])
            except NameTaken as taken:
                refused[number] = str(taken)
    return dict(sorted(refused.items())), max(sequences)


def _enrolments(
    info: GalleryInfo, people: "_People", rows: list[Row], normalise: bool, refused: dict[int, str]
) -> list[tuple[int, Enrolment]]:
    found: list[tuple[int, Enrolment]] = []
    for row in rows:
        try:
            enrolment = _enrolment(info, row, normalise)
            people.check(enrolment)
            found.append((row.number, enrolment))
        except (Rejected, ValueError) as wrong:
            refused[row.number] = str(wrong)
    try:
        check_enrolments(info.name, info.model_id, info.dimension, [enrolment for _, enrolment in found])
    except Rejected:
        # One of them, or more: each by itself, to see which.
        return [each for each in found if _fine(info, *each, refused)]
    return found


def _fine(info: GalleryInfo, number: int, enrolment: Enrolment, refused: dict[int, str]) -> bool:
    try:
        check_enrolments(info.name, info.model_id, info.dimension, [enrolment])
    except Rejected as wrong:
        refused[number] = str(wrong)
        return False
    return True


def _enrolment(info: GalleryInfo, row: Row, normalise: bool) -> Enrolment:
    if row.vector is None:
        raise Rejected(row.wrong or "there is no vector")
    vector = row.vector
    if normalise:
        norm = float(np.linalg.norm(vector.astype(np.float64)))
        if not 0 < norm < np.inf:
            raise Rejected(f"the vector's norm is {norm:g}, it has no direction")
        vector = (vector / norm).astype(np.float32)
    subject = subject_name(row.cells.get("subject", ""))
    image = row.cells.get("image") or ""
    model_id = row.cells.get("model_id") or info.model_id
    quality = _number("quality", row.cells.get("quality") or "1")
    if not 0 <= quality <= 1:
        raise Rejected(f"the quality is {quality:g}, it lies in 0..1")
    external_id = row.cells.get("external_id") or None
    return Enrolment(
        subject,
        # Without a picture it is the vector that tells a template from others, the same row twice from two.
        row.cells.get("template_id") or template_id(info.name, subject, image or content_key(vector.tobytes())),
        *(vector, image, quality, model_id),
        introduction=Introduction(external_id=external_id) if external_id else None,
    )


def _number(what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Rejected(f"the {what} {text[:40]!r} is no number") from None


class _People:
    """Who of a gallery has which external id: by name, '' for none."""

    def __init__(self, store: GalleryStore, gallery: str) -> None:
        self._store, self._gallery = store, gallery
        self._known: dict[str, str] | None = None

    def check(self, enrolment: Enrolment) -> None:
        """Raises Rejected where somebody else has the name; takes note of whom it will make."""
        said = enrolment.introduction.external_id if enrolment.introduction else None
        if self._known is None:
            if said is None:
                return
            self._known = {each.name: each.external_id or "" for each in self._store.subjects(self._gallery)}
        known = self._known.setdefault(enrolment.subject, said or "")
        if said and known and said != known:
            raise Rejected(
                f"{enrolment.subject!r} has the external id {known!r}, not {said!r}; give one of the two another name"
            )


class _Note:
    """How far the import of this table into this gallery came."""

    def __init__(self, table: Table, info: GalleryInfo) -> None:
        file, facts = table.files[0], [each.stat() for each in table.files]
        self._file = file.with_name(f".{file.name}.{info.name}.import")
        self._sequence = info.sequence
        # Of another table, or a gallery that was made anew, it says nothing.
        self._about = [[each.st_size, each.st_mtime_ns] for each in facts] + [[info.epoch, table.normalise]]

    def read(self) -> Imported:
        with suppress(OSError, ValueError, TypeError, KeyError):
            said: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            # Nor of a gallery that is behind it: one brought back from a backup, or whose server lost its last second.
            if said.pop("about") == self._about and said.pop("sequence") <= self._sequence:
                return Imported(**{**said, "refused": {int(row): why for row, why in said["refused"].items()}})
        return Imported()

    def write(self, done: Imported, sequence: int) -> None:
        """sequence: of a change that was made for it."""
        self._sequence = max(self._sequence, sequence)
        beside = Path(f"{self._file}.part")
        # Where nothing can be written, the next run begins at the first row: slower, and as right.
        with suppress(OSError):
            beside.write_text(
                json.dumps({"about": self._about, "sequence": self._sequence, **asdict(done)}), encoding="utf-8"
            )
            beside.replace(self._file)
