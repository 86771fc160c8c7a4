"""What each crop of a track says, and what all of them say about one subject, as sums."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kith.jobs import Finite, Outcome
from kith.watching.news import Sighted

#: Subjects that are counted; a face that is nearest to more people than this is near to none.
_MAX_TALLIES = 16
#: Even a crop of no quality has been looked at.
_LEAST_WEIGHT = 0.01


@dataclass(frozen=True, slots=True)
class Crop:
    """One crop as its decision has it. score: of `nearest`; runner_up_score: of the second subject, absent where there
    is none."""

    decision_id: str
    camera: str
    track: str
    image: str
    at_ms: int
    quality: Finite
    outcome: Outcome
    nearest: str | None = None
    nearest_id: str | None = None
    score: Finite | None = None
    runner_up: str | None = None
    runner_up_score: Finite | None = None

    @property
    def weight(self) -> float:
        """In the mean."""
        return max(self.quality, _LEAST_WEIGHT)

    @property
    def beyond(self) -> float:
        """The most that a subject can score that the decision does not name."""
        # Where there is no second subject, nobody else can be asked about.
        return -1.0 if self.runner_up_score is None else self.runner_up_score


def crop_of(news: Sighted) -> Crop:
    """What is kept of a sighting."""
    return Crop(
        decision_id=news.decision_id,
        camera=news.seen.camera,
        track=news.seen.track,
        image=news.image,
        at_ms=news.seen.at_ms,
        quality=news.quality,
        outcome=news.outcome,
        nearest=news.nearest,
        nearest_id=news.nearest_id,
        score=news.score,
        runner_up=news.runner_up,
        runner_up_score=news.runner_up_score,
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """What speaks for one subject. votes: crops that match it by themselves; good: those of quality. firsts: crops of
    quality that are nearest to it, matching or not. weight, scores, beyond: Σ w, Σ w·score and Σ w·runner-up's score of
    the crops that name it; best: its highest score in a crop of quality."""

    subject: str
    subject_id: str | None = None
    votes: int = 0
    good: int = 0
    firsts: int = 0
    weight: Finite = 0.0
    scores: Finite = 0.0
    beyond: Finite = 0.0
    best: Finite = -1.0

    def is_of(self, subject: str | None, subject_id: str | None) -> bool:
        """Whether it is this one's; the id decides where both are known, for a name may have been changed since."""
        return self.subject_id == subject_id if self.subject_id and subject_id else self.subject == subject


def counted(tallies: tuple[Tally, ...], crop: Crop, good: bool) -> tuple[Tally, ...]:
    """With one more crop. good: whether it is of quality."""
    found = list(tallies)
    named = (
        (crop.nearest, crop.nearest_id, crop.score, crop.outcome is Outcome.MATCH, True),
        (crop.runner_up, None, crop.runner_up_score, False, False),
    )
    for subject, subject_id, score, vote, first in named:
        if subject is None or score is None:
            continue
        place = _place(found, subject, subject_id)
        if place is None:
            place = len(found)
            found.append(Tally(subject))
        was = found[place]
        found[place] = replace(
            was,
            subject=subject,
            subject_id=subject_id or was.subject_id,
            votes=was.votes + vote,
            good=was.good + (vote and good),
            firsts=was.firsts + (first and good),
            weight=was.weight + crop.weight,
            scores=was.scores + crop.weight * score,
            beyond=was.beyond + crop.weight * crop.beyond,
            best=max(was.best, score) if good and vote else was.best,
        )
    return _foremost(found)


def added_up(some: Sequence[Tally], others: Iterable[Tally]) -> tuple[Tally, ...]:
    """Those of two sets of crops as one. others: the later ones, which have the newer names."""
    tallies = list(some)
    for tally in others:
        place = _place(tallies, tally.subject, tally.subject_id)
        if place is None:
            tallies.append(tally)
            continue
        mine = tallies[place]
        tallies[place] = replace(
            mine,
            subject=tally.subject,
            subject_id=mine.subject_id or tally.subject_id,
            votes=mine.votes + tally.votes,
            good=mine.good + tally.good,
            firsts=mine.firsts + tally.firsts,
            weight=mine.weight + tally.weight,
            scores=mine.scores + tally.scores,
            beyond=mine.beyond + tally.beyond,
            best=max(mine.best, tally.best),
        )
    return _foremost(tallies)


def _foremost(tallies: list[Tally]) -> tuple[Tally, ...]:
    if len(tallies) <= _MAX_TALLIES:
        return tuple(tallies)
    return tuple(sorted(tallies, key=lambda each: (each.votes, each.scores), reverse=True)[:_MAX_TALLIES])


def _place(tallies: list[Tally], subject: str, subject_id: str | None) -> int | None:
    return next((place for place, each in enumerate(tallies) if each.is_of(subject, subject_id)), None)
