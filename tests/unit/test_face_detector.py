"""The detector's network: the shapes of what it says, and that its ONNX file says the same and runs as a detector."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kith.errors import Rejected
from kith.networks.face_detector import OUTPUTS, PARTS, STRIDES, FaceDetector
from kith.runtimes.session import open_session
from kith.training.detector_export import export_detector
from kith.training.detector_teacher import DetectorTeacher, canvas_of
from kith.yunet import YuNet


@pytest.fixture(scope="module")
def network() -> FaceDetector:
    """Random weights, and batch norms that are not the identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = FaceDetector().eval()
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.5)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.normal_(module.weight, 1, 0.3)
                torch.nn.init.normal_(module.bias, 0, 0.3)
    return made


@pytest.fixture(scope="module")
def exported(network: FaceDetector) -> bytes:
    return export_detector(network)


def pixels(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 255, (count, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 160), (96, 32)])
def test_each_cell_of_each_grid_answers_in_every_part(network: FaceDetector, height: int, width: int) -> None:
    with torch.no_grad():
        found = network(torch.from_numpy(pixels(2, height, width)))
    shapes = dict(zip(OUTPUTS, (value.shape for value in found), strict=True))
    for part, size in PARTS.items():
        for stride in STRIDES:
            assert shapes[f"{part}_{stride}"] == (2, (height // stride) * (width // stride), size)


def test_scores_are_probabilities(network: FaceDetector) -> None:
    with torch.no_grad():
        found = network(torch.from_numpy(pixels(1, 64, 64)))
    assert all(((value >= 0) & (value <= 1)).all() for value in found[:6])


def test_it_is_as_small_as_a_detector_for_every_camera_has_to_be(network: FaceDetector, exported: bytes) -> None:
    assert sum(value.numel() for value in network.parameters()) < 80_000
    assert len(exported) < 400_000


def test_a_unit_that_is_taught_sees_the_teachers_maps_and_none_of_the_students(network: FaceDetector) -> None:
    canvas = torch.from_numpy(pixels(1, 64, 64))
    with torch.no_grad():
        alone = network.look(canvas)
        taught = network.look(canvas, [torch.zeros_like(each) for each in alone.maps])
        same = network.look(canvas, [each.relu() for each in alone.maps])
    assert all(torch.equal(one, other) for one, other in zip(alone.outputs, same.outputs, strict=True))
    # The first sees the image in any case; all others see nothing at all, everywhere: what is left are their biases.
    assert torch.equal(alone.maps[0], taught.maps[0])
    assert all(each[..., 2:-2, 2:-2].std(dim=(2, 3), correction=0).max() < 1e-5 for each in taught.maps[1:5])


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 96, 160), (5, 64, 32)])
def test_the_onnx_file_says_what_the_network_says_at_any_size(
    network: FaceDetector, exported: bytes, shape: tuple[int, int, int]
) -> None:
    canvas = pixels(*shape)
    session = open_session(exported, device="cpu", threads=1, where="the test")
    with torch.no_grad():
        wanted = network(torch.from_numpy(canvas))
    for name, found, theirs in zip(OUTPUTS, session.run(OUTPUTS, {"input": canvas}), wanted, strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_onnx_file_tells_nothing_of_where_it_was_made(exported: bytes) -> None:
    assert str(Path.cwd()).encode() not in exported
    assert b"/site-packages/" not in exported
    assert {node.op_type for node in onnx.load_from_string(exported).graph.node} == {
        "Conv", "Relu", "MaxPool", "Resize", "Add", "Transpose", "Reshape", "Sigmoid", "Identity",
    }  # fmt: skip


def test_a_file_that_says_something_else_is_not_handed_out(
    network: FaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets_the_shift(conv: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d) -> torch.nn.Conv2d:
        fused = fuse_conv_bn_eval(conv, norm)
        torch.nn.init.zeros_(fused.bias)
        return fused

    monkeypatch.setattr("kith.training.detector_export.fuse_conv_bn_eval", forgets_the_shift)
    with pytest.raises(Rejected, match="differs from the network in cls_8"):
        export_detector(network)


def test_the_service_runs_the_file(exported: bytes) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 50, 3), dtype=np.uint8)
    # Random weights find faces anywhere or nowhere; what counts is that every part of what they say is understood.
    found = YuNet(exported, min_score=0.0, max_overlap=0.0).detect(image)
    assert found
    assert all(np.isfinite(face.landmarks).all() and face.landmarks.shape == (5, 2) for face in found)


def test_one_detector_can_teach_another_of_its_shape(network: FaceDetector, exported: bytes) -> None:
    teacher = DetectorTeacher(exported, "the test")
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    canvas = canvas_of(images)
    assert (canvas[0, 0, 5, 7], canvas[1, 2, 0, 0]) == (images[0, 5, 7, 2], images[1, 0, 0, 0])
    lesson = teacher.teach(canvas)
    with torch.no_grad():
        seen = network.look(torch.from_numpy(canvas))
    assert teacher.alike
    assert len(lesson.maps) == len(seen.maps)
    for theirs, mine in zip(lesson.maps, seen.maps, strict=True):
        np.testing.assert_allclose(theirs, mine.relu(), rtol=1e-3, atol=1e-3)
