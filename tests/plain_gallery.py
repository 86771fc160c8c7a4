"""What a gallery should hold after any operations, in the plainest way: whole states by sequence number.

Its undo knows no inverses, it compares states. What a change touched (templates with their owners, people with their
names) must still be as that change left it, and is put back as it was before it; all else stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kith.errors import CannotUndo, KithError, NameTaken, SameSubject, UnknownSubject, UnknownTemplate
from kith.gallery import template_id
from kith.gallery_settings import GallerySettings

DIMENSION = 8

Expected = int | type[KithError]


def unit(seed: int, dimension: int = DIMENSION) -> np.ndarray:
    """A unit vector, the same for the same seed."""
    raw = np.random.default_rng(seed).standard_normal(dimension)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def key(subject: str, seed: int) -> str:
    """The template id of the face of `seed`, enrolled as `subject` in the gallery `door`."""
    return template_id("door", subject, f"ab/{seed}", "m")


@dataclass
class Person:
    """described: the number of the latest description."""

    name: str
    external: str | None = None
    described: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class State:
    """people: by a number of their own. owners: template id → (person, number of its latest enrolment, seed)."""

    people: dict[int, Person] = field(default_factory=dict)
    owners: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    settings: GallerySettings = field(default_factory=GallerySettings)

    def number(self, name: str) -> int | None:
        """Who is called so."""
        return next((number for number, person in self.people.items() if person.name == name), None)

    def external(self, external_id: str | None) -> int | None:
        """Who has this external id."""
        return next((n for n, each in self.people.items() if external_id and each.external == external_id), None)

    def templates(self, number: int) -> list[str]:
        """The templates of a person."""
        return [each for each, (owner, _, _) in self.owners.items() if owner == number]

    def copy(self) -> "State":
        """Another state with the same in it."""
        return State({n: replace(each) for n, each in self.people.items()}, dict(self.owners), self.settings)


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
        #: Whoever ended by giving all he had to another → that other; number of a move → (from, to).
        self.absorbed: dict[int, int] = {}
        self.moves: dict[int, tuple[int, int]] = {}

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

    def enrol(self, who: str, seeds: Sequence[int]) -> Expected:
        new = [seed for seed in dict.fromkeys(seeds) if key(who, seed) not in self.now.owners]
        if new:
            number = self.now.number(who) or self._add(who)
            for seed in new:
                self.now.owners[key(who, seed)] = (number, self.sequence + 1, seed)
            self._changed()
        return self.now.owners[key(who, seeds[-1])][1]

    def remove(self, who: str, seed: int) -> Expected:
        return self.remove_all(who, [key(who, seed)])

    def remove_all(self, who: str, ids: Sequence[str]) -> Expected:
        wrong = self._not_his(who, ids)
        if wrong is not None:
            return wrong
        for each in ids:
            del self.now.owners[each]
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
        number = self.now.number(who)
        if number is None:
            return UnknownSubject
        for template in self.now.templates(number):
            del self.now.owners[template]
        del self.now.people[number]
        self.forgets.add(self.sequence + 1)
        gone = {number}
        while more := {each for each, into in self.absorbed.items() if into in gone} - gone:
            gone |= more
        self.erased |= gone
        for each in gone:
            self.absorbed.pop(each, None)
        return self._changed()

    def settings(self, cutoff: float | None) -> Expected:
        self.now.settings = GallerySettings(cutoff=cutoff)
        return self._changed()

    def trim(self) -> None:
        """Everything but the newest entry."""
        self.trimmed = max(0, self.sequence - 1)

    def undo(self, sequence: int) -> Expected:
        erased = sequence in self.forgets | self.returned or self.erased.intersection(self.moves.get(sequence, ()))
        if erased or not self.trimmed < sequence <= self.sequence:
            return CannotUndo
        before, after = self.states[sequence - 1], self.states[sequence]
        now, back = self.now, self.now.copy()
        if before.settings != after.settings or (before.people, before.owners) == (after.people, after.owners):
            if now.settings != after.settings:
                return CannotUndo
            back.settings = before.settings
        touched = {each for each in before.owners | after.owners if before.owners.get(each) != after.owners.get(each)}
        if not self._still_stands(sequence, touched):
            return CannotUndo
        for number in before.people | after.people:
            if not self._put_back(back, number, before.people.get(number), after.people.get(number)):
                return CannotUndo
        for template in touched:
            if template not in before.owners:
                del back.owners[template]
                continue
            owner, _, seed = before.owners[template]
            if owner not in back.people:
                return CannotUndo
            # A template that comes back is enrolled anew; one that is given back was there all the time.
            since = now.owners[template][1] if template in after.owners else self.sequence + 1
            back.owners[template] = (owner, since, seed)
        for number in after.people.keys() - before.people.keys():
            if not back.templates(number):
                del back.people[number]
        if before.people.keys() - after.people.keys():
            self.returned.add(sequence)
        self._note_move_back(sequence, back)
        self.now = back
        return self._changed()

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

    def _changed(self) -> int:
        self.sequence += 1
        self.states[self.sequence] = self.now.copy()
        return self.sequence
