"""What a gallery should hold after any operations, in the plainest way: whole states by sequence number.

Its undo knows no inverses, it compares states. What a change touched (templates with their owners, people with their
names) must still be as that change left it, and is put back as it was before it; all else stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kith.errors import (
    CannotMigrate,
    CannotUndo,
    KithError,
    ModelMismatch,
    NameTaken,
    SameSubject,
    UnknownSubject,
    UnknownTemplate,
)
from kith.gallery import template_id
from kith.gallery_settings import GallerySettings
from tests.plain_state import Ending, Event, Other, Person, State, has_met

DIMENSION = 8

Expected = int | type[KithError]
Pasts = list[tuple[str, tuple[Event, ...]]]


def unit(seed: int, dimension: int = DIMENSION) -> np.ndarray:
    """A unit vector, the same for the same seed."""
    raw = np.random.default_rng(seed).standard_normal(dimension)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def key(subject: str, seed: int) -> str:
    """The template id of the face of `seed`, enrolled as `subject` in the gallery `door`."""
    return template_id("door", subject, f"ab/{seed}")


class PlainGallery:
    """Every method answers with the sequence number the store should answer with, or the error it should raise."""

    def __init__(self) -> None:
        self.now = State()
        self.sequence = self.trimmed = self.people = 0
        self.states = {0: State()}
        self.forgets: set[int] = set()
        #: Who was forgotten, with whoever had become a part of him.
        self.erased: set[int] = set()
        #: Changes that ended somebody and were undone, which each is once.
        self.returned: set[int] = set()
        #: Who is no more, and was neither forgotten nor brought back.
        self.endings: dict[int, Ending] = {}
        #: Number of a removal → from whom, and the past of each template.
        self.removals: dict[int, tuple[int, dict[str, tuple[Event, ...]]]] = {}
        #: Changes that named a template of somebody who has been forgotten.
        self.stripped: set[int] = set()
        #: Whoever ended by giving all he had to another → that other; number of a move → (from, to).
        self.absorbed: dict[int, int] = {}
        self.moves: dict[int, tuple[int, int]] = {}
        self.other: Other | None = None
        #: Changes of model, and the latest: what was taken away before it is of the former one.
        self.switches: set[int] = set()
        self.model_since = 0

    def content(self) -> dict[str, list[bytes]]:
        """name → the bytes of the vectors, sorted."""
        found: dict[str, list[bytes]] = {person.name: [] for person in self.now.people.values()}
        for owner, _, seed in self.now.owners.values():
            found[self.now.people[owner].name].append(unit(seed).tobytes())
        return {name: sorted(vectors) for name, vectors in found.items()}

    def listed(self) -> dict[str, tuple[int, str | None]]:
        """name → how many templates, external id."""
        return {
            person.name: (len(self.now.templates(number)), person.external)
            for number, person in self.now.people.items()
        }

    def enrol(self, who: str, seeds: Sequence[int], model: str = "m") -> Expected:
        if model != self.now.model:
            return ModelMismatch
        new = [seed for seed in dict.fromkeys(seeds) if key(who, seed) not in self.now.owners]
        if new:
            number = self.now.number(who) or self._add(who)
            for seed in new:
                self.now.owners[key(who, seed)] = (number, self.sequence + 1, seed)
                self.now.past[key(who, seed)] = (Event(self.sequence + 1, "enrol", number),)
            self._changed()
        return self.now.owners[key(who, seeds[-1])][1]

    def remove(self, who: str, seed: int) -> Expected:
        return self.remove_all(who, [key(who, seed)])

    def remove_all(self, who: str, ids: Sequence[str]) -> Expected:
        wrong = self._not_his(who, ids)
        if wrong is not None:
            return wrong
        self._take_out(self.now, self.now.number(who) or 0, ids)
        return self._changed()

    def move(self, who: str, seed: int, to: str) -> Expected:
        return self.move_all(who, [key(who, seed)], to)

    def move_all(self, who: str, ids: Sequence[str], to: str) -> Expected:
        wrong = self._not_his(who, ids)
        if wrong is not None:
            return wrong
        if who == to:
            return SameSubject
        source, number = self.now.number(who) or 0, self.now.number(to) or self._add(to)
        for each in ids:
            self._give(each, number)
        self.moves[self.sequence + 1] = source, number
        return self._changed()

    def merge(self, who: str, into: str) -> Expected:
        source, target = self.now.number(who), self.now.number(into)
        if source is None or target is None:
            return UnknownSubject
        if source == target:
            return SameSubject
        self._end(source)
        for template in self.now.templates(source):
            self._give(template, target)
        del self.now.people[source]
        self.absorbed[source] = target
        self.moves[self.sequence + 1] = source, target
        return self._changed()

    def rename(self, old: str, new: str) -> Expected:
        number = self.now.number(old)
        if number is None:
            return UnknownSubject
        if old == new:
            return self.sequence
        if self.now.number(new) is not None:
            return NameTaken
        self.now.people[number].name = new
        return self._changed()

    def describe(self, who: str, external: str | None, metadata: Mapping[str, str] | None = None) -> Expected:
        number = self.now.number(who)
        if number is None:
            return UnknownSubject
        if self.now.external(external) not in (None, number):
            return NameTaken
        person = self.now.people[number]
        person.external, person.described, person.metadata = external, self.sequence + 1, metadata or {}
        return self._changed()

    def forget(self, who: str) -> Expected:
        """Whoever is called so, and those who ended so as far as the journal tells."""
        number = self.now.number(who)
        ended = [n for n, each in self.endings.items() if each.name == who and each.sequence > self.trimmed]
        if number is None and not ended:
            return UnknownSubject
        # All of them as they are now: one may be a part of another.
        taken = set() if number is None else set(self.now.templates(number))
        pasts = [(each, self.now.past[each]) for each in taken]
        for each in ended:
            here, removed = self._still_his(each)
            taken |= {template for template, _ in here}
            pasts += here + removed
        gone = {part for each in (number, *ended) if each is not None for part in self._parts(each)}
        pasts += [pair for author, removed in self.removals.values() if author in gone for pair in removed.items()]
        for each in taken:
            del self.now.past[each], self.now.owners[each]
        if number is not None:
            del self.now.people[number]
        self.removals = {each: removal for each, removal in self.removals.items() if removal[0] not in gone}
        for template, past in pasts:
            self._name_no_more(template, {event.sequence for event in past})
        self.erased |= gone
        for each in gone:
            self.absorbed.pop(each, None)
            self.endings.pop(each, None)
        self.forgets.add(self.sequence + 1)
        return self._changed()

    def _still_his(self, number: int) -> tuple[Pasts, Pasts]:
        """What somebody who ended had: that others have now, and that others have taken out."""
        ending, parts = self.endings[number], self._parts(number)

        def is_his(past: Sequence[Event]) -> bool:
            before = [each for each in past if self.trimmed < each.sequence < ending.sequence]
            enrolled = any(each.kind == "enrol" and each.person in parts for each in before)
            return has_met(past, ending) and (enrolled or not before)

        here = [each for each in ending.templates if has_met(self.now.past.get(each, ()), ending)]
        removed = [
            (template, (*past, Event(sequence, "remove", author)))
            for sequence, (author, taken) in self.removals.items()
            for template, past in taken.items()
            if template in ending.templates and template not in here and sequence > ending.sequence and is_his(past)
        ]
        return [(each, self.now.past[each]) for each in here if is_his(self.now.past[each])], removed

    def _name_no_more(self, template: str, sequences: set[int]) -> None:
        self.stripped |= sequences
        for each in sequences & self.removals.keys():
            author, taken = self.removals[each]
            self.removals[each] = author, {known: past for known, past in taken.items() if known != template}

    def _parts(self, number: int) -> set[int]:
        """He and whoever has become a part of him."""
        gone = {number}
        while more := {each for each, into in self.absorbed.items() if into in gone} - gone:
            gone |= more
        return gone

    def settings(self, cutoff: float | None) -> Expected:
        self.now.settings = GallerySettings(cutoff=cutoff)
        return self._changed()

    def begin(self, model: str) -> Expected | None:
        if model == self.now.model or (self.other and self.other.model != model):
            return CannotMigrate
        self.other = self.other or Other(model)
        return None

    def missing(self) -> set[str]:
        """Templates that may get a vector of the other model yet."""
        return {each for each, (_, since, _) in self.now.owners.items() if self._lacks(each, since)}

    def put(self, templates: Sequence[str]) -> int:
        """Vectors of the other model; how many are new."""
        assert self.other is not None
        new = [each for each in templates if each in self.now.owners and not self._has(each)]
        self.other.have |= {each: self.now.owners[each][1] for each in new}
        for each in new:
            self.other.unable.pop(each, None)
        return len(new)

    def fail(self, templates: Sequence[str]) -> None:
        """Pictures that have none."""
        assert self.other is not None
        some = [each for each in templates if each in self.now.owners and not self._has(each)]
        self.other.unable |= {each: self.now.owners[each][1] for each in some}

    def retry(self) -> None:
        if self.other is not None:
            self.other.unable.clear()

    def unable(self) -> set[str]:
        """Templates whose picture has no vector of the other model."""
        known = self.other.unable if self.other else {}
        return {each for each, since in known.items() if self._is(each, since)}

    def may_switch(self, model: str, *, drop: bool) -> bool:
        lost = self.unable()
        return self.other is not None and self.other.model == model and not self.missing() and (drop or not lost)

    def switch(self, dropped: Sequence[int], cutoff: float | None) -> int:
        """To the other model, which `may_switch`; dropped: people who lose what is unable, in the order they do."""
        assert self.other is not None
        lost = self.unable()
        assert sorted(dropped) == sorted({self.now.owners[each][0] for each in lost})
        for number in dropped:
            self._take_out(self.now, number, [each for each in lost if self.now.owners.get(each, (0,))[0] == number])
            self._changed()
        former = Other(self.now.model, {each: since for each, (_, since, _) in self.now.owners.items()})
        sequence = self._switched(self.other.model, cutoff)
        self.other = former
        return sequence

    def switched(self, model: str, cutoff: float | None) -> Expected:
        """A switch of which it is not known whether all vectors were there."""
        return CannotMigrate if model == self.now.model else self._switched(model, cutoff)

    def _switched(self, model: str, cutoff: float | None) -> int:
        self.now.model = model
        self.now.settings = GallerySettings(cutoff=cutoff)
        self.model_since = self.sequence + 1
        self.switches.add(self.model_since)
        return self._changed()

    def end(self) -> type[KithError] | None:
        if self.other is None:
            return CannotMigrate
        self.other = None
        return None

    def _is(self, template: str, since: int) -> bool:
        return template in self.now.owners and self.now.owners[template][1] == since

    def _has(self, template: str) -> bool:
        return self.other is not None and self._is(template, self.other.have.get(template, 0))

    def _lacks(self, template: str, since: int) -> bool:
        return not self._has(template) and (self.other is None or self.other.unable.get(template) != since)

    def trim(self) -> None:
        """Everything but the newest entry."""
        self.trimmed = max(0, self.sequence - 1)
        self.removals = {each: removal for each, removal in self.removals.items() if each > self.trimmed}

    def undo(self, sequence: int) -> Expected:
        never = sequence in self.forgets | self.returned | self.switches | self.stripped
        erased = self.erased.intersection(self.moves.get(sequence, ()))
        if never or erased or not self.trimmed < sequence <= self.sequence:
            return CannotUndo
        before, after = self.states[sequence - 1], self.states[sequence]
        now, back = self.now, self.now.copy()
        # A move of no templates, of somebody who had none, leaves all as it was too.
        anew = sequence not in self.moves and self._set_anew(before, after)
        former = sequence < self.model_since and (anew or bool(before.owners.keys() - after.owners.keys()))
        if anew:
            former |= now.settings != after.settings
            back.settings = before.settings
        touched = {each for each in before.owners | after.owners if before.owners.get(each) != after.owners.get(each)}
        if former or not self._still_stands(sequence, touched):
            return CannotUndo
        for number in before.people | after.people:
            if not self._put_back(back, number, before.people.get(number), after.people.get(number)):
                return CannotUndo
        added = [each for each in touched if each not in before.owners]
        if added:
            self._take_out(back, after.owners[added[0]][0], added)
        for template in touched.difference(added):
            owner, _, seed = before.owners[template]
            if owner not in back.people:
                return CannotUndo
            # A template that comes back is enrolled anew; one that is given back was there all the time.
            if template in after.owners:
                since, befell = now.owners[template][1], (Event(self.sequence + 1, "move", owner),)
                back.past[template] = now.past[template] + befell
            else:
                since = self.sequence + 1
                befell = Event(sequence, "remove", owner), Event(since, "enrol", owner)
                back.past[template] = before.past[template] + befell
            back.owners[template] = (owner, since, seed)
        for number in after.people.keys() - before.people.keys():
            if not back.templates(number):
                self._end(number)
                del back.people[number]
        if before.people.keys() - after.people.keys():
            self.returned.add(sequence)
        self._note_move_back(sequence, back)
        self.now = back
        return self._changed()

    @staticmethod
    def _set_anew(before: State, after: State) -> bool:
        return before.settings != after.settings or (before.people, before.owners) == (after.people, after.owners)

    def _still_stands(self, sequence: int, touched: set[str]) -> bool:
        now, before, after = self.now, self.states[sequence - 1], self.states[sequence]
        # Also where nothing was moved: whom it was moved from and to must still be there.
        if any(each in after.people and each not in now.people for each in self.moves.get(sequence, ())):
            return False
        for each in touched:
            # What was moved must still be whose it became; what was enrolled must be there since then.
            mattering = 1 if each in before.owners and each in after.owners else 3
            if now.owners.get(each, ())[:mattering] != after.owners.get(each, ())[:mattering]:
                return False
        return True

    def _note_move_back(self, sequence: int, back: State) -> None:
        if sequence in self.moves:
            source, target = self.moves[sequence]
            self.moves[self.sequence + 1] = target, source
            if target in self.now.people.keys() - back.people.keys():
                self.absorbed[target] = source
        for number in back.people:
            self.absorbed.pop(number, None)
            self.endings.pop(number, None)

    def _put_back(self, back: State, number: int, before: Person | None, after: Person | None) -> bool:
        if before is not None and after is None:
            taken = self.now.number(before.name) is not None
            if number in self.now.people or number in self.erased or taken:
                return False
            taken = self.now.external(before.external) is not None
            back.people[number] = replace(before, external=None if taken else before.external)
        elif after is not None and before is None:
            return number in self.now.people
        elif before is not None and after is not None and before != after:
            person = back.people.get(number)
            if person is None:
                return False
            if before.name != after.name:
                if person.name != after.name or self.now.number(before.name) is not None:
                    return False
                person.name = before.name
            else:
                holder = self.now.external(before.external)
                if person.described != after.described or holder not in (None, number):
                    return False
                person.external, person.metadata = before.external, before.metadata
                person.described = self.sequence + 1
        return True

    def _not_his(self, who: str, ids: Sequence[str]) -> type[KithError] | None:
        number = self.now.number(who)
        if number is None:
            return UnknownSubject
        his = all(self.now.owners.get(each, (0,))[0] == number for each in ids)
        return None if his else UnknownTemplate

    def _add(self, who: str) -> int:
        self.people += 1
        self.now.people[self.people] = Person(who)
        return self.people

    def _give(self, template: str, number: int) -> None:
        _, since, seed = self.now.owners[template]
        self.now.owners[template] = (number, since, seed)
        self.now.past[template] += (Event(self.sequence + 1, "move", number),)

    def _take_out(self, state: State, number: int, templates: Sequence[str]) -> None:
        self.removals[self.sequence + 1] = number, {each: state.past.pop(each) for each in templates}
        for each in templates:
            del state.owners[each]

    def _end(self, number: int) -> None:
        """By the change that is being made; `now` is still as it was before."""
        templates = tuple(self.now.templates(number))
        self.endings[number] = Ending(self.sequence + 1, self.now.people[number].name, templates)

    def _changed(self) -> int:
        self.sequence += 1
        self.states[self.sequence] = self.now.copy()
        return self.sequence
