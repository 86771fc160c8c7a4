"""One gallery in this process: its subjects, templates and journal, and what every change is made of."""

import uuid
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from kith.backends.gallery_memory_records import Entry, Incoming, Record, Removed, Template
from kith.backends.other_model_memory import OtherModel
from kith.errors import UnknownSubject, UnknownTemplate
from kith.gallery import Introduction
from kith.gallery_settings import GallerySettings
from kith.jobs import now_ms
from kith.journal import Op
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
        #: Number of whoever is no more and was not forgotten → the entry that ended it, while the journal has that.
        self.ended: dict[int, int] = {}
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

    def put(self, number: int, incoming: Sequence[Incoming], **told: Any) -> int:
        """Templates into slots, and the entry ENROL that tells of it."""
        record, slots = self.records[number], []
        for each in incoming:
            slot = self._free.pop(0) if self._free else self._next_slot
            self._next_slot = max(self._next_slot, slot + 1)
            parts = (each.template_id, slot, each.image, each.quality, each.enrolled_ms)
            info = TemplateInfo(*parts, self.sequence + 1)
            self.templates[each.template_id] = Template(number, each.vector, info, list(each.told))
            self.by_slot[slot] = each.template_id
            record.templates.append(each.template_id)
            slots.append(slot)
        return self.tell(Op.ENROL, number, slots, templates=[each.template_id for each in incoming], **told)

    def remove(self, number: int, ids: Sequence[str], *, gone: bool = False) -> int:
        """Take out templates of subject `number`, with `gone` the subject as well."""
        record = self.records[number]
        details = [Removed(each, known.vector, known.info, known.tellers) for each, known in self._known(ids)]
        slots = self.free(ids)
        record.templates = [each for each in record.templates if each not in set(ids)]
        before = deepcopy(record) if gone else None
        if gone:
            self._end(number)
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
        for each, template in self._known(ids):
            template.number = target
            template.told.append(self.sequence + 1)
            slots.append(template.info.slot)
            taker.templates.append(each)
        giver.templates = [each for each in giver.templates if each not in set(ids)]
        before = deepcopy(giver) if drop else None
        if before is not None:
            before.templates = list(ids)
            taker.changes += giver.changes
            self._end(source)
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
        self.ended.pop(number, None)
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

    def drop(self, number: int) -> None:
        """A subject is no more."""
        record = self.records.pop(number)
        del self.numbers[record.name]
        self.external.pop(record.external_id or "", None)

    def free(self, ids: Sequence[str]) -> list[int]:
        """Templates are no more; the slots they had."""
        slots = [self.templates.pop(each).info.slot for each in ids]
        for slot in slots:
            del self.by_slot[slot]
        if self.other is not None:
            for each in ids:
                self.other.vectors.pop(each, None)
                self.other.unable.pop(each, None)
        self._free += slots
        return slots

    def _end(self, number: int) -> None:
        # By the entry that is about to be written, which tells how it was and can be undone.
        self.drop(number)
        self.ended[number] = self.sequence + 1

    def _known(self, ids: Sequence[str]) -> list[tuple[str, Template]]:
        return [(each, self.templates[each]) for each in ids]
