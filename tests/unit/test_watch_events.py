"""The records: as their published schema says, the same whoever folds them, and no vector among them."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from kith import wire
from kith.settings import Watch
from kith.watching import news as told
from kith.watching.book import VisitBook
from kith.watching.events import Event, EventKind, schema
from kith.watching.log import Heard
from kith.watching.news import StrangerMerged, StrangerNamed, TrackEnded, Unfit
from kith.watching.state import State
from tests.simulated_cameras import Line, T, scene, watch


@pytest.fixture(scope="module")
def afternoon() -> tuple[list[Line], list[Event]]:
    """Lines in order, and the events, of every kind."""
    lines, _, _ = scene(0, (0.1, 0.6))
    lines = sorted(lines, key=lambda line: line.at_ms)
    last_ms = lines[-1].at_ms + 10
    orders = (StrangerMerged(2, 1, last_ms), StrangerNamed(1, "Ada", "id-ada", last_ms))
    gone = TrackEnded("hall", "hall.r.9", last_ms, unfit=Unfit.TOO_SMALL)
    lines += [Line(last_ms + place, each) for place, each in enumerate((*orders, gone))]
    return lines, watch(VisitBook("g", Watch(), State()), lines)


def test_every_record_is_as_the_schema_says(afternoon: tuple[list[Line], list[Event]]) -> None:
    checker = jsonschema.Draft202012Validator(schema())
    checker.check_schema(schema())
    records = [wire.to_dict(event) for event in afternoon[1]]
    assert {record["kind"] for record in records} == {kind.value for kind in EventKind}
    for record in records:
        assert [error.message for error in checker.iter_errors(record)] == []
        assert wire.from_json(Event, json.dumps(record)) in afternoon[1]
    assert not checker.is_valid(records[0] | {"kind": "arrival"})
    assert not checker.is_valid({name: value for name, value in records[0].items() if name != "at_ms"})


def test_the_published_schema_is_the_one_the_records_have(repository: Path) -> None:
    published = json.loads((repository / "docs" / "schema" / "event.json").read_text())
    assert published == schema(), "kith events --schema > docs/schema/event.json"


def test_every_event_has_an_id_of_its_own(afternoon: tuple[list[Line], list[Event]]) -> None:
    ids = [event.event_id for event in afternoon[1]]
    assert len(set(ids)) == len(ids)


def test_a_watcher_that_ends_after_any_line_is_followed_by_one_that_tells_the_same(
    afternoon: tuple[list[Line], list[Event]],
) -> None:
    lines, expected = afternoon[0][:400], []
    whole = VisitBook("g", Watch(), State())
    records: dict[str, str] = {}
    vectors: dict[str, np.ndarray] = {}
    events = []
    for place, line in enumerate(lines):
        heard = Heard("g", f"{line.at_ms}-{place}", told.from_json(told.to_json(line.news)))
        expected += whole.take(heard, line.vector, line.at_ms)
        book = VisitBook("g", Watch(), State(records, vectors))
        events += book.take(heard, line.vector, line.at_ms)
        changes = book.state.changes()
        for key, text in changes.records.items():
            records.pop(key, None)
            if text is not None:
                records[key] = text
        for key, rows in changes.vectors.items():
            vectors.pop(key, None)
            if rows is not None:
                vectors[key] = rows
    assert len(expected) > 50
    assert events == expected


def test_what_is_over_leaves_nothing_behind_but_strangers() -> None:
    lines, _, _ = scene(1, (0.2, 0.7))
    book = VisitBook("g", Watch(keep_strangers_s=600), State())
    watch(book, lines)
    assert (book.state.tracks, book.state.visits) == ({}, {})
    written = book.state.changes()
    assert all(text is None for key, text in written.records.items() if key[:2] in ("t:", "v:"))
    assert all(rows is None for key, rows in written.vectors.items() if key[:2] in ("t:", "v:", "a:"))
    # After their time strangers go too.
    book.tick(T + 10**9, T + 10**9)
    assert len(book.state.strangers) == 0
    assert book.due_ms() is None
    assert book.state.changes().litter
