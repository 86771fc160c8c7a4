"""What a crowd did, replayed on the plain gallery in the order of the sequence numbers, and what was seen, compared.

A change has its place in the journal: call number s must answer on the plain state s - 1 as it did in truth. A call
that changed nothing must have been right at some number between those it lies between. Whoever saw the gallery at
number s must have seen plain state s, except for what the journal could not tell any more because it was read late,
when the store was at `horizon` already:

- a template that was taken out (and perhaps enrolled anew) in (s, horizon]: its vector is no longer there;
- a subject that was forgotten in (s, horizon], or was part by then of one that was, and its templates: they are erased.

A snapshot read whole has no such excuse.
"""

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import redis

from kith import errors
from tests import gallery_schema
from tests.faults.gallery_crowd import (
    CUTOFFS,
    GALLERY,
    IDS,
    NAMES,
    PLACES,
    PREFIX,
    QUALITIES,
    SEEDS,
    SEEN,
    VECTORS,
    open_store,
)
from tests.plain_gallery import PlainGallery, key

#: How far back states are kept: undoing reaches back no further than the callers do.
_KEPT = 1000

Call = dict[str, Any]

#: What changes nothing that has a number, and a move that others were quicker than: whether all vectors were there, the
#: plain gallery does not know.
_LOOKS = ("show", "history", "trim", "embed", "switched", "end")


@dataclass(slots=True)
class Plain:
    """The plain gallery at every number. names, owners: as in SEEN. freed: place in IDS → numbers at which the template
    was taken out; erased: number of a subject → number of the forget that erased it."""

    model: PlainGallery = field(default_factory=PlainGallery)
    names: list[bytes] = field(default_factory=list)
    owners: list[bytes] = field(default_factory=list)
    settings: list[int] = field(default_factory=list)
    models: list[bytes] = field(default_factory=list)
    freed: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    erased: dict[int, int] = field(default_factory=dict)
    since: Any = field(default_factory=lambda: np.zeros(len(IDS), np.int64))

    def note(self) -> None:
        """Keep what the model holds now."""
        now, sequence = self.model.now, self.model.sequence
        for number in self.model.erased - self.erased.keys():
            self.erased[number] = sequence
        owners, since = np.zeros(len(IDS), "<u4"), np.zeros(len(IDS), np.int64)
        for template, (owner, enrolled, _) in now.owners.items():
            owners[PLACES[template]], since[PLACES[template]] = owner, enrolled
        for place in np.flatnonzero((since != self.since) & (self.since != 0)).tolist():
            self.freed[place].append(sequence)
        self.since = since
        names = np.zeros(len(NAMES), "<u4")
        for number, person in now.people.items():
            names[NAMES.index(person.name)] = number
        self.names.append(names.tobytes())
        self.owners.append(owners.tobytes())
        self.settings.append(CUTOFFS.index(now.settings.cutoff))
        self.models.append(now.model.encode())
        old = sequence - _KEPT
        self.model.states.pop(old, None)
        self.model.moves.pop(old, None)
        self.model.forgets.discard(old)
        self.model.returned.discard(old)
        self.model.switches.discard(old)


def replay(records: Iterable[Path]) -> tuple[Plain, Counter[str]]:
    """The plain gallery after all calls; fails at the first that was answered otherwise than it should have been."""
    authors: defaultdict[int, list[Call]] = defaultdict(list)
    idle: list[Call] = []
    counts: Counter[str] = Counter()
    for record in records:
        for line in record.read_text().splitlines():
            call = json.loads(line)
            counts["calls"] += 1
            changes = "answer" in call and call["answer"] and max(call["answer"]) > call["low"]
            if changes:
                authors[max(call["answer"])].append(call)
            elif call["verb"] not in _LOOKS:
                idle.append(call)
    idle.sort(key=lambda call: -call["low"])
    plain = Plain()
    plain.note()
    waiting = _right_now(plain, _begin(idle, 0))
    for sequence in range(1, max(authors, default=0) + 1):
        claims = sorted(authors.pop(sequence, []), key=_claim)
        author = next((call for call in claims if _answer(_trial(plain.model), call) == call["answer"]), None)
        assert author is not None, f"change {sequence} should not be as it is: {claims}"
        idle_claims = [call | {"high": max(call["high"], sequence)} for call in claims if call is not author]
        _answer(plain.model, author)
        counts[f"made: {author['verb']}"] += 1
        plain.note()
        waiting = _right_now(plain, [*waiting, *idle_claims, *_begin(idle, sequence)])
    counts["changes"] = plain.model.sequence
    assert not waiting
    assert not idle
    return plain, counts


def _claim(call: Call) -> int:
    """Whoever enrols what was enrolled (or brought back) a moment before gets the same number as its author, who had at
    least as many templates that were new."""
    if call["verb"] != "enrol":
        return -len(IDS)
    newest = max(call["answer"])
    return -len({seed for seed, number in zip(call["arguments"][1], call["answer"], strict=True) if number == newest})


def _begin(idle: list[Call], sequence: int) -> list[Call]:
    """Those that may have been made from this number on; taken off `idle`, which is sorted by `low`, highest first."""
    started = []
    while idle and idle[-1]["low"] <= sequence:
        started.append(idle.pop())
    return started


def _right_now(plain: Plain, calls: Sequence[Call]) -> list[Call]:
    """Those that would not be answered as they were, now, and may still turn out right."""
    left = []
    for call in calls:
        if call["verb"] == "undo" and call["arguments"][0] <= call.get("trimmed", 0):
            continue
        expected = call["answer"] if "answer" in call else getattr(errors, call["error"])
        if _answer(_trial(plain.model), call) == expected:
            continue
        assert call["high"] > plain.model.sequence, f"at no number is this the right answer: {call}"
        left.append(call)
    return left


def _trial(model: PlainGallery) -> PlainGallery:
    """A copy that may be changed."""
    trial = copy(model)
    trial.now = model.now.copy()
    trial.states, trial.moves = dict(model.states), dict(model.moves)
    trial.forgets, trial.returned, trial.switches = set(model.forgets), set(model.returned), set(model.switches)
    trial.erased, trial.absorbed = set(model.erased), dict(model.absorbed)
    trial.endings, trial.removals, trial.stripped = dict(model.endings), dict(model.removals), set(model.stripped)
    return trial


def _answer(model: PlainGallery, call: Call) -> Any:
    """The sequence numbers, or the error, with which the model answers."""
    if call["verb"] == "forget":
        model.trimmed = call["trimmed"]
    expected = getattr(model, call["verb"])(*call["arguments"])
    if not isinstance(expected, int):
        return expected
    if call["verb"] == "enrol":
        who, seeds, _ = call["arguments"]
        return [model.now.owners[key(who, seed)][1] for seed in seeds]
    return [expected]


def compare(plain: Plain, record: Path) -> Counter[str]:
    """Fails where something was seen that was not so."""
    counts: Counter[str] = Counter()
    for seen in np.fromfile(record, SEEN):
        sequence, horizon = int(seen["sequence"]), int(seen["horizon"])
        counts["seen"] += 1
        counts["seen whole"] += int(seen["exact"])
        assert int(seen["settings"]) == plain.settings[sequence], f"{record.name}: settings at {sequence}"
        assert seen["model"] == plain.models[sequence], f"{record.name}: model at {sequence}"
        if seen["names"].tobytes() == plain.names[sequence] and seen["owners"].tobytes() == plain.owners[sequence]:
            continue
        counts["seen late"] += 1
        where = f"{record.name} at {sequence}, read by {horizon}"
        assert not seen["exact"], f"{where}: not what was so"
        for name, ours, theirs in _differing(plain.names[sequence], seen["names"]):
            excused = theirs == 0 and sequence < plain.erased.get(ours, 0) <= horizon
            assert excused, f"{where}: {NAMES[name]} is subject {theirs} instead of {ours}"
        for place, ours, theirs in _differing(plain.owners[sequence], seen["owners"]):
            excused = sequence < plain.erased.get(ours, 0) <= horizon or _within(plain.freed[place], sequence, horizon)
            assert theirs == 0 and excused, f"{where}: template {place} is of {theirs} instead of {ours}"  # noqa: PT018
    return counts


def compare_end(plain: Plain, url: str) -> None:
    """Fails where journal, Redis, what the store tells and the plain gallery do not agree when all is quiet."""
    client, store = open_store(url)
    try:
        _compare_keys(plain, client)
        now = plain.model.now
        info = store.info(GALLERY)
        assert (info.sequence, info.subjects, info.templates) == (
            *(plain.model.sequence, len(now.people)),
            len(now.owners),
        )
        for number, person in now.people.items():
            shown = store.show(GALLERY, person.name)
            assert (shown.external_id, dict(shown.metadata)) == (person.external, dict(person.metadata))
            found = {each.template_id: (each.sequence, each.image, each.quality) for each in shown.templates}
            assert found == {
                each: (now.owners[each][1], f"ab/{PLACES[each] % SEEDS}", float(QUALITIES[PLACES[each]]))
                for each in now.templates(number)
            }
    finally:
        client.close()


def _compare_keys(plain: Plain, client: redis.Redis) -> None:
    stored = gallery_schema.read(client, PREFIX, GALLERY)
    gallery_schema.check(stored)
    now = plain.model.now
    assert stored.meta["model_id"] == now.model
    for each, known in stored.templates.items():
        assert stored.vector(known[1]) == VECTORS[now.model][PLACES[each]].tobytes()
    assert {number: record["name"] for number, record in stored.subjects.items()} == {
        number: person.name for number, person in now.people.items()
    }
    assert {each: known[0] for each, known in stored.templates.items()} == {
        each: owner for each, (owner, _, _) in now.owners.items()
    }
    gone = plain.erased.keys()
    for sequence, (told, _) in stored.payloads.items():
        assert told["n"] not in gone, f"payload {sequence} tells of forgotten subject {told['n']}"
        ended = int(stored.log[sequence].get("gone", 0))
        assert ended not in gone or not told.get("before"), f"payload {sequence} tells of forgotten subject {ended}"


def _differing(ours: bytes, theirs: Any) -> list[tuple[int, int, int]]:
    plain = np.frombuffer(ours, "<u4")
    return [(place, int(plain[place]), int(theirs[place])) for place in np.flatnonzero(plain != theirs).tolist()]


def _within(numbers: Sequence[int], after: int, upto: int) -> bool:
    """Whether one of `numbers`, ascending, lies in (after, upto]."""
    first = bisect_right(numbers, after)
    return first < len(numbers) and numbers[first] <= upto
