"""One gallery in this process: its subjects, templates and journal, and how each change is made."""

import uuid
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from kith.backends.gallery_memory_records import Entry, Record, Template
from kith.backends.other_model_memory import OtherModel
from kith.errors import NameTaken, SameSubject, UnknownSubject, UnknownTemplate
from kith.gallery import Enrolment, Introduction
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.journal import Op, Vectors
from kith.subjects import TemplateInfo


class MemoryGallery:
    """Changes must be made one at a time; the caller holds the lock."""

    def __init__(self, name: str, model_id: str, dimension: int, settings: GallerySettings) -> None:
        self.name, self.model_id, self.dimension, self.settings = name, model_id, dimension, settings
        self.epoch, self.created_ms = uuid.uuid4().hex, now_ms()
        self.sequence = self.trimmed = 0
        self.log: list[Entry] = []
        self.records: dict[int, Record] = {}
        self.numbers: dict[str, int] = {}
        self.external: dict[str, int] = {}
        self.templates: dict[str, Template] = {}
        self.by_slot: dict[int, str] = {}
        self.other: OtherModel | None = None
        #: Number of the last change of model: what was told before it is of the former one.
        self.model_since = 0
        self._free: list[int] = []
        self._next_slot = self._next_number = 0

    def number(self, subject: str) -> int:
        """Raises UnknownSubject."""
        try:
            return self.numbers[subject]
        except KeyError:
            raise UnknownSubject(f"nobody is called {subject!r} in gallery {self.name}") from None

    def owned(self, subject: str, ids: Sequence[str]) -> int:
        """The number of `subject`, whose templates all of `ids` are. Raises UnknownSubject, UnknownTemplate."""
        number = self.number(subject)
        for each in ids:
            if each not in self.templates or self.templates[each].number != number:
                raise UnknownTemplate(f"{subject!r} of gallery {self.name} has no template {each}")
        return number

    def enrol(self, subject: str, enrolments: Sequence[Enrolment]) -> None:
        """Add those templates that are new."""
        new = {each.template_id: each for each in reversed(enrolments) if each.template_id not in self.templates}
        if not new:
            return
        created = subject not in self.numbers
        number = self.add(subject, enrolments[0].introduction) if created else self.numbers[subject]
        at_ms = now_ms()
        # In their order, and the first of two with the same id: `reversed` above kept the first.
        ids = [each for each in dict.fromkeys(each.template_id for each in enrolments) if each in new]
        parts = [
            (e.vector.copy(), e.image, float(e.quality), e.enrolled_ms or at_ms) for e in map(new.__getitem__, ids)
        ]
        self.put(number, ids, parts, created=created)

    def put(
        self, number: int, ids: Sequence[str], parts: Sequence[tuple[Vectors, str, float, int]], **told: Any
    ) -> int:
        """Templates into slots, and the entry ENROL that tells of it."""
        record, slots = self.records[number], []
        for template_id, (vector, image, quality, at_ms) in zip(ids, parts, strict=True):
            slot = self._free.pop(0) if self._free else self._next_slot
            self._next_slot = max(self._next_slot, slot + 1)
            info = TemplateInfo(template_id, slot, image, quality, at_ms, self.sequence + 1)
            self.templates[template_id] = Template(number, vector, info)
            self.by_slot[slot] = template_id
            record.templates.append(template_id)
            slots.append(slot)
        return self.tell(Op.ENROL, number, slots, templates=list(ids), **told)

    def remove(self, number: int, ids: Sequence[str], *, gone: bool = False) -> int:
        """Take out templates of subject `number`, with `gone` the subject as well."""
        record = self.records[number]
        details = [(i, self.templates[i].vector, self.templates[i].info) for i in ids]
        slots = self._free_all(ids)
        record.templates = [each for each in record.templates if each not in set(ids)]
        record.foreign = {each: since for each, since in record.foreign.items() if each not in set(ids)}
        before = deepcopy(record) if gone else None
        if gone:
            self._drop(number)
        return self.tell(Op.REMOVE, number, slots, record, gone=number if gone else 0, templates=details, before=before)

    def move(
        self,
        source: int,
        target: int,
        ids: Sequence[str],
        *,
        drop: bool = False,
        created: bool = False,
        forget_changes: Sequence[int] = (),
    ) -> int:
        """Give templates of `source` to `target`; with `drop`, source is no more. forget_changes: what source had taken
        over in the merge that is being undone."""
        giver, taker, slots = self.records[source], self.records[target], []
        for each in ids:
            template = self.templates[each]
            template.number = target
            slots.append(template.info.slot)
            taker.foreign[each] = giver.foreign.pop(each, template.info.sequence)
            taker.templates.append(each)
        giver.templates = [each for each in giver.templates if each not in set(ids)]
        before = deepcopy(giver) if drop else None
        if before is not None:
            before.templates = list(ids)
            taker.changes += giver.changes
            self._drop(source)
        else:
            giver.changes = [each for each in giver.changes if each not in set(forget_changes)]
        return self.tell(
            *(Op.MOVE, target, slots),
            source=source,
            gone=source if drop else 0,
            templates=list(ids),
            created=created,
            before=before,
        )

    def transfer(self, subject: str, ids: Sequence[str], to: str) -> int:
        """The move a caller asks for."""
        source = self.owned(subject, ids)
        if self.numbers.get(to) == source:
            raise SameSubject(f"{subject!r} and {to!r} are the same subject of gallery {self.name}")
        created = to not in self.numbers
        return self.move(source, self.add(to) if created else self.numbers[to], ids, created=created)

    def merge(self, subject: str, into: str) -> int:
        """All of `subject` to `into`."""
        source, target = self.number(subject), self.number(into)
        if source == target:
            raise SameSubject(f"{subject!r} and {into!r} are the same subject of gallery {self.name}")
        return self.move(source, target, list(self.records[source].templates), drop=True)

    def rename(self, number: int, new: str) -> int:
        """Raises NameTaken. The same name again changes nothing."""
        record = self.records[number]
        if new == record.name:
            return self.sequence
        if new in self.numbers:
            raise NameTaken(f"another subject of gallery {self.name} is called {new!r}")
        before = record.name
        del self.numbers[before]
        self.numbers[new], record.name = number, new
        return self.tell(Op.RENAME, number, before=before)

    def describe(self, number: int, external_id: str | None, metadata: Mapping[str, str]) -> int:
        """Raises NameTaken."""
        record = self.records[number]
        if external_id is not None and self.external.get(external_id, number) != number:
            raise NameTaken(f"another subject of gallery {self.name} has the external id {external_id!r}")
        before = (record.external_id or "", dict(record.metadata))
        self.external.pop(record.external_id or "", None)
        if external_id is not None:
            self.external[external_id] = number
        record.external_id, record.metadata, record.described = external_id, dict(metadata), self.sequence + 1
        return self.tell(Op.DESCRIBE, number, before=before, after=(external_id or "", dict(metadata)))

    def settle(self, settings: GallerySettings) -> int:
        """Other settings."""
        before, self.settings = self.settings, settings
        return self.tell(Op.SETTINGS, 0, before=before, after=settings)

    def forget(self, number: int) -> Record:
        """Erase a subject from state and journal; what it was."""
        record = self.records[number]
        for each in record.changes:
            entry = self.entry(abs(each))
            if entry is None or entry.told is None:
                continue
            if each < 0:
                # Somebody else's entry, of a merge that was undone, and it tells of both.
                entry.told["before"] = None
            else:
                entry.told = None
        for template_id, since in record.foreign.items():
            entry = self.entry(since)
            if entry is not None and entry.told is not None:
                entry.told["templates"] = [each for each in entry.told["templates"] if each != template_id]
                entry.told["stripped"] = True
        slots = self._free_all(record.templates)
        self._drop(number)
        self.sequence += 1
        self.log.append(Entry(self.sequence, Op.FORGET, now_ms(), number, tuple(slots), gone=number))
        return record

    def tell(
        self,
        op: Op,
        number: int,
        slots: Sequence[int] = (),
        record: Record | None = None,
        source: int = 0,
        gone: int = 0,
        **told: Any,
    ) -> int:
        """Write the next entry. record: of a subject that is no more."""
        about = record or self.records.get(number)
        told |= {"id": about.id if about else "", "name": about.name if about else ""}
        self.sequence += 1
        if number in self.records:
            known = self.records[number]
            known.changes = [*(each for each in known.changes if abs(each) > self.trimmed), self.sequence]
        self.log.append(Entry(self.sequence, op, now_ms(), number, tuple(slots), source, gone, told))
        return self.sequence

    def entry(self, sequence: int) -> Entry | None:
        """An entry, None outside the log."""
        # The log has no holes, so a sequence number is a position.
        position = sequence - self.trimmed - 1
        return self.log[position] if 0 <= position < len(self.log) else None

    def bring_back(self, number: int, record: Record, told: int) -> Record | None:
        """A subject that ended, without its templates; None when somebody else has its name by now. told: the entry
        that ended it and so tells of it, negative where that is another subject's."""
        if record.name in self.numbers or number in self.records:
            return None
        back = deepcopy(record)
        back.templates = []
        back.changes.append(told)
        if back.external_id is not None and self.external.setdefault(back.external_id, number) != number:
            back.external_id = None
        self.records[number], self.numbers[back.name] = back, number
        return back

    def add(self, subject: str, introduction: Introduction | None = None) -> int:
        """A new subject; the number."""
        said = introduction or Introduction()
        self._next_number += 1
        self.numbers[subject] = self._next_number
        if said.external_id is not None:
            self.external[said.external_id] = self._next_number
        self.records[self._next_number] = Record(
            *(said.subject_id or uuid.uuid4().hex[:16], subject, said.created_ms or now_ms()),
            *(said.external_id, dict(said.metadata)),
        )
        return self._next_number

    def _drop(self, number: int) -> None:
        record = self.records.pop(number)
        del self.numbers[record.name]
        self.external.pop(record.external_id or "", None)

    def _free_all(self, ids: Sequence[str]) -> list[int]:
        slots = [self.templates.pop(each).info.slot for each in ids]
        for slot in slots:
            del self.by_slot[slot]
        if self.other is not None:
            for each in ids:
                self.other.vectors.pop(each, None)
                self.other.unable.pop(each, None)
        self._free += slots
        return slots
