"""Which faces of a frame are whose of the frames before: tracking by detection.

Each track predicts where its face is (motion.py); predictions and detections are paired at the least cost in all
(assignment.py), the cost made of how unlikely the place is and how little the boxes overlap. Somebody who is hidden for
a moment, behind another in the middle of crossing, keeps the velocity he had and is met where it leads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kith.detector import Detection
from producers.camera.assignment import assign
from producers.camera.motion import Box, Motion

#: χ² of 4 degrees of freedom that one in a thousand exceeds: a place more surprising than this is somebody else's.
_GATE = 18.5

#: A box this near to the edge touches it.
_EDGE_PX = 4
#: Movement of a side of a box, in heights of the face, that is no trembling of the detector.
_STEP = 0.05

#: Frames in which nobody is missed yet, however far apart they are.
_MISSES = 2

#: Frames farther apart leave time to take another's place unseen.
_SEAMLESS_S = 0.5

#: Score of a detection that begins a track at once; a weaker one has to be seen twice, for it may be a curtain.
_SURE = 0.8


@dataclass(slots=True)
class Track:
    """One face over time. number: from 1, in order of appearance. seen_s: when last. sure: it was
    begun. last: where it was seen last; at_edge: that was at the edge of the frame; went_out: on its way out over the
    left (-1) or right (1) one. missed: frames since. stretch: from 1, one more whenever it might have been taken for
    another; within one it is surely the same face."""

    number: int
    motion: Motion
    began_s: float
    seen_s: float
    sure: bool = False
    last: Box = (0.0, 0.0, 0.0, 0.0)
    at_edge: bool = False
    went_out: int = 0
    missed: int = 0
    stretch: int = 1

    @property
    def box(self) -> Box:
        """Where it is, seen or predicted."""
        return self.motion.box


@dataclass(frozen=True, slots=True)
class Step:
    """What a frame brought. seen: tracks with what was seen of each; begun: those of them that are new. ended: tracks
    that were seen too long ago. hidden: those that go on unseen."""

    seen: list[tuple[Track, Detection]] = field(default_factory=list)
    begun: list[Track] = field(default_factory=list)
    ended: list[Track] = field(default_factory=list)
    hidden: list[Track] = field(default_factory=list)


class Tracker:
    """The tracks of one camera. lost_s: unseen for longer, and in more than two frames, a track ends."""

    def __init__(self, lost_s: float = 0.8) -> None:
        self._lost_s = lost_s
        self._tracks: list[Track] = []
        self._numbers = 0
        self._last_s: float | None = None

    @property
    def alive(self) -> list[Track]:
        """Tracks that were begun and have not ended."""
        return [track for track in self._tracks if track.sure]

    @property
    def busy(self) -> bool:
        """Whether anybody is followed, or may be."""
        return bool(self._tracks)

    def step(self, found: Sequence[Detection], at_s: float, width: int) -> Step:
        """The frame of `at_s`, `width` pixels across, shows `found`. Times ascend; one without faces counts too."""
        passed_s = 0.0 if self._last_s is None else max(0.0, at_s - self._last_s)
        self._last_s = at_s
        for track in self._tracks:
            track.motion.predict(passed_s)
        costs = self._costs(found)
        pairs = assign(costs)
        step = Step()
        for row, column in pairs:
            track = self._tracks[row]
            seamless = passed_s <= _SEAMLESS_S and not track.missed and not track.at_edge
            track.stretch += not seamless or _has_rivals(costs, row, column)
            track.motion.update(found[column].box)
            track.seen_s = at_s
            track.went_out = _going_out(track.last, found[column].box, width)
            track.at_edge, track.last = _at_edge(found[column].box, width), found[column].box
            if not track.sure:
                self._begin(track, step)
            step.seen.append((track, found[column]))
        taken = {column for _, column in pairs}
        self._forget(at_s, step)
        for column, detection in enumerate(found):
            if column not in taken:
                self._meet(detection, at_s, width, step)
        step.hidden.extend(track for track in self.alive if track.seen_s != at_s)
        return step

    def end_all(self) -> list[Track]:
        """No more frames: the tracks that were alive."""
        ended = self.alive
        self._tracks, self._last_s = [], None
        return ended

    def _costs(self, found: Sequence[Detection]) -> NDArray[np.float64]:
        costs = np.full((len(self._tracks), len(found)), np.inf)
        for row, track in enumerate(self._tracks):
            for column, detection in enumerate(found):
                surprise = track.motion.surprise(detection.box)
                if surprise <= _GATE and not _turns_at_edge(track, detection.box):
                    costs[row, column] = surprise / _GATE + 1 - overlap(track.box, detection.box)
        return costs

    def _meet(self, detection: Detection, at_s: float, width: int, step: Step) -> None:
        track = Track(0, Motion(detection.box), at_s, at_s, last=detection.box, at_edge=_at_edge(detection.box, width))
        self._tracks.append(track)
        if detection.score >= _SURE:
            self._begin(track, step)
            step.seen.append((track, detection))

    def _begin(self, track: Track, step: Step) -> None:
        self._numbers += 1
        track.number, track.sure = self._numbers, True
        step.begun.append(track)

    def _forget(self, at_s: float, step: Step) -> None:
        kept = []
        for track in self._tracks:
            # One that is not sure yet has to be seen in the next frame already. One that went out is not waited for:
            # who comes in at that place next is somebody else.
            track.missed = 0 if track.seen_s == at_s else track.missed + 1
            lost = at_s - track.seen_s > self._lost_s and track.missed > _MISSES
            if not track.missed or (track.sure and not track.at_edge and not lost):
                kept.append(track)
            elif track.sure:
                step.ended.append(track)
        self._tracks = kept


def _has_rivals(costs: NDArray[np.float64], row: int, column: int) -> bool:
    """Whether this track might have gone on with another detection, or this detection been another track's."""
    possible = np.isfinite(costs)
    return bool(possible[row].sum() > 1 or possible[:, column].sum() > 1)


def _going_out(before: Box, now: Box, width: int) -> int:
    """-1 for a face that goes out over the left edge, 1 over the right one, 0 for any other.

    What is seen of it is cut off by the edge, and its middle tells nothing. The side that is in the picture does.
    """
    step = _STEP * now[3]
    if now[0] <= _EDGE_PX and now[0] + now[2] < before[0] + before[2] - step:
        return -1
    return 1 if now[0] + now[2] >= width - _EDGE_PX and now[0] > before[0] + step else 0


def _turns_at_edge(track: Track, box: Box) -> bool:
    """Whether the face of `track` would have turned round while it was on its way out: it is one who comes in."""
    step = 2 * _STEP * box[3]
    if track.went_out < 0:
        return box[0] + box[2] > track.last[0] + track.last[2] + step
    return track.went_out > 0 and box[0] < track.last[0] - step


def _at_edge(box: Box, width: int) -> bool:
    """Whether a face touches the left or right edge; nobody leaves upwards, and few downwards. Which way it goes is not
    asked: cut by the edge, a box hardly moves, and that guess mixed more people up than it kept together."""
    return box[0] <= _EDGE_PX or box[0] + box[2] >= width - _EDGE_PX


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0.0
