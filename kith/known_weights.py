"""Published weights that Kith recognises by their SHA-256, so that a folder of bare downloads is a model pack.

Only what was measured is listed: the numbers of a network whose preprocessing one guesses are worth nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from kith.manifest import DetectorSpec, EmbedderSpec, Manifest

S = TypeVar("S", EmbedderSpec, DetectorSpec)

#: What can be a weights file; other files of a folder are not read, they may be large and are none of our business.
SUFFIXES = frozenset({".pt", ".pth", ".onnx", ".safetensors"})

_MOBILEFACENET = EmbedderSpec(
    format="torch",
    network="mobilefacenet",
    sha256="90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
    dimension=128,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)

#: The preferred first: a folder may hold the same network in several formats.
EMBEDDERS = (
    _MOBILEFACENET,
    replace(
        _MOBILEFACENET,
        format="onnx",
        network=None,
        sha256="b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
    ),
)

_YUNET = DetectorSpec(
    file="yunet_n_dynamic.onnx", sha256="104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12"
)


def recognise(files: Mapping[str, str]) -> Manifest | None:
    """The manifest for a folder that holds `files` (SHA-256 → name); None when no embedder among them is known."""
    embedder = _present(EMBEDDERS, files)
    if embedder is None:
        return None
    return Manifest(
        name="mobilefacenet-foamliu",
        licence="Apache-2.0 as stated by its publisher; trained on refined MS-Celeb-1M, which its owner withdrew",
        source="MobileFaceNet (ReLU6) by foamliu; detector: YuNet, Apache-2.0",
        embedder=embedder,
        detector=_present((_YUNET,), files),
        default_cutoff=0.44,
        cutoff_note=(
            "FPIR 1 % at 200 subjects with two templates each: 0.436 (90 % of draws 0.428 to 0.444), rounded up. "
            "200 galleries drawn from 2,260 identities (3,944 photos, mostly Labeled Faces in the Wild), each searched "
            "for 2,060 people outside it, through this detector and alignment. 0.42 at 100 such subjects. "
            "Calibrate on your own searches: other cameras and a more uniform public need a higher one."
        ),
    )


def _present(known: tuple[S, ...], files: Mapping[str, str]) -> S | None:
    for spec in known:
        if spec.sha256 is not None and spec.sha256 in files:
            return replace(spec, file=files[spec.sha256])
    return None
