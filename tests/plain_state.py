"""What the plain gallery holds at one moment: people, who has which templates, and what befell each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kith.gallery_settings import GallerySettings


@dataclass
class Person:
    """described: the number of the latest description."""

    name: str
    external: str | None = None
    described: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """What befell a template by change `sequence`: it was enrolled for `person`, moved to him, or taken from him."""

    sequence: int
    kind: str
    person: int


@dataclass(frozen=True)
class Ending:
    """Somebody who is no more since change `sequence`; templates: that he had."""

    sequence: int
    name: str
    templates: tuple[str, ...]


@dataclass
class State:
    """people: by a number of their own. owners: template id → (person, number of its latest enrolment, seed). past: all
    that befell each template since it was first enrolled; what was taken out and came back has its former past. model:
    of its vectors."""

    people: dict[int, Person] = field(default_factory=dict)
    owners: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    past: dict[str, tuple[Event, ...]] = field(default_factory=dict)
    settings: GallerySettings = field(default_factory=GallerySettings)
    model: str = "m"

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
        people = {n: replace(each) for n, each in self.people.items()}
        return State(people, dict(self.owners), dict(self.past), self.settings, self.model)


@dataclass
class Other:
    """The other model of a gallery. have, unable: template id → number of the enrolment that has, or cannot have, a
    vector of it; of a later enrolment they say nothing."""

    model: str
    have: dict[str, int] = field(default_factory=dict)
    unable: dict[str, int] = field(default_factory=dict)


def has_met(past: Sequence[Event], ending: Ending) -> bool:
    """Whether it is the template that somebody had when he ended, and not another of the same id enrolled since."""
    return any(each.sequence == ending.sequence for each in past)
