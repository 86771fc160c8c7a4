"""A gallery as a list, read from Redis while others write to it; gallery.lua documents the keys."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.backends.gallery_script import GalleryScript
from kith.catalogue import Catalogue
from kith.errors import UnknownGallery
from kith.gallery_settings import GallerySettings
from kith.journal import BLOCK_ROWS
from kith.subjects import GalleryInfo, SubjectDetail, TemplateInfo
from kith.wire import from_json

_log = logging.getLogger(__name__)

_SCAN = 1000
_BLOCKS_AT_ONCE = 8
#: Changes looked at in one run of the script.
_CHANGES_AT_ONCE = 100

_META = (
    "model_id",
    "dimension",
    "width",
    "epoch",
    "created_ms",
    "sequence",
    "settings",
    "next_slot",
    "vectors",
    "sealed",
)


@dataclass(slots=True, eq=False)
class _Reading:
    """What is known so far. blocks: uint8 (BLOCK_ROWS, width), rows as they are stored."""

    model_id: str
    dimension: int
    width: int
    epoch: str
    created_ms: int
    sequence: int
    settings: str
    slots: int
    own: str
    sealed: bool
    records: dict[int, Any] = field(default_factory=dict)
    templates: dict[str, Any] = field(default_factory=dict)
    blocks: list[NDArray[np.uint8]] = field(default_factory=list)


def read_catalogue(script: GalleryScript, name: str, *, vectors: bool) -> Catalogue:
    """See GalleryStore.catalogue.

    Nobody is stopped, as for a snapshot: the parts are read while others write, and then, again and again, those
    subjects that changed since are read anew, each time with what has changed up to that very moment. The last time
    nothing more follows, so everybody is as he is at that number:

    - whoever no change after the first number touched, was read as he is,
    - whoever was touched, was read in one piece after the last change that touched him.
    """
    while True:
        reading = _read_parts(script, name, vectors)
        if _bring_forward(script, name, reading, vectors):
            return _catalogue(script, name, reading)
        _log.warning("gallery %s changed under the reading beyond what its log still tells, reading again", name)


def _read_parts(script: GalleryScript, name: str, vectors: bool) -> _Reading:
    meta: Any = script.client.hmget(script.key(name, "meta"), *_META)
    if meta[0] is None:
        raise UnknownGallery(f"there is no gallery {name}")
    model_id, dimension, width, epoch, created_ms, sequence, settings, slots, own, sealed = (
        (value or b"b").decode() for value in meta
    )
    sizes = int(dimension), int(width)
    reading = _Reading(
        model_id, *sizes, epoch, int(created_ms), int(sequence), settings, int(slots), own, sealed == "1"
    )
    for number, record in script.client.hscan_iter(script.key(name, "subjects"), count=_SCAN):
        reading.records[int(number)] = json.loads(record)
    for template_id, template in script.client.hscan_iter(script.key(name, "templates"), count=_SCAN):
        reading.templates[template_id.decode()] = json.loads(template)
    if vectors:
        reading.blocks.extend(_blocks(script, name, reading))
    return reading


def _blocks(script: GalleryScript, name: str, reading: _Reading) -> Iterator[NDArray[np.uint8]]:
    blocks = range((reading.slots + BLOCK_ROWS - 1) // BLOCK_ROWS)
    for start in blocks[::_BLOCKS_AT_ONCE]:
        with script.client.pipeline(transaction=False) as pipe:
            for block in blocks[start : start + _BLOCKS_AT_ONCE]:
                pipe.get(script.key(name, f"{reading.own}:{block}"))
            replies = pipe.execute()
        for packed in replies:
            rows = np.zeros((BLOCK_ROWS, reading.width), np.uint8)
            stored = np.frombuffer(packed or b"", np.uint8).reshape(-1, reading.width)
            rows[: len(stored)] = stored
            yield rows


def _bring_forward(script: GalleryScript, name: str, reading: _Reading, vectors: bool) -> bool:
    """False when the log does not reach back to where the reading began, or the gallery is another one now."""
    while True:
        reply = script.ask(name, "touched", reading.sequence, _CHANGES_AT_ONCE, int(vectors))
        epoch, reached, newest, settings, *touched = reply
        if epoch.decode() != reading.epoch or not reached:
            return False
        for subject in touched:
            _take(reading, *subject)
        reading.sequence = int(reached)
        if reached == newest:
            reading.settings = settings.decode()
            return True


def _take(reading: _Reading, number: bytes, record: bytes, *templates: bytes) -> None:
    # What he had and has no more belongs to somebody else who was touched, or to nobody.
    if not record:
        reading.records.pop(int(number), None)
        return
    reading.records[int(number)] = json.loads(record)
    for template_id, details, row in zip(templates[::3], templates[1::3], templates[2::3], strict=True):
        known = json.loads(details)
        reading.templates[template_id.decode()] = known
        if row:
            slot = int(known[1])
            while len(reading.blocks) <= slot // BLOCK_ROWS:
                reading.blocks.append(np.zeros((BLOCK_ROWS, reading.width), np.uint8))
            reading.blocks[slot // BLOCK_ROWS][slot % BLOCK_ROWS] = np.frombuffer(row, np.uint8)


def _catalogue(script: GalleryScript, name: str, reading: _Reading) -> Catalogue:
    subjects = {number: _detail(reading, record) for number, record in sorted(reading.records.items())}
    info = GalleryInfo(
        *(name, reading.model_id, reading.dimension, reading.sequence, len(subjects)),
        sum(len(subject.templates) for subject in subjects.values()),
        from_json(GallerySettings, reading.settings),
        *(reading.created_ms, reading.epoch),
    )
    rows = script.rows.of(name, reading.epoch, reading.dimension, reading.sealed)
    blocks = [rows.unpack(each.data.cast("B"))[0] for each in reading.blocks]
    return Catalogue(info, subjects, blocks)


def _detail(reading: _Reading, record: Any) -> SubjectDetail:
    templates = [template_info(each, reading.templates[each]) for each in record.get("templates", ())]
    return subject_detail(record, templates)


def template_info(template_id: str, stored: Sequence[Any]) -> TemplateInfo:
    """A template as g:templates has it."""
    _, slot, image, quality, enrolled_ms, sequence, *_ = stored
    return TemplateInfo(template_id, int(slot), image, float(quality), int(enrolled_ms), int(sequence))


def subject_detail(record: Any, templates: Sequence[TemplateInfo]) -> SubjectDetail:
    """A subject as g:subjects has it."""
    return SubjectDetail(
        *(record["id"], record["name"], int(record["created_ms"])),
        tuple(sorted(templates, key=lambda template: (template.sequence, template.slot))),
        record.get("external_id"),
        record.get("metadata", {}),
    )
