"""Model packs in InsightFace's format: a folder of ONNX files whose names say what they are.

    det_10g.onnx, det_2.5g.onnx, det_500m.onnx, scrfd_*.onnx      detector: SCRFD with landmarks
    w600k_r50.onnx, w600k_mbf.onnx, glintr100.onnx                recogniser: 112×112, RGB, (pixel − 127.5) / 127.5
    genderage.onnx, 2d106det.onnx, 1k3d68.onnx                    of no use here

These names and conventions are those of the packs buffalo_l, buffalo_m, buffalo_s, buffalo_sc and antelopev2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch

from kith.manifest import DetectorSpec, EmbedderSpec

LICENCE = (
    "non-commercial research only, as stated by the publisher (InsightFace); commercial use needs a licence of theirs"
)
SOURCE = "InsightFace model zoo, https://github.com/deepinsight/insightface"

_RECOGNISERS = ("w600k_r50.onnx", "w600k_mbf.onnx", "glintr100.onnx")
_DETECTORS = ("det_10g.onnx", "det_2.5g.onnx", "det_500m.onnx", "scrfd_*.onnx")
_IGNORED = ("genderage.onnx", "2d106det.onnx", "1k3d68.onnx")

#: Until the hash of the file stands there.
_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a folder that make a pack; detector: None when there is none."""

    recogniser: str
    detector: str | None


def recognise(names: Iterable[str]) -> Found | None:
    """Which of the files called `names` make a pack; None when no recogniser of InsightFace's is among them."""
    present = sorted(names)
    recogniser = next((name for known in _RECOGNISERS for name in present if name == known), None)
    if recogniser is None:
        return None
    detector = next((name for known in _DETECTORS for name in present if fnmatch(name, known)), None)
    return Found(recogniser, detector)


def ignored(name: str) -> bool:
    """Whether a file of this name is of no use: its age, sex or further landmarks of faces are not asked for here."""
    return name in _IGNORED


def embedder_of(found: Found, dimension: int) -> EmbedderSpec:
    """How the recogniser is used."""
    return EmbedderSpec(
        format="onnx",
        file=found.recogniser,
        sha256=_NO_HASH,
        dimension=dimension,
        channels="RGB",
        scale=1.0,
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
    )


def detector_of(found: Found) -> DetectorSpec | None:
    """How the detector is used."""
    return None if found.detector is None else DetectorSpec(file=found.detector, sha256=_NO_HASH, kind="scrfd")
