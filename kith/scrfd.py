"""SCRFD through onnxruntime, as InsightFace's model packs carry it.

SCRFD (Guo, Deng, Lattas and Zafeiriou, "Sample and Computation Redistribution for Efficient Face Detection", 2021,
arXiv:2105.04714) answers for two anchors at each cell of three grids (strides 8, 16 and 32 pixels): a score, the
distances from the cell's corner to the four edges of the face's box, and the way from there to five landmarks, both in
strides. Input: RGB, (pixel − 127.5) / 128.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kith.detector import Detection, Floats, Pixels
from kith.errors import InvalidPack
from kith.runtimes.session import open_session
from kith.sightings import Faces, check_image, distinct, padded, resized, strongest

_STRIDES = (8, 16, 32)
_ANCHORS = 2

#: What is answered for an anchor, by how many numbers it is: the score, the box, the landmarks.
_WIDTHS = (1, 4, 10)

_MEAN, _STD = np.float32(127.5), np.float32(128)

#: A picture to see what the network answers with; small, and of sides that differ.
_TRIAL_PX = (64, 96)

#: The second try at a small image.
_ENLARGE = 1.5


class Scrfd:
    """SCRFD with landmarks on the CPU, one thread per call: calls come from many threads already.

    max_side: larger images are reduced to it, pixels; a network of fixed height and width has every image brought to
    these. min_score: of a face. max_overlap: of two faces (intersection over union), above it the one with the lower
    score is the same face again. The defaults are the publisher's.
    """

    def __init__(
        self,
        model: bytes,
        where: str = "the detector",
        max_side: int = 640,
        min_score: float = 0.5,
        max_overlap: float = 0.4,
    ) -> None:
        self._session = open_session(model, device="cpu", threads=1, where=where)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise InvalidPack(f"{where} is not an SCRFD: it does not take one batch of images")
        self._input = inputs[0].name
        self._fixed = _fixed_sides(list(inputs[0].shape), where)
        self._max_side, self._min_score, self._max_overlap = max_side, min_score, max_overlap
        self._order = self._order_of_outputs(where)

    def detect(self, image: Pixels) -> list[Detection]:
        """See Detector."""
        check_image(image)
        scale = self._scale(image)
        faces = self._find(image, scale)
        if not len(faces.scores) and self._fixed is None:
            # Nothing seen: the faces of a large photo may be small, and so may the whole image.
            faces = self._find(image, min(2 * scale, 1.0) if scale < 1 else _ENLARGE)
        return faces.detections()

    def find(self, image: Pixels) -> list[Detection]:
        """See FrameDetector."""
        check_image(image)
        return self._find(image, self._scale(image)).detections()

    def refine(self, image: Pixels, found: Sequence[Detection]) -> list[Detection]:  # noqa: ARG002
        """See FrameDetector. Its first look places landmarks as well as it can."""
        return list(found)

    def _scale(self, image: Pixels) -> float:
        height, width = image.shape[:2]
        if self._fixed is not None:
            return float(min(self._fixed[0] / height, self._fixed[1] / width))
        return float(min(1.0, self._max_side / max(height, width)))

    def _find(self, image: Pixels, scale: float) -> Faces:
        """The faces of `image` seen at `scale`, in pixels of `image`."""
        seen, factor = resized(image, scale)
        sides = self._fixed or (padded(seen.shape[0]), padded(seen.shape[1]))
        canvas = np.zeros((*sides, 3), np.uint8)
        # By rounding, a side may be one pixel longer than a fixed canvas.
        seen = seen[: sides[0], : sides[1]]
        canvas[: seen.shape[0], : seen.shape[1]] = seen
        answers = self._run(canvas)
        scores, boxes, points = (
            np.concatenate([answers[output].reshape(-1, width) for output in outputs])
            for outputs, width in zip(self._order, _WIDTHS, strict=True)
        )
        return self._decode(scores[:, 0], boxes, points, *_anchors(*sides)).scaled(factor)

    def _decode(self, scores: Floats, boxes: Floats, points: Floats, corners: Floats, strides: Floats) -> Faces:
        keep = strongest(scores, self._min_score)
        corner, stride = corners[keep], strides[keep, None]
        away = boxes[keep] * stride
        found = np.concatenate([corner - away[:, :2], away[:, :2] + away[:, 2:]], axis=1)
        marks = corner[:, None] + points[keep].reshape(-1, 5, 2) * stride[:, None]
        chosen = distinct(found, self._max_overlap)
        return Faces(found[chosen], marks[chosen], scores[keep][chosen])

    def _run(self, canvas: Pixels) -> list[NDArray[np.float32]]:
        batch = (canvas.transpose(2, 0, 1)[None].astype(np.float32) - _MEAN) / _STD
        answers: list[NDArray[np.float32]] = self._session.run(None, {self._input: batch})
        return answers

    def _order_of_outputs(self, where: str) -> tuple[list[int], ...]:
        """Which outputs are scores, boxes and landmarks, each in the order of the strides.

        Found by their shapes: exporters give the outputs numbers for names, and not the same ones.
        """
        sides = self._fixed or _TRIAL_PX
        try:
            answers = self._run(np.zeros((*sides, 3), np.uint8))
        except Exception as failed:  # noqa: BLE001 - onnxruntime raises its own types, none of them public
            raise InvalidPack(f"{where} cannot be run on {sides[1]}×{sides[0]} pixels: {failed}") from None
        rows = [_ANCHORS * (sides[0] // stride) * (sides[1] // stride) for stride in _STRIDES]
        place = {
            (answer.shape[-1], answer.size // answer.shape[-1]): number
            for number, answer in enumerate(answers)
            if answer.ndim and answer.size
        }
        wanted = [(width, count) for width in _WIDTHS for count in rows]
        if len(answers) != len(wanted) or set(place) != set(wanted):
            raise InvalidPack(
                f"{where} is not an SCRFD with landmarks: for {sides[1]}×{sides[0]} pixels it returns "
                f"{[answer.shape for answer in answers]}, not scores, boxes and landmarks ({_WIDTHS} numbers) of "
                f"{rows} anchors"
            )
        return tuple([place[width, count] for count in rows] for width in _WIDTHS)


def _fixed_sides(shape: list[object], where: str) -> tuple[int, int] | None:
    """Height and width of a network that takes no others. Exporters write a free one as a word or nothing."""
    count, _, *sides = shape
    fixed = [side for side in sides if isinstance(side, int)]
    if (isinstance(count, int) and count != 1) or len(fixed) == 1 or any(side % 32 for side in fixed):
        raise InvalidPack(f"{where} takes inputs of {shape}, not single images of free sides or multiples of 32")
    return (fixed[0], fixed[1]) if fixed else None


@lru_cache(maxsize=32)
def _anchors(height: int, width: int) -> tuple[Floats, Floats]:
    """For each anchor of the three grids in the order of the outputs: corner (n, 2) and stride (n,), pixels."""
    corners, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells = np.stack([columns.ravel(), rows.ravel()], axis=1) * stride
        corners.append(cells.repeat(_ANCHORS, axis=0))
        strides.append(np.full(_ANCHORS * rows.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
