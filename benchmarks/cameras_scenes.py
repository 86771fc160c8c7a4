"""The scenes that cameras are judged by: who walks where, drawn from the shared faces, so that the truth is known.

Frames are 640×480. There are two lanes: the far one, with smaller faces above the shoulders of those in the near one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from producers.rehearsal.scene import Portrait, Scene, Walk

#: Seconds after which somebody who left is on another visit (watch.gap_s). A minute, as installed, would make the
#: scenes as much longer as it is longer, and no harder.
GAP_S = 25.0

#: Pictures of each known person that are enrolled; the others are what cameras see.
_ENROLLED = 2
#: Of three people two are known.
_STRANGERS = 3

#: Where somebody is out of sight on the left and on the right.
_LEFT, _RIGHT = -70.0, 710.0
_TAIL_S = 4.0


@dataclass(frozen=True)
class Person:
    """known: enrolled. photos: what cameras see of them, none of which is enrolled."""

    known: bool
    enrol: tuple[Portrait, ...]
    photos: tuple[Portrait, ...]

    @property
    def name(self) -> str:
        """Also the subject, where they are known."""
        return self.photos[0].identity


@dataclass(frozen=True)
class Lane:
    """y: the faces' middle. face_px: their height."""

    y: float
    face_px: float


FAR, NEAR = Lane(110, 62), Lane(225, 92)


def cast(portraits: Mapping[str, Sequence[Portrait]]) -> list[Person]:
    """Everybody there is, in an order that mixes known people and strangers."""
    return [
        Person(number % _STRANGERS != _STRANGERS - 1, tuple(files[:_ENROLLED]), tuple(files[_ENROLLED:]))
        for number, files in enumerate(portraits.values())
    ]


def across(person: Person, lane: Lane, begin_s: float, seconds: float, *, back: bool = False) -> Walk:
    """Once through the picture, from left to right or `back`."""
    start, end = (_RIGHT, _LEFT) if back else (_LEFT, _RIGHT)
    return Walk(person.photos, ((begin_s, start, lane.y), (begin_s + seconds, end, lane.y)), lane.face_px)


def hall(people: Sequence[Person], cameras: int, begins_s: float = 0.0) -> list[list[Walk]]:
    """Four people a camera, each of whom goes on to the next camera: the walks of each camera, 26 s long.

    Two walk in each lane, the second one some steps behind the first.
    """
    walks: list[list[Walk]] = [[] for _ in range(cameras)]
    for number, person in enumerate(people[: 4 * cameras]):
        first, place = number % cameras, number // cameras
        lane, begin_s = (FAR, NEAR)[place % 2], begins_s + 4.0 * (place // 2)
        for turn in range(2):
            walk = across(person, lane, begin_s + 14 * turn, 8.0, back=bool(first % 2))
            walks[(first + turn) % cameras].append(walk)
    return walks


def crossing(people: Sequence[Person]) -> list[Walk]:
    """Pairs who meet in the middle of the near lane, one in front of the other; 9 s a pair."""
    walks = []
    for number in range(0, len(people) - 1, 2):
        begin_s = 4.5 * number
        walks += [across(people[number], NEAR, begin_s, 8), across(people[number + 1], NEAR, begin_s, 8, back=True)]
    return walks


def returning(people: Sequence[Person], again_s: float = 38.0) -> list[Walk]:
    """Each leaves and is back at once, which is the same visit, and is back after `again_s`, which is another one."""
    walks = []
    for number, person in enumerate(people):
        lane, begin_s = (FAR, NEAR)[number % 2], 17.0 * (number // 2)
        walks += [across(person, lane, at_s, 6) for at_s in (begin_s, begin_s + 9, begin_s + 15 + again_s)]
    return walks


def staying(people: Sequence[Person], seconds: float) -> list[Walk]:
    """Up to four who walk to and fro, each in half of a lane, and never leave."""
    walks = []
    for number, person in enumerate(people[:4]):
        lane, left = (FAR, NEAR)[number // 2], 90.0 + 300.0 * (number % 2)
        turns = range(int(seconds // 4) + 2)
        path = tuple((4.0 * turn, left + 160.0 * (turn % 2), lane.y) for turn in turns)
        walks.append(Walk(person.photos, path, lane.face_px))
    return walks


def busy(people: Sequence[Person], seconds: float) -> list[Walk]:
    """One after the other in both lanes, four or so in sight at any time; each once."""
    walks, everybody = [], iter(people)
    begins = (
        (lane, 1.5 * turn) for turn in range(int((seconds - 7) / 1.5) + 1) for lane in (FAR, NEAR)[turn % 2 :][:1]
    )
    for (lane, begin_s), person in zip(begins, everybody, strict=False):
        walks.append(across(person, lane, begin_s, 6.5, back=lane is FAR))
    return walks


def scene(walks: Sequence[Walk], seed: int, seconds: float | None = None, fps: int = 10) -> Scene:
    """The walks as a scene, those far away behind the others; at its end nobody is there for some seconds."""
    ordered = sorted(walks, key=lambda walk: walk.face_px)
    ends_s = max((walk.path[-1][0] for walk in walks), default=0.0) + _TAIL_S
    return Scene(tuple(ordered), seconds or ends_s, fps=fps, seed=seed)


def dealt(people: Sequence[Person]) -> "Dealer":
    """Hands out people, each once."""
    return Dealer(iter(people))


@dataclass
class Dealer:
    """See `dealt`."""

    people: Iterator[Person]

    def some(self, count: int) -> list[Person]:
        """The next `count`, fewer where there are no more."""
        return [person for _, person in zip(range(count), self.people, strict=False)]
