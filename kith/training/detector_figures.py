"""How good a distilled detector is: beside its teacher on photographs neither was trained on, and how fast."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kith.detector import Detection, Detector
from kith.evaluation.detection import Agreement, agreement
from kith.runtimes.session import open_session
from kith.training.cutouts import read_photograph
from kith.yunet import YuNet

#: Of the frame that is timed: width and height, pixels; and how often: the machine may be busy, the fastest counts.
_FRAME_PX, _FRAMES = (640, 480), 20


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Photographs and what the teacher finds on them. Pixels are read again when they are needed: they may be many."""

    paths: tuple[Path, ...]
    found: tuple[tuple[Detection, ...], ...]

    def sample(self, count: int) -> "Reference":
        """The first `count` of them."""
        return Reference(self.paths[:count], self.found[:count])


def look_at(
    paths: Sequence[Path], teacher: Detector, threads: int, tell: Callable[[int], None] = lambda _: None
) -> Reference:
    """What `teacher` finds on each of `paths`; what is no picture is left out. tell: how many have been looked at."""
    kept, found = list[Path](), list[tuple[Detection, ...]]()
    for count, (path, faces) in enumerate(zip(paths, _all(paths, teacher, threads), strict=True), 1):
        if faces is not None:
            kept.append(path)
            found.append(faces)
        tell(count)
    return Reference(tuple(kept), tuple(found))


def compare(model: bytes, reference: Reference, threads: int) -> Agreement:
    """How far the detector in `model` (ONNX), run as the service runs it, agrees with `reference`."""
    mine = _all(reference.paths, YuNet(model), threads)
    return agreement((faces or (), theirs) for faces, theirs in zip(mine, reference.found, strict=True))


def figures_of(model: bytes, reference: Reference, threads: int) -> dict[str, float]:
    """`compare` and what the file costs, by name."""
    found = compare(model, reference, threads)
    return {
        **shares(found),
        "images": found.images,
        "faces": found.faces,
        "bytes": len(model),
        "frame_ms": frame_ms(model),
    }


def shares(found: Agreement) -> Mapping[str, float]:
    """The figures that a detector is judged by."""
    return {
        "recall": found.recall,
        "extra": found.extra_rate,
        "landmark_error": found.landmark_error,
        "landmark_error_99": found.worst_landmark_error,
    }


def frame_ms(model: bytes) -> float:
    """Milliseconds for a frame of 640×480 on one core, the network alone."""
    session = open_session(model, device="cpu", threads=1, where="the detector")
    width, height = _FRAME_PX
    canvas = np.random.default_rng(0).uniform(0, 255, (1, 3, height, width)).astype(np.float32)
    best = float("inf")
    for _ in range(_FRAMES):
        began = time.perf_counter()
        session.run(None, {session.get_inputs()[0].name: canvas})
        best = min(best, time.perf_counter() - began)
    return 1000 * best


def _all(paths: Sequence[Path], detector: Detector, threads: int) -> list[tuple[Detection, ...] | None]:
    def look(path: Path) -> tuple[Detection, ...] | None:
        pixels = read_photograph(path)
        return None if pixels is None else tuple(detector.detect(pixels))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(look, paths))
