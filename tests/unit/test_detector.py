"""The detector that a pack names is the one that opens."""

from dataclasses import replace
from pathlib import Path

import pytest

from kith.checkpoints import load_pack, simulated_pack, write_pack
from kith.detector import open_detector
from kith.errors import InvalidPack
from kith.manifest import DetectorSpec
from kith.scrfd import Scrfd
from tests.onnx_models import scrfd


def test_a_pack_without_a_detector_opens_none(tmp_path: Path) -> None:
    assert open_detector(simulated_pack(tmp_path)) is None


def test_the_kind_says_which_network_it_is(tmp_path: Path) -> None:
    plain = simulated_pack(tmp_path / "plain").manifest
    spec = DetectorSpec(file="faces.onnx", sha256="0" * 64, kind="scrfd")
    pack = write_pack(tmp_path / "pack", replace(plain, detector=spec), {"faces.onnx": scrfd()})
    assert isinstance(open_detector(pack), Scrfd)
    other = write_pack(
        tmp_path / "other", replace(plain, detector=replace(spec, kind="yunet")), {"faces.onnx": scrfd()}
    )
    with pytest.raises(InvalidPack, match=r"faces\.onnx is not a YuNet"):
        open_detector(load_pack(other.path))
    assert other.model_id != pack.model_id
