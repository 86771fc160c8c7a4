"""The parts of a pack as the service would run them: an embedder and a reader of pictures."""

from kith.checkpoints import Pack
from kith.crops import CropReader
from kith.detector import open_detector
from kith.embedder import Embedder, open_embedder
from kith.errors import Misconfigured


def open_serving(
    pack: Pack, aligned: bool, device: str = "auto", threads: int = 0, runtime: str = "auto"
) -> tuple[Embedder, CropReader]:
    """The embedder that would serve, and what reads pictures for it; aligned: they are aligned crops already.

    Raises InvalidPack, and Misconfigured when photos need a detector the pack lacks; see kith.embedder.open_embedder.
    """
    detector = None if aligned else open_detector(pack)
    if detector is None and not aligned:
        raise Misconfigured(f"{pack.path} has no face detector: it takes aligned crops (--aligned)")
    return open_embedder(pack, device, threads, runtime), CropReader(detector, pack.manifest.embedder.template)
