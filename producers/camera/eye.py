"""One camera's frames become tracks and crops: gate, detector, tracker, picking. No thread, no connection.

What it finds goes two ways. Crops go to `send`, a few of each track. News of tracks go to `tell`: that one began, goes
on, ended and why nobody could be recognised in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kith import alignment, quality
from kith.cameras import Camera
from kith.detector import Detection, FrameDetector
from kith.errors import NoFace
from kith.jobs import Quality, Seen
from kith.watching.news import MAX_TRACKS, CameraStarted, Ending, News, TrackBegun, TrackEnded, TracksAlive
from producers.camera import gate
from producers.camera.counts import Counts
from producers.camera.frame import Frame
from producers.camera.motion import Box
from producers.camera.picking import Picking, PickingRule
from producers.camera.pressure import LEVELS, Level
from producers.camera.tracker import Step, Track, Tracker

#: Seconds between two signs of life of the tracks.
_ALIVE_EVERY_S = 2.0

#: Share of a face that another's box may cover: a crop of two people is nobody's.
_COVERED = 0.15
#: Distance from the sides of the frame, in heights of the face, at which a face is surely whole.
_MARGIN = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One aligned crop: (size, size, 3) uint8 RGB, and where and when it was seen."""

    pixels: NDArray[np.uint8]
    seen: Seen


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the workers' model wants its crops to be. size: side in pixels. template: see kith.manifest."""

    size: int
    template: ArrayLike


@dataclass(slots=True)
class _Followed:
    picking: Picking
    name: str
    seen_ms: int


class Eye:
    """Looks at the frames of one run of one camera; frames in order, from one thread."""

    def __init__(
        self,
        camera: Camera,
        run: str,
        detector: FrameDetector,
        crops: Alignment,
        rule: PickingRule,
        *,
        tell: Callable[[Sequence[News]], None],
        send: Callable[[Crop], None],
        counts: Counts,
        lost_s: float = 0.8,
    ) -> None:
        self._camera, self._run = camera, run
        self._detector, self._crops, self._rule = detector, crops, rule
        self._tell, self._send, self._counts = tell, send, counts
        self._gate = gate.MotionGate()
        self._tracker = Tracker(lost_s)
        self._followed: dict[int, _Followed] = {}
        self._alive_told_s = float("-inf")

    def begin(self, at_ms: int) -> None:
        """Tell that a run begins: what earlier ones followed is no more."""
        self._tell([CameraStarted(self._camera.name, self._run, at_ms)])

    @property
    def tracks(self) -> int:
        """How many are followed now."""
        return len(self._followed)

    def look(self, frame: Frame, asked: Level = LEVELS[0]) -> None:
        """One frame. asked: how much the workers can bear."""
        with self._counts.timed("gate"):
            self._counts.add("frames")
            opens = self._gate.opens(self._part(frame.picture.grey(gate.WIDTH)), frame.at_s)
        # Somebody who stands still does not move the gate; as long as anybody is followed, it is open.
        if not opens and not self._tracker.busy:
            return
        self._counts.add("looked_at")
        with self._counts.timed("convert"):
            pixels = frame.picture.rgb()
        with self._counts.timed("detect"):
            found = self._find(pixels)
        self._counts.add("faces", len(found))
        with self._counts.timed("track"):
            step = self._tracker.step(found, frame.at_s, pixels.shape[1])
        news = self._news(step, frame)
        with self._counts.timed("pick"):
            crops = [crop for track, face in step.seen if (crop := self._crop(track, face, step, frame, pixels, asked))]
        # First that there is a track, then its crops, last that it ended: nobody hears of one he does not know.
        if news:
            self._tell(news)
        for crop in crops:
            self._counts.add("crops")
            self._send(crop)

    def end(self) -> None:
        """The pictures broke off, or nobody wants them any more: all tracks end."""
        ended = [self._ended(track, Ending.SOURCE) for track in self._tracker.end_all()]
        if ended:
            self._tell(ended)
        self._gate = gate.MotionGate()

    def _find(self, pixels: NDArray[np.uint8]) -> list[Detection]:
        left, top = self._corner(pixels)
        part = self._part(pixels)
        found = self._detector.find(np.ascontiguousarray(part) if part.base is not None else part)
        if not (left or top):
            return found
        shift = np.array([left, top], np.float32)
        return [
            replace(face, box=(face.box[0] + left, face.box[1] + top, *face.box[2:]), landmarks=face.landmarks + shift)
            for face in found
        ]

    def _news(self, step: Step, frame: Frame) -> list[News]:
        news: list[News] = []
        for track in step.begun:
            name = f"{self._camera.name}.{self._run}.{track.number}"
            self._followed[track.number] = _Followed(Picking(), name, frame.at_ms)
            self._counts.add("tracks")
            news.append(TrackBegun(self._camera.name, name, frame.at_ms))
        for track, _ in step.seen:
            self._followed[track.number].seen_ms = frame.at_ms
        if self._followed and frame.at_s - self._alive_told_s >= _ALIVE_EVERY_S:
            self._alive_told_s = frame.at_s
            names = tuple(self._followed[track.number].name for track in self._tracker.alive)[:MAX_TRACKS]
            if names:
                news.append(TracksAlive(self._camera.name, names, frame.at_ms))
        news += [self._ended(track, Ending.LEFT) for track in step.ended]
        return news

    def _ended(self, track: Track, reason: Ending) -> TrackEnded:
        followed = self._followed.pop(track.number)
        return TrackEnded(
            self._camera.name,
            followed.name,
            followed.seen_ms,
            reason,
            crops=followed.picking.sent,
            unfit=followed.picking.unfit,
        )

    def _crop(
        self, track: Track, face: Detection, step: Step, frame: Frame, pixels: NDArray[np.uint8], asked: Level
    ) -> Crop | None:
        height, width = pixels.shape[:2]
        others = [other.box for other, _ in step.seen if other is not track] + [other.box for other in step.hidden]
        if not _whole(face.box, width, height, others):
            return None
        picking = self._followed[track.number].picking
        if picking.waits(frame.at_s, self._rule):
            return None
        judged = self._judged(pixels, face)
        if judged is None or not picking.wants(judged[1], min(face.box[2:]), frame.at_s, self._rule):
            return None
        if picking.sent >= asked.most(self._rule.most):
            picking.withheld(frame.at_s)
            self._counts.drop("withheld")
            return None
        # Worth a second look, which places the landmarks better; most faces never get here.
        [face] = self._detector.refine(pixels, [face])
        judged = self._judged(pixels, face)
        if judged is None or not picking.wants(judged[1], min(face.box[2:]), frame.at_s, self._rule):
            return None
        seen = Seen(
            camera=self._camera.name,
            track=self._followed[track.number].name,
            at_ms=frame.at_ms,
            box=face.box,
            frame_px=(width, height),
            number=picking.picked(judged[1], frame.at_s),
            quality=judged[1],
            stretch=track.stretch,
        )
        return Crop(judged[0], seen)

    def _judged(self, pixels: NDArray[np.uint8], face: Detection) -> tuple[NDArray[np.uint8], Quality] | None:
        try:
            crop = alignment.align(pixels, face.landmarks, self._crops.size, self._crops.template)
        except NoFace:
            return None
        return crop, quality.assess(crop, face)

    def _part(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What lies in the camera's region of interest."""
        if self._camera.roi is None:
            return pixels
        left, top = self._corner(pixels)
        height, width = pixels.shape[:2]
        _, _, across, down = self._camera.roi
        return pixels[top : top + max(1, round(down * height)), left : left + max(1, round(across * width))]

    def _corner(self, pixels: NDArray[np.uint8]) -> tuple[int, int]:
        if self._camera.roi is None:
            return 0, 0
        return round(self._camera.roi[0] * pixels.shape[1]), round(self._camera.roi[1] * pixels.shape[0])


def _whole(box: Box, width: int, height: int, others: Sequence[Box]) -> bool:
    """Whether a face is whole, and no part of it is another's."""
    # A detector draws its box around what it sees of a face. At the edge, that may be half of one.
    margin = _MARGIN * box[3]
    if box[0] < margin or box[0] + box[2] > width - margin or box[1] < 0 or box[1] + box[3] > height:
        return False
    return all(_shared(box, other) <= _COVERED * box[2] * box[3] for other in others)


def _shared(one: Box, other: Box) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
