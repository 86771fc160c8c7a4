"""What was said of the people before cameras, held against who was there: the same count for Kith and for a peer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cameras_truth import Play, Stay, aligned, at_stay, majority, shown_in
from kith.jobs import Decision
from kith.watching.events import Event, EventKind


@dataclass(frozen=True)
class Said:
    """One thing that was said. about: who it really was, None for nobody. announced: that somebody is there. subject:
    the name that was said; stranger: the number. visit: where it belongs to one."""

    at_ms: int
    about: str | None
    announced: bool
    subject: str | None = None
    stranger: str | None = None
    visit: str | None = None


@dataclass(frozen=True)
class Score:
    """stays: true visits; found: those somebody was announced on. announced: how often that was. wrong: visits on which
    somebody was called what they are not. named, known: visits of known people who were named, and all of theirs.
    numbered: times a visit was given a stranger's number; switched: times the person had another one before, or
    somebody else had it.
    """

    stays: int
    found: int
    announced: int
    wrong: int
    named: int
    known: int
    numbered: int
    switched: int

    @property
    def found_share(self) -> float:
        """Of the true visits."""
        return self.found / self.stays

    @property
    def wrong_share(self) -> float:
        """Of the true visits."""
        return self.wrong / self.stays

    @property
    def announced_each(self) -> float:
        """Announcements of a true visit."""
        return self.announced / self.stays

    @property
    def named_share(self) -> float:
        """Of the visits of people who are known."""
        return self.named / self.known if self.known else 1.0

    @property
    def switched_share(self) -> float:
        """Of the times that a number was said."""
        return self.switched / self.numbered if self.numbered else 0.0


def judged(said: Iterable[Said], stays: Sequence[Stay], known: Mapping[str, bool], gap_ms: int) -> Score:
    """known: name → whether they are enrolled."""
    ordered = sorted(said, key=lambda each: each.at_ms)
    found: set[Stay] = set()
    named: set[Stay] = set()
    wrong: set[object] = set()
    for each in ordered:
        stay = None if each.about is None else at_stay(stays, each.about, each.at_ms, gap_ms)
        if stay is not None and each.announced:
            found.add(stay)
        if each.subject is not None and each.subject != each.about:
            # Of nobody who was there it is wrong as well, each time.
            wrong.add(stay or each)
        elif each.subject is not None and stay is not None:
            named.add(stay)
    numbered, switched = _numbers(ordered)
    return Score(
        stays=len(stays),
        found=len(found),
        announced=sum(each.announced for each in ordered),
        wrong=len(wrong),
        named=len(named),
        known=sum(known.get(stay.who, False) for stay in stays),
        numbered=numbered,
        switched=switched,
    )


def _numbers(ordered: Sequence[Said]) -> tuple[int, int]:
    """How often a number was said that the same visit had not been given before, and how often the person had another
    one, or somebody else had it."""
    number_of: dict[str, str] = {}
    owner_of: dict[str, str] = {}
    of_visit: dict[str, str] = {}
    said = switched = 0
    for each in ordered:
        if each.stranger is None or each.about is None:
            continue
        if each.visit is not None:
            if of_visit.get(each.visit) == each.stranger:
                continue
            of_visit[each.visit] = each.stranger
        said += 1
        before = number_of.get(each.about, each.stranger)
        if before != each.stranger or owner_of.setdefault(each.stranger, each.about) != each.about:
            switched += 1
        number_of[each.about] = each.stranger
    return said, switched


def heard(events: Iterable[Event], decisions: Iterable[Decision], plays: Sequence[Play]) -> list[Said]:
    """What the watcher's events say of whom: that is whom most of their crops show, by their places in the frames."""
    crops = {each.decision_id: each.seen for each in decisions if each.seen is not None}
    plays = [aligned(play, crops.values()) for play in plays]
    return said_of(events, {decision: shown_in(plays, seen) for decision, seen in crops.items()})


def said_of(events: Iterable[Event], shows: Mapping[str, str | None]) -> list[Said]:
    """shows: decision → who is on its crop."""
    said = []
    for event in events:
        if event.kind not in (EventKind.NEW, EventKind.UPDATE, EventKind.END) or event.evidence is None:
            continue
        about = majority(shows.get(crop.decision) for crop in event.evidence.crops)
        said.append(Said(event.at_ms, about, event.kind is EventKind.NEW, event.subject, event.stranger, event.visit))
    return said
