"""Who was where: what a camera's crops show by the scene that was played, and the visits there were in truth.

Nothing here looks at who was recognised. A crop is of whom its place in the frame is nearest to; by how much the clock
of a play is off (opening a stream takes a moment) follows from the places of all its crops.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kith.jobs import Seen
from producers.rehearsal.scene import Scene

#: Seconds by which a play may have begun before or after the camera said so.
_OFF_S = 2.0
#: Of its height, how far from a face's middle a crop of it may lie.
_NEAR = 0.8


@dataclass(frozen=True)
class Play:
    """One playing of a scene from its beginning, from when to when the camera saw it, Unix ms."""

    camera: str
    scene: Scene
    start_ms: int
    end_ms: int
    shift_ms: int = 0

    def second(self, at_ms: int) -> float:
        """Of the scene."""
        return (at_ms - self.start_ms - self.shift_ms) / 1000

    def holds(self, seen: Seen) -> bool:
        """Whether a crop is of this play."""
        return seen.camera == self.camera and self.start_ms - 1000 <= seen.at_ms <= self.end_ms + 1000

    def nearest(self, seen: Seen) -> tuple[str | None, float]:
        """Who is nearest to a crop, and how far away, in heights of the face; nobody where nobody is near."""
        frame = round(self.second(seen.at_ms) * self.scene.fps)
        x, y = _middle(seen.box)
        found = [
            (math.hypot(x - _middle(there.box)[0], y - _middle(there.box)[1]) / there.box[3], there.who)
            for there in self.scene.truth(frame)
        ]
        away, who = min(found, default=(math.inf, None))
        return (who, away) if away <= _NEAR else (None, _NEAR)


@dataclass(frozen=True)
class Stay:
    """A true visit: who was to be seen from when to when, absences shorter than a gap included; Unix ms."""

    who: str
    start_ms: int
    end_ms: int


def aligned(play: Play, crops: Iterable[Seen]) -> Play:
    """The play, its clock set so that its crops lie as near to faces as can be."""
    mine = [seen for seen in crops if play.holds(seen)]
    shifts = range(-round(_OFF_S * 1000), round(_OFF_S * 1000) + 1, 50)

    def away(shift_ms: int) -> tuple[float, int]:
        moved = replace(play, shift_ms=shift_ms)
        return sum(moved.nearest(seen)[1] for seen in mine), abs(shift_ms)

    return replace(play, shift_ms=min(shifts, key=away)) if mine else play


def shown_in(plays: Sequence[Play], seen: Seen) -> str | None:
    """Who is on a crop."""
    found = [each.nearest(seen) for each in plays if each.holds(seen)]
    return min(found, key=lambda pair: pair[1], default=(None, 0.0))[0]


def stays(plays: Iterable[Play], gap_ms: int) -> list[Stay]:
    """The true visits, by person and time: who is away for less than the gap, or goes to another camera, is on one."""
    seen: dict[str, list[tuple[int, int]]] = {}
    for play in plays:
        for walk in play.scene.walks:
            begin_ms = play.start_ms + round(1000 * walk.path[0][0])
            end_ms = min(play.end_ms, play.start_ms + round(1000 * walk.path[-1][0]))
            if end_ms > begin_ms:
                seen.setdefault(walk.who, []).append((begin_ms, end_ms))
    found: list[Stay] = []
    for who, times in sorted(seen.items()):
        for begin_ms, end_ms in sorted(times):
            last = found[-1] if found and found[-1].who == who else None
            if last is not None and begin_ms - last.end_ms < gap_ms:
                found[-1] = replace(last, end_ms=max(last.end_ms, end_ms))
            else:
                found.append(Stay(who, begin_ms, end_ms))
    return found


def majority(names: Iterable[str | None]) -> str | None:
    """The most frequent one, the first of equals; None where nobody is known."""
    counts: dict[str, int] = {}
    for name in names:
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: counts[name], default=None)


def at_stay(stays_: Sequence[Stay], who: str, at_ms: int, gap_ms: int) -> Stay | None:
    """The true visit of a person at that time, or that just ended."""
    mine = [each for each in stays_ if each.who == who and each.start_ms - 1000 <= at_ms <= each.end_ms + gap_ms]
    return mine[-1] if mine else None


def _middle(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
