"""RGB array in, faces out: what a detector answers with, and the one that a pack names.

The networks: YuNet (kith.yunet) and SCRFD (kith.scrfd). Both run in onnxruntime on the CPU, everything around them is
ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kith.checkpoints import Pack
from kith.manifest import DetectorSpec

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face of an image.

    box: x, y, width, height. landmarks: (5, 2) float32, eye, eye, nose, mouth corner, mouth corner, left to right in
    the image. Both in pixels, (0, 0) the image's corner, and possibly beyond its edge. score: 0..1.
    """

    box: tuple[float, float, float, float]
    landmarks: Floats
    score: float


class Detector(Protocol):
    """Finds faces; safe to call from many threads."""

    def detect(self, image: Pixels) -> list[Detection]:
        """The faces of `image` ((height, width, 3) uint8 RGB), largest box first; an empty list when there is none."""
        ...


class FrameDetector(Detector, Protocol):
    """A detector in two steps, for frames that follow one another: most faces are looked for only to follow them."""

    def find(self, image: Pixels) -> list[Detection]:
        """As `detect`, in one look at `image`: half the cost, coarser landmarks, and tiny faces may be missed."""
        ...

    def refine(self, image: Pixels, found: Sequence[Detection]) -> list[Detection]:
        """`found` in `image` with the landmarks that `detect` would give them, in the same order."""
        ...


def open_detector(pack: Pack, *, max_side: int = 640) -> FrameDetector | None:
    """The detector of `pack`, None when it has none. max_side: larger images are reduced to it, pixels.

    Raises InvalidPack when the file is not the network it claims.
    """
    spec = pack.manifest.detector
    return None if spec is None else detector_of(spec, pack.read(spec), str(pack.path / spec.file), max_side=max_side)


def detector_of(spec: DetectorSpec, model: bytes, where: str, *, max_side: int = 640) -> FrameDetector:
    """The detector whose file holds `model`. Raises InvalidPack, naming `where`, when it is not what `spec` says."""
    # Imported here, not above: each answers with what is defined in this file.
    from kith.scrfd import Scrfd  # noqa: PLC0415
    from kith.yunet import YuNet  # noqa: PLC0415

    return Scrfd(model, where, max_side) if spec.kind == "scrfd" else YuNet(model, where, max_side)
