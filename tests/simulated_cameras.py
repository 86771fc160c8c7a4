"""People who walk past cameras, as news and vectors: what the watcher hears, with the truth beside it.

Vectors are drawn as `kith-small` makes them of real faces: crops of one walk have a cosine of about 0.8, of two days
0.6, small and blurred ones less, and blurred faces of different people are a little alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kith.jobs import Outcome, Seen
from kith.settings import Watch
from kith.watching.book import VisitBook
from kith.watching.events import Event
from kith.watching.log import Heard
from kith.watching.news import News, Sighted, TrackBegun, TrackEnded, TracksAlive
from kith.watching.state import State

Vector = NDArray[np.float32]

CUTOFF = 0.466
#: When scenes begin, and how long a visit outlasts its tracks.
T = 1_000_000
GAP_MS = round(Watch().gap_s * 1000)
#: Squared lengths of what is added to a face of length 1: the day's light and look, the crop's noise.
_DAY, _CROP = 0.3, 0.25


@dataclass
class Person:
    """known: enrolled under this name. face: what all pictures of theirs have in common."""

    name: str
    known: bool
    face: Vector
    templates: list[Vector] = field(default_factory=list)


class People:
    """Draws people and pictures of them. size: numbers of a vector."""

    def __init__(self, known: int, strangers: int, seed: int = 0, size: int = 128) -> None:
        self.random = np.random.default_rng(seed)
        self.size = size
        self._blur = self._direction()
        self.everybody = [Person(f"known{n}", True, self._direction()) for n in range(known)]
        self.everybody += [Person(f"unknown{n}", False, self._direction()) for n in range(strangers)]
        for person in self.everybody[:known]:
            person.templates = [self.picture(person, self.day(), 0.9) for _ in range(2)]

    def day(self) -> Vector:
        """What a person looks like on one day."""
        return self._direction() * np.float32(_DAY**0.5)

    def picture(self, person: Person, day: Vector, quality: float) -> Vector:
        """A unit vector."""
        lack = 1 - quality
        noise = self._direction() * np.float32((_CROP + 0.9 * lack**2) ** 0.5)
        return unit(person.face + day + noise + self._blur * np.float32(0.5 * lack))

    def sighted(
        self, person: Person, day: Vector, quality: float, seen: Seen, number: int, expires_ms: int | None = None
    ) -> tuple[Sighted, Vector]:
        """A crop, decided by the people who are enrolled."""
        vector = self.picture(person, day, quality)
        scores = sorted(
            ((max(float(t @ vector) for t in each.templates), each.name) for each in self.everybody if each.templates),
            reverse=True,
        )
        (score, nearest), (second, runner_up) = scores[:2] if len(scores) > 1 else [*scores, (-1.0, None)][:2]
        return (
            Sighted(
                decision_id=f"{seen.track}:{number}",
                seen=seen,
                outcome=Outcome.MATCH if score >= CUTOFF else Outcome.UNKNOWN,
                image=f"{seen.track}/{number}",
                quality=quality,
                nearest=nearest,
                nearest_id=f"id-{nearest}",
                score=score,
                runner_up=runner_up,
                runner_up_score=None if runner_up is None else second,
                cutoff=CUTOFF,
                model_id="m",
                expires_ms=expires_ms,
            ),
            vector,
        )

    def _direction(self) -> Vector:
        return unit(self.random.standard_normal(self.size).astype(np.float32))


def unit(vector: Vector) -> Vector:
    """Of length 1."""
    made: Vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    return made


@dataclass(frozen=True)
class Line:
    """at_ms: when the log has it."""

    at_ms: int
    news: News
    vector: Vector | None = None


def walk(
    people: People,
    person: Person,
    camera: str,
    number: int,
    start_ms: int,
    *,
    seconds: float = 4.0,
    crops: int = 5,
    day: Vector | None = None,
    run: str = "r",
    quality: tuple[float, float] = (0.2, 0.7),
    then: tuple[Person, Vector] | None = None,
    delay_ms: int = 80,
) -> list[Line]:
    """One track. then: whom the tracker goes on with from the middle, having lost the first where the two crossed.

    The first crop is the first usable one, later ones are better.
    """
    track, look = f"{camera}.{run}.{number}", people.day() if day is None else day
    end_ms = start_ms + round(seconds * 1000)
    lines = [Line(start_ms, TrackBegun(camera, track, start_ms))]
    lines += [Line(at, TracksAlive(camera, (track,), at)) for at in range(start_ms + 2000, end_ms, 2000)]
    low, high = quality
    for crop in range(crops):
        at_ms = start_ms + 200 + round((end_ms - start_ms - 400) * crop / max(1, crops))
        worth = float(np.clip(low + (high - low) * (crop + people.random.random()) / crops, 0.05, 1))
        who, look_now = (person, look) if then is None or crop < crops / 2 else then
        seen = Seen(camera, track, at_ms, (10, 10, 60, 60), (640, 480), crop + 1)
        news, vector = people.sighted(who, look_now, worth, seen, crop + 1)
        lines.append(Line(at_ms + delay_ms, news, vector))
    lines.append(Line(end_ms, TrackEnded(camera, track, end_ms, crops=crops)))
    return lines


def watched(lines: Sequence[Line], rule: Watch | None = None, until_ms: int | None = None) -> list[Event]:
    """All events of these lines, in the order of time."""
    return watch(VisitBook("g", rule or Watch(), State()), lines, until_ms)


def watch(book: VisitBook, lines: Sequence[Line], until_ms: int | None = None) -> list[Event]:
    """As the worker does it: each line at its time, ticks when something is due, time going on for a while after."""
    events: list[Event] = []
    for place, line in enumerate(sorted(lines, key=lambda line: line.at_ms)):
        while (due := book.due_ms()) is not None and due < line.at_ms:
            events += book.tick(due, due)
        events += book.take(Heard("g", f"{line.at_ms}-{place}", line.news), line.vector, line.at_ms)
    last_ms = until_ms if until_ms is not None else max((line.at_ms for line in lines), default=T) + 20 * GAP_MS
    while (due := book.due_ms()) is not None and due <= last_ms:
        events += book.tick(due, due)
    return events


def scene(seed: int, quality: tuple[float, float]) -> tuple[list[Line], dict[str, Person], int]:
    """An afternoon at three cameras: lines, whose each track is, and how many visits there truly were."""
    people = People(known=12, strangers=20, seed=seed)
    random, last_ms = people.random, dict[str, int]()
    lines, whose, visits, at_ms = list[Line](), dict[str, Person](), 0, T
    for number in range(150):
        at_ms += int(random.integers(500, 20_000))
        person, day = people.everybody[random.integers(len(people.everybody))], people.day()
        if at_ms < last_ms.get(person.name, 0) + 3 * GAP_MS:
            continue
        visits, begun_ms = visits + 1, at_ms
        for part in range(int(random.integers(1, 4))):
            camera, seconds = f"camera{random.integers(3)}", float(random.uniform(2, 8))
            crops = int(random.integers(2, 7))
            walked = walk(
                people, person, camera, 10 * number + part, begun_ms, seconds=seconds, crops=crops, day=day,
                quality=quality,
            )  # fmt: skip
            lines += walked
            whose[f"{camera}.r.{10 * number + part}"] = person
            begun_ms = walked[-1].at_ms + int(random.integers(100, 30_000))
        last_ms[person.name] = begun_ms
    return lines, whose, visits
