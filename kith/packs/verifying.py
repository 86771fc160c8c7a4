"""Is a pack what it says, and does it work: every hash, both networks, and a picture embedded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kith.checkpoints import Pack, load_pack
from kith.detector import open_detector
from kith.embedder import Embedder, Vectors, embed, open_embedder
from kith.errors import InvalidPack

#: Kernels differ with the size of a batch, and so do the last bits; a network that looks at its neighbours is far off.
_MIN_AGREEMENT = 0.999

#: Two pictures that have nothing in common; a network whose input was normalised to nothing sees no difference.
_MAX_LIKENESS = 0.9999


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """files: name → SHA-256, as found. runtime: what runs the embedder. golden: the vector of `golden_picture`."""

    pack: Pack
    files: dict[str, str]
    runtime: str
    golden: NDArray[np.float32]


def verify(path: Path, device: str = "auto") -> Verified:
    """Load the pack in the folder `path` and everything in it, and embed a picture.

    Raises InvalidPack when a hash, a network or a vector is not what the manifest promises, Misconfigured when the
    device or a runtime is missing.
    """
    pack = load_pack(path)
    embedder = open_embedder(pack, device)
    golden = _embedded(pack, embedder)
    detector = open_detector(pack)
    if detector is not None:
        detector.detect(golden_picture(pack.input_size))
    manifest = pack.manifest
    files = {
        spec.file: spec.sha256
        for spec in (manifest.embedder, manifest.detector)
        if spec is not None and spec.file is not None and spec.sha256 is not None
    }
    return Verified(pack, files, embedder.runtime, golden)


def golden_picture(side: int, phase: float = 0.0) -> NDArray[np.uint8]:
    """(side, side, 3) uint8 RGB: drawn waves, the same on every machine. phase: another number, another picture."""
    rows, columns = np.mgrid[:side, :side].astype(np.float64)
    waves = [127 + 120 * np.sin(rows / 9 + k + phase) * np.cos(columns / (7 + k) - phase) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def _embedded(pack: Pack, embedder: Embedder) -> NDArray[np.float32]:
    picture, other = golden_picture(pack.input_size), golden_picture(pack.input_size, phase=2.5)
    alone: NDArray[np.float32] = embed(embedder, [picture])[0]
    together: Vectors = embed(embedder, [other, picture, other])
    agreement = float(together[1] @ alone)
    if agreement < _MIN_AGREEMENT:
        raise InvalidPack(
            f"{pack.path}: one picture has other vectors alone and among others (cosine {agreement:.4f}): the network "
            "looks at the whole batch, as one does that was exported in training mode"
        )
    likeness = float(together[0] @ alone)
    if pack.dimension > 1 and likeness > _MAX_LIKENESS:
        raise InvalidPack(
            f"{pack.path}: two pictures that have nothing in common have the same vector (cosine {likeness:.5f}): "
            "scale, mean and std are not those the network was trained with, or it was never trained"
        )
    return alone
