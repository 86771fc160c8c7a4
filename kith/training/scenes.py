"""Pictures to teach a detector with, composed of faces cut from photographs: many faces a picture, at every size, with
something in front of them, in bad light, badly compressed.

Nothing here is labelled: the teacher says what is to be seen in a scene, wherever a face ended up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.training.cutouts import Cutout

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Side of the window and of the face in it with which `kith.yunet` looks at a face again, pixels.
WINDOW_PX, WINDOW_FACE_PX = 160, 112

#: Sizes of pasted faces, pixels; drawn evenly on a logarithmic scale.
_FACES_PX = (10.0, 150.0)

#: Most faces of one scene.
_CROWD = 6


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """pixels: (side, side, 3) uint8 RGB. boxes: (n, 4) x, y, width, height of the n faces pasted, in the order of
    pasting, a later one possibly over an earlier, and possibly beyond the edge."""

    pixels: Pixels
    boxes: Floats


def scene(cutouts: Sequence[Cutout], rng: np.random.Generator, side: int) -> Scene:
    """One scene of `side` × `side` pixels: a crowd before some background (60 %), one photograph in the corner of a
    black canvas, as small pictures are shown to the detector (25 %), or a background without anybody (15 %)."""
    kind = rng.random()
    if kind < 0.25:
        made = _alone(_any(cutouts, rng), rng, side)
    else:
        made = Scene(_background(cutouts, rng, side), np.empty((0, 4), np.float32))
        if kind < 0.85:
            boxes = [_paste(made.pixels, _any(cutouts, rng), rng) for _ in range(rng.integers(1, _CROWD + 1))]
            made = Scene(made.pixels, np.array(boxes, np.float32))
    return Scene(_weather(made.pixels, rng), made.boxes)


def window(cutouts: Sequence[Cutout], rng: np.random.Generator) -> Scene:
    """A face as kith.yunet looks at it again: WINDOW_PX square, a face of about WINDOW_FACE_PX in the middle, black
    where the photograph ends."""
    cutout = _any(cutouts, rng)
    face_px = WINDOW_FACE_PX * rng.uniform(0.8, 1.25)
    middle = WINDOW_PX / 2 + rng.normal(0, 4, 2)
    pixels = np.zeros((WINDOW_PX, WINDOW_PX, 3), np.uint8)
    turn = _turn(cutout, face_px, float(rng.normal(0, 8)), middle)
    _warp(cutout, turn, pixels)
    if rng.random() < 0.15:
        _cover(pixels, middle, face_px, rng)
    return Scene(_weather(pixels, rng), _box_in(cutout, turn)[None])


def _any(cutouts: Sequence[Cutout], rng: np.random.Generator) -> Cutout:
    cutout = cutouts[int(rng.integers(len(cutouts)))]
    if rng.random() < 0.5:
        return cutout
    x, y, width, height = cutout.box
    mirrored = np.ascontiguousarray(cutout.pixels[:, ::-1])
    return Cutout(mirrored, (cutout.pixels.shape[1] - x - width, y, width, height))


def _alone(cutout: Cutout, rng: np.random.Generator, side: int) -> Scene:
    longest = max(cutout.pixels.shape[:2])
    factor = min(float(rng.choice([1.0, 1.5, rng.uniform(0.4, 1.8)])), side / longest)
    pixels = np.zeros((side, side, 3), np.uint8)
    height, width = (max(1, round(length * factor)) for length in cutout.pixels.shape[:2])
    pixels[:height, :width] = _resize(cutout.pixels, width, height)
    return Scene(pixels, np.array([cutout.box], np.float32) * np.float32(factor))


def _paste(canvas: Pixels, cutout: Cutout, rng: np.random.Generator) -> Floats:
    """Put `cutout` somewhere on `canvas`; where its face is then."""
    side = len(canvas)
    face_px = float(np.exp(rng.uniform(np.log(_FACES_PX[0]), np.log(min(_FACES_PX[1], side * 0.8)))))
    middle = rng.uniform(0, side, 2)
    turn = _turn(cutout, face_px, float(rng.normal(0, 10)), middle)
    _warp(cutout, turn, canvas, feather=rng.random() < 0.7)
    if rng.random() < 0.2:
        _cover(canvas, middle, face_px, rng)
    return _box_in(cutout, turn)


def _turn(cutout: Cutout, face_px: float, degrees: float, middle: NDArray[np.floating]) -> NDArray[np.float64]:
    """The 2×3 matrix that turns `cutout` by `degrees`, makes its face `face_px` large and puts it at `middle`."""
    x, y, width, height = cutout.box
    centre = (x + width / 2, y + height / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, degrees, face_px / np.sqrt(width * height)), np.float64)
    matrix[:, 2] += middle - np.array(centre)
    return matrix


def _box_in(cutout: Cutout, turn: NDArray[np.float64]) -> Floats:
    x, y, width, height = cutout.box
    centre = turn @ [x + width / 2, y + height / 2, 1]
    sides = np.array([width, height]) * np.hypot(*turn[:, 0])
    return np.concatenate([centre - sides / 2, sides]).astype(np.float32)


def _warp(cutout: Cutout, turn: NDArray[np.float64], canvas: Pixels, feather: bool = False) -> None:
    pixels, turn = cutout.pixels, turn.copy()
    scale = float(np.hypot(*turn[:, 0]))
    if scale < 0.5:
        # A warp takes four pixels whatever the scale; what is made much smaller has to be averaged first.
        height, width = (max(1, round(length * scale)) for length in pixels.shape[:2])
        turn[:, 0] *= pixels.shape[1] / width
        turn[:, 1] *= pixels.shape[0] / height
        pixels = _resize(pixels, width, height)
    mask = np.ones(pixels.shape[:2], np.float32)
    if feather:
        rim = max(1, round(min(mask.shape) * 0.12))
        down, across = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) / rim for n in pixels.shape[:2])
        mask = np.minimum(1, np.minimum.outer(down, across)).astype(np.float32)
    size = canvas.shape[1::-1]
    over = cv2.warpAffine(pixels, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask, turn, size, flags=cv2.INTER_LINEAR)[..., None]
    canvas[:] = canvas + (over.astype(np.float32) - canvas) * share


def _cover(canvas: Pixels, middle: NDArray[np.floating], face_px: float, rng: np.random.Generator) -> None:
    """Something in front of part of a face."""
    at = tuple(int(v) for v in middle + rng.uniform(-0.5, 0.5, 2) * face_px)
    axes = tuple(max(1, int(v)) for v in rng.uniform(0.1, 0.4, 2) * face_px)
    cv2.ellipse(canvas, at, axes, float(rng.uniform(0, 180)), 0, 360, _colour(rng), -1)


def _background(cutouts: Sequence[Cutout], rng: np.random.Generator, side: int) -> Pixels:
    """No faces, or none that anybody could recognise: a photograph blurred or in coarse mosaic, clouds of colour, its
    rim tiled; with things drawn on it."""
    kind = rng.random()
    pixels = _any(cutouts, rng).pixels
    if kind < 0.3:
        made = cv2.GaussianBlur(_resize(pixels, side, side), (0, 0), float(rng.uniform(6, 24)))
    elif kind < 0.5:
        coarse = int(rng.integers(3, 12))
        method = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_CUBIC
        made = cv2.resize(_resize(pixels, coarse, coarse), (side, side), interpolation=method)
    elif kind < 0.7:
        cells = int(rng.integers(2, 40))
        clouds = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        made = cv2.resize(clouds, (side, side), interpolation=cv2.INTER_CUBIC)
    else:
        # Hair, collars, walls: the upper and the lower rim of photographs, each piece next to its mirror image.
        strip = max(4, len(pixels) // 6)
        rim = pixels[:strip] if rng.random() < 0.5 else pixels[-strip:]
        tile = np.concatenate([rim, rim[::-1]])
        tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
        again = [-(-side // length) for length in tile.shape[:2]]
        made = np.tile(tile, (*again, 1))[:side, :side]
    canvas: Pixels = np.ascontiguousarray(made, np.uint8)
    for _ in range(rng.integers(0, 12)):
        _draw(canvas, rng)
    return canvas


def _draw(canvas: Pixels, rng: np.random.Generator) -> None:
    """An edge, a disc, a bar or a few letters: what a street is full of, and a face is not."""
    side = len(canvas)
    one, other = (tuple(int(v) for v in rng.integers(0, side, 2)) for _ in range(2))
    colour, thick = _colour(rng), int(rng.integers(1, 6))
    kind = rng.integers(4)
    if kind == 0:
        cv2.line(canvas, one, other, colour, thick, cv2.LINE_AA)
    elif kind == 1:
        cv2.circle(canvas, one, int(rng.integers(2, 40)), colour, -1 if rng.random() < 0.5 else thick, cv2.LINE_AA)
    elif kind == 2:
        cv2.rectangle(canvas, one, tuple(v + int(rng.integers(4, 60)) for v in one), colour, -1)
    else:
        letters = "".join(chr(c) for c in rng.integers(48, 123, rng.integers(1, 6)))
        cv2.putText(canvas, letters, one, int(rng.integers(8)), float(rng.uniform(0.4, 2)), colour, thick, cv2.LINE_AA)


def _weather(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Light, colour, focus, noise and compression."""
    gain = rng.uniform(0.5, 1.5) * rng.uniform(0.85, 1.15, 3)
    gamma, lift = np.exp(rng.normal(0, 0.3)), rng.uniform(-25, 25)
    steps = np.arange(256)[:, None] / 255
    table = np.clip(255 * steps**gamma * gain + lift, 0, 255).astype(np.uint8) if rng.random() < 0.8 else None
    out: Any = pixels if table is None else cv2.LUT(pixels, table[None])
    if rng.random() < 0.08:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.2:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.4, 2.0)))
    if rng.random() < 0.2:
        grain = rng.standard_normal(out.shape, np.float32) * np.float32(rng.uniform(1, 14))
        out = np.clip(out + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        out = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(out, np.uint8)


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(0, 256, 3))


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    method = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)
