"""A gallery as it was: `at` an earlier sequence number, and what is different between two (`diff`).

The state now is taken back change by change, by the journal. Who has been forgotten since stays out of the past as
well: nothing is left of him to put there. So does what a forgotten subject had been given by somebody else.

Templates are told by their ids and never looked into, so the past reaches back across a change of model as well: each
state says which model it is of, and vectors of two models never meet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kith.catalogue import Catalogue
from kith.errors import OutOfReach, StateUnavailable
from kith.gallery import GalleryStore
from kith.gallery_settings import GallerySettings
from kith.journal import Op
from kith.subjects import HistoryEntry

_PAGE = 1000
#: Readings begun anew because somebody was forgotten meanwhile.
_TRIES = 10


@dataclass(frozen=True, slots=True)
class PastSubject:
    """templates: ids."""

    subject_id: str
    name: str
    templates: frozenset[str]


@dataclass(frozen=True, slots=True)
class Past:
    """A gallery at `sequence`. subjects: by number. erased: changes between it and now that tell of people forgotten
    since, whose part in them is left out."""

    sequence: int
    subjects: Mapping[int, PastSubject]
    settings: GallerySettings
    model_id: str
    erased: int = 0


@dataclass(frozen=True, slots=True)
class SubjectDifference:
    """One subject that is not the same; before, after: None where he is not there."""

    number: int
    before: PastSubject | None
    after: PastSubject | None

    @property
    def added(self) -> frozenset[str]:
        """Templates that are his only afterwards."""
        return _templates(self.after) - _templates(self.before)

    @property
    def removed(self) -> frozenset[str]:
        """Templates that were his only before."""
        return _templates(self.before) - _templates(self.after)


@dataclass(frozen=True, slots=True)
class Difference:
    """From one state to another. subjects: by number. settings: (before, after) where they differ; model_id: always."""

    model_id: tuple[str, str]
    subjects: tuple[SubjectDifference, ...] = ()
    settings: tuple[GallerySettings, GallerySettings] | None = None


def read_past(store: GalleryStore, name: str, sequence: int) -> Past:
    """Gallery `name` as it was after change `sequence`. Raises OutOfReach when the journal does not hold the changes
    between it and now, UnknownGallery, StateUnavailable."""
    return read_pasts(store, name, [sequence])[0]


def read_pasts(store: GalleryStore, name: str, sequences: Sequence[int]) -> list[Past]:
    """The same for several sequence numbers, from one reading: so they fit each other."""
    for _ in range(_TRIES):
        now = store.catalogue(name)
        entries = _entries(store, name, now.info.sequence, min(sequences))
        # A forget while we read has erased entries of somebody whom the catalogue still knows.
        newest = store.info(name)
        late = store.history(name, limit=max(1, min(_PAGE, newest.sequence - now.info.sequence)))
        if newest.epoch != now.info.epoch or any(
            each.op is Op.FORGET and each.sequence > now.info.sequence for each in late
        ):
            continue
        return [at(now, entries, sequence) for sequence in sequences]
    raise StateUnavailable(f"people of gallery {name} are being forgotten all the while; try again later")


def _entries(store: GalleryStore, name: str, newest: int, oldest: int) -> list[HistoryEntry]:
    """The changes oldest + 1 .. newest, newest first."""
    found: list[HistoryEntry] = []
    while newest > oldest:
        page = store.history(name, before=newest + 1, limit=min(_PAGE, newest - oldest))
        if not page:
            break
        found += page
        newest = page[-1].sequence - 1
    return found


def at(now: Catalogue, entries: Sequence[HistoryEntry], sequence: int) -> Past:
    """`now` with the changes after `sequence` taken back; entries: at least those, newest first, without holes.

    Raises OutOfReach.
    """
    newest = now.info.sequence
    if not 0 <= sequence <= newest:
        raise OutOfReach(f"gallery {now.info.name} is at change {newest}, there is no state {sequence} to look at")
    between = [each for each in entries if sequence < each.sequence <= newest]
    if len(between) != newest - sequence:
        reach = min((each.sequence for each in between), default=newest + 1) - 1
        raise OutOfReach(
            f"the journal of gallery {now.info.name} was trimmed: it reaches back to state {reach}, not to {sequence}"
        )
    state = _State(now)
    for entry in between:
        state.take_back(entry)
    return Past(
        sequence,
        {n: PastSubject(each.subject_id, each.name, frozenset(each.templates)) for n, each in state.people.items()},
        state.settings,
        state.model_id,
        state.erased,
    )


def diff(before: Past, after: Past) -> Difference:
    """What is different in `after`."""
    numbers = sorted(before.subjects.keys() | after.subjects.keys())
    pairs = [(number, before.subjects.get(number), after.subjects.get(number)) for number in numbers]
    return Difference(
        (before.model_id, after.model_id),
        tuple(SubjectDifference(*each) for each in pairs if each[1] != each[2]),
        None if before.settings == after.settings else (before.settings, after.settings),
    )


def _templates(subject: PastSubject | None) -> frozenset[str]:
    return frozenset() if subject is None else subject.templates


@dataclass(slots=True)
class _Person:
    subject_id: str
    name: str
    templates: set[str] = field(default_factory=set)


class _State:
    def __init__(self, now: Catalogue) -> None:
        self.people = {
            number: _Person(each.subject_id, each.name, {template.template_id for template in each.templates})
            for number, each in now.subjects.items()
        }
        self.settings, self.model_id, self.erased = now.info.settings, now.info.model_id, 0

    def take_back(self, entry: HistoryEntry) -> None:
        """Undo one change, the newest first."""
        if entry.erased or entry.op is Op.FORGET:
            self.erased += 1
        elif entry.op is Op.SETTINGS:
            assert isinstance(entry.before, GallerySettings)
            self.settings = entry.before
        elif entry.op is Op.MODEL:
            assert isinstance(entry.before, str)
            assert entry.settings is not None
            self.model_id, (self.settings, _) = entry.before, entry.settings
        elif entry.op is Op.RENAME:
            assert isinstance(entry.before, str)
            self._person(entry.number).name = entry.before
        elif entry.op is Op.ENROL:
            self._person(entry.number).templates.difference_update(entry.templates)
            if entry.created:
                self.people.pop(entry.number, None)
        elif entry.op is Op.REMOVE:
            self._bring_back(entry)
            self._person(entry.number).templates.update(entry.templates)
        elif entry.op is Op.MOVE:
            self._move_back(entry)

    def _move_back(self, entry: HistoryEntry) -> None:
        self._bring_back(entry)
        holder = self._person(entry.number)
        # Those that he does not hold had gone on to somebody who was forgotten with them.
        back = holder.templates.intersection(entry.templates)
        holder.templates -= back
        if entry.created:
            self.people.pop(entry.number, None)
        if entry.source in self.people:
            self.people[entry.source].templates |= back

    def _bring_back(self, entry: HistoryEntry) -> None:
        # Without a name he was forgotten after he had come back.
        if entry.gone and isinstance(entry.before, tuple):
            subject_id, name = entry.before
            assert isinstance(name, str)
            self.people[entry.gone] = _Person(subject_id, name)

    def _person(self, number: int) -> _Person:
        # An entry about somebody who is no more tells nothing that would be kept: he was given away with a merge into
        # somebody who was forgotten.
        return self.people.get(number) or _Person("", "")
