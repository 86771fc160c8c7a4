"""Which detector a file holds, found by opening it."""

from pathlib import Path

from kith.checkpoints import load_pack
from kith.errors import InvalidPack, Rejected
from kith.manifest import DetectorSpec
from kith.scrfd import Scrfd
from kith.yunet import YuNet

#: Until the hash of the file stands there.
_NO_HASH = "0" * 64


def find_detector(path: Path) -> tuple[DetectorSpec, bytes]:
    """The detector in the file `path`, or that of the pack in the folder `path`, and its bytes.

    Raises InvalidPack when it is neither a YuNet nor an SCRFD, Rejected when there is no such file.
    """
    path = path.expanduser()
    if path.is_dir():
        pack = load_pack(path)
        if pack.manifest.detector is None:
            raise InvalidPack(f"the pack {path} has no detector to lend; name a file or another pack")
        return pack.manifest.detector, pack.read(pack.manifest.detector)
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise Rejected(f"the detector {path} cannot be read: {fault.strerror or fault}") from None
    try:
        YuNet(data, str(path))
        return DetectorSpec(file="detector.onnx", sha256=_NO_HASH, kind="yunet"), data
    except InvalidPack as no_yunet:
        try:
            Scrfd(data, str(path))
        except InvalidPack as no_scrfd:
            raise InvalidPack(f"no detector Kith can run: {no_yunet}; {no_scrfd}") from None
    return DetectorSpec(file="detector.onnx", sha256=_NO_HASH, kind="scrfd"), data
