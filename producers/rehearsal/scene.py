"""People walking past a camera, drawn from photographs, so that it is known who was where in each frame.

A person is a photograph cut out softly, on a body in clothes of one colour, moved over a background that stands still
but for the noise of a sensor. Seeing the same person again is seeing another photograph.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.errors import NotAnImage

Pixels = NDArray[np.uint8]
#: x, y, width, height in pixels.
Box = tuple[float, float, float, float]

#: Different noises of the sensor, each used in three ways.
_GRAINS = 12


@dataclass(frozen=True)
class Portrait:
    """One photograph: pixels (height, width, 3) RGB and the face's box in it, x, y, width, height. Reading them raises
    NotAnImage."""

    identity: str
    file: Path
    box: Box

    @functools.cached_property
    def pixels(self) -> Pixels:
        read = cv2.imread(str(self.file))
        if read is None:
            raise NotAnImage(f"{self.file} cannot be read as a picture")
        return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


@dataclass(frozen=True)
class Walk:
    """A way through the picture. path: (second, x, y) of the middle of the face, straight between them; before the
    first and after the last the person is not there. face_px: height of the face. change_s: after that, another
    photograph. blur_px, light: how badly it is seen."""

    portraits: Sequence[Portrait]
    path: tuple[tuple[float, float, float], ...]
    face_px: float = 90.0
    change_s: float = 1.0
    blur_px: float = 0.0
    light: float = 1.0

    @property
    def who(self) -> str:
        return self.portraits[0].identity

    def at(self, second: float) -> tuple[float, float] | None:
        """Where the face's middle is."""
        times, xs, ys = zip(*self.path, strict=True)
        if not times[0] <= second <= times[-1]:
            return None
        return float(np.interp(second, times, xs)), float(np.interp(second, times, ys))


@dataclass(frozen=True)
class There:
    """Who is where: box of the face, x, y, width, height in pixels of the frame. hidden: share of it that somebody
    nearer covers, or that lies outside."""

    who: str
    box: Box
    hidden: float = 0.0


@dataclass(frozen=True)
class Scene:
    """walks: the farthest first; who comes later in the list is in front."""

    walks: tuple[Walk, ...]
    seconds: float
    width: int = 640
    height: int = 480
    fps: int = 15
    seed: int = 0
    noise: float = 2.0
    _background: list[Pixels] = field(default_factory=list, compare=False)
    _grain: list[NDArray[np.int16]] = field(default_factory=list, compare=False)

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)

    def draw(self, number: int) -> Pixels:
        """Frame `number`, (height, width, 3) uint8 RGB."""
        if not self._background:
            self._background.append(_background(self.width, self.height, self.seed))
        canvas = self._background[0].copy()
        for index, walk in enumerate(self.walks):
            place = walk.at(number / self.fps)
            if place is not None:
                _draw_person(canvas, walk, place, self._photo(walk, number), index)
        return self._noisy(canvas, number) if self.noise else canvas

    def truth(self, number: int) -> list[There]:
        """Who is in frame `number`."""
        found: list[There] = []
        for index, walk in enumerate(self.walks):
            place = walk.at(number / self.fps)
            if place is not None:
                box = _box(walk, place, self._photo(walk, number))
                found.append(There(walk.who, box, self._hidden(box, self._covers(number, index + 1))))
        return found

    def _noisy(self, canvas: Pixels, number: int) -> Pixels:
        if not self._grain:
            random = np.random.default_rng(self.seed)
            for _ in range(_GRAINS):
                self._grain.append(np.rint(self.noise * random.standard_normal(canvas.shape)).astype(np.int16))
        # Which of them, and turned which way, is drawn by lot: to draw each value anew would take longer than all else.
        chance = np.random.default_rng((self.seed, number))
        grain, axis = self._grain[int(chance.integers(_GRAINS))], int(chance.integers(-1, 2))
        return np.asarray(cv2.add(canvas, cv2.flip(grain, axis), dtype=cv2.CV_8U), np.uint8)

    def _covers(self, number: int, first: int) -> list[Box]:
        """Faces and bodies of those in front."""
        covers = []
        for walk in self.walks[first:]:
            place = walk.at(number / self.fps)
            if place is not None:
                covers += [_box(walk, place, self._photo(walk, number)), _body(walk, place, self.height)]
        return covers

    def _photo(self, walk: Walk, number: int) -> Portrait:
        since = number / self.fps - walk.path[0][0]
        return walk.portraits[int(since / walk.change_s) % len(walk.portraits)]

    def _hidden(self, box: Box, covers: Sequence[Box]) -> float:
        x, y, width, height = box
        shown = np.zeros((16, 16), bool)
        columns, rows = x + (np.arange(16) + 0.5) * width / 16, y + (np.arange(16) + 0.5) * height / 16
        shown[:] = ((rows >= 0) & (rows < self.height))[:, None] & ((columns >= 0) & (columns < self.width))[None]
        for other in covers:
            covered_rows = (rows >= other[1]) & (rows < other[1] + other[3])
            covered_columns = (columns >= other[0]) & (columns < other[0] + other[2])
            shown[covered_rows[:, None] & covered_columns[None]] = False
        return float(1 - shown.mean())


def _background(width: int, height: int, seed: int) -> Pixels:
    """A room: patches of blurred colour, and fine grain that stays."""
    random = np.random.default_rng(seed)
    patches = cv2.resize(
        random.uniform(70, 170, (6, 8, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    grain = random.normal(0, 6, (height, width, 1)).astype(np.float32)
    return np.asarray(np.clip(patches + grain, 0, 255), np.uint8)


def _box(walk: Walk, place: tuple[float, float], portrait: Portrait) -> Box:
    scale = walk.face_px / portrait.box[3]
    width = portrait.box[2] * scale
    return place[0] - width / 2, place[1] - walk.face_px / 2, width, walk.face_px


def _draw_person(canvas: Pixels, walk: Walk, place: tuple[float, float], portrait: Portrait, index: int) -> None:
    scale = walk.face_px / portrait.box[3]
    photo = cv2.resize(
        portrait.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    if walk.blur_px:
        photo = cv2.GaussianBlur(photo, (0, 0), walk.blur_px)
    photo = np.clip(photo * walk.light, 0, 255).astype(np.uint8)
    height, width = photo.shape[:2]
    middle = (portrait.box[0] + portrait.box[2] / 2) * scale, (portrait.box[1] + portrait.box[3] / 2) * scale
    left, top = round(place[0] - middle[0]), round(place[1] - middle[1])
    _draw_body(canvas, walk, place, index)
    # An ellipse around the head, soft at its edge: a straight edge would be a frame around the face.
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    away = np.hypot(
        (columns - middle[0]) / (0.95 * portrait.box[2] * scale), (rows - middle[1]) / (0.8 * portrait.box[3] * scale)
    )
    mask = np.clip((1 - away) * 6, 0, 1)[..., None]
    _lay(canvas, photo, mask.astype(np.float32), left, top)


def _draw_body(canvas: Pixels, walk: Walk, place: tuple[float, float], index: int) -> None:
    random = np.random.default_rng(_seed_of(walk.who) + index)
    colour = random.uniform(20, 220, 3) * walk.light
    x, y, width, _ = _body(walk, place, canvas.shape[0])
    left, right, top = max(0, round(x)), min(canvas.shape[1], round(x + width)), round(y)
    if top < canvas.shape[0] and left < right:
        canvas[max(top, 0) :, left:right] = colour


def _body(walk: Walk, place: tuple[float, float], height: int) -> Box:
    top = place[1] + walk.face_px * 0.45
    return place[0] - walk.face_px, top, 2 * walk.face_px, max(0.0, height - top)


def _seed_of(name: str) -> int:
    """The same in each run, unlike `hash`."""
    return int.from_bytes(name.encode()[-4:], "little")


def _lay(canvas: Pixels, photo: Pixels, mask: NDArray[np.float32], left: int, top: int) -> None:
    rows = slice(max(top, 0), min(top + photo.shape[0], canvas.shape[0]))
    columns = slice(max(left, 0), min(left + photo.shape[1], canvas.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    under = canvas[rows, columns].astype(np.float32)
    canvas[rows, columns] = (under + (photo[part] - under) * mask[part]).astype(np.uint8)
