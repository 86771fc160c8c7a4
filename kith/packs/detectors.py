"""Which detector a file holds, found by opening it."""

from pathlib import Path

from kith.checkpoints import Pack, load_pack
from kith.errors import InvalidPack, Rejected
from kith.manifest import DetectorSpec
from kith.scrfd import Scrfd
from kith.yunet import YuNet

#: Until the hash of the file stands there.
_NO_HASH = "0" * 64

#: A detector without the pack it came from: what it is, and its file.
Lent = tuple[DetectorSpec, bytes]


def lent_by(pack: Pack) -> Lent | None:
    """The detector of `pack`, None when it has none."""
    spec = pack.manifest.detector
    return None if spec is None else (spec, pack.read(spec))


def find_detector(path: Path) -> Lent:
    """The detector in the file `path`, or that of the pack in the folder `path`, and its bytes.

    Raises InvalidPack when it is neither a YuNet nor an SCRFD, Rejected when there is no such file.
    """
    path = path.expanduser()
    if path.is_dir():
        pack = load_pack(path)
        lent = lent_by(pack)
        if lent is None:
            raise InvalidPack(f"the pack {path} has no detector to lend; name a file or another pack")
        return lent
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
