"""A trained FaceDetector as the ONNX file that `kith.yunet` runs: batch, height and width free, batch norms folded.

Written operator by operator: the network has seven kinds of them, and what a general exporter adds for every node
(where in which file it was traced) is larger than the network and nobody's business.
"""

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kith.errors import Rejected
from kith.networks.face_detector import OUTPUTS, PARTS, STRIDES, FaceDetector
from kith.runtimes.session import open_session

#: The oldest that has all we use; every runtime since 2020 reads it.
_OPSET, _IR = 13, 7

#: Largest difference allowed between an output of the file and of the network it was made of, relative above 1.
PARITY = 1e-4

#: Height and width of the pictures the file is checked on: more than one shape, and no square.
_CHECKED = ((1, 64, 96), (3, 160, 128))


def export_detector(network: FaceDetector, producer: str = "kith") -> bytes:
    """`network` as ONNX: input `input` (batch, 3, height, width), the twelve OUTPUTS of kith.networks.face_detector.

    The file is run and compared before it is returned. Raises Rejected when it differs from the network by more than
    PARITY.
    """
    graph = _Graph()
    for name, found in zip(OUTPUTS, graph.outputs(network), strict=True):
        graph.finish(found, name)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "face detector",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
            [
                helper.make_tensor_value_info(
                    name, TensorProto.FLOAT, ["batch", f"cells_{name}", PARTS[name[: name.find("_")]]]
                )
                for name in OUTPUTS
            ],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name=producer,
    )
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    _check(network, data)
    return data


class _Graph:
    """Nodes and weights as they are added; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def outputs(self, network: FaceDetector) -> list[str]:
        """FaceDetector.look once more, in operators."""
        now = self.active(network.stem, "input")
        levels = []
        for unit, (halved, tapped) in zip(network.backbone, network.plan(), strict=True):
            now = self.active(unit, self.add("MaxPool", now, kernel_shape=[2, 2], strides=[2, 2]) if halved else now)
            if tapped:
                levels.append(now)
        twice = self.weight(np.array([1, 1, 2, 2], np.float32))
        fused = [self.active(network.neck[2], levels[2])]
        for level in (1, 0):
            wider = self.add(
                "Resize", fused[0], "", twice, mode="nearest", coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )  # fmt: skip
            fused.insert(0, self.active(network.neck[level], self.add("Add", levels[level], wider)))
        ready = [self.active(unit, level) for unit, level in zip(network.shared, fused, strict=True)]
        return [
            self.unit(network.heads[f"{part}_{stride}"], ready[level])
            for part in PARTS
            for level, stride in enumerate(STRIDES)
        ]

    def active(self, layers: nn.Module, value: str) -> str:
        return self.add("Relu", self.unit(layers, value))

    def unit(self, layers: nn.Module, value: str) -> str:
        """Convolutions, each with the batch norm behind it folded in."""
        assert isinstance(layers, nn.Sequential)
        for layer, following in zip(layers, [*list(layers)[1:], None], strict=True):
            if isinstance(layer, nn.Conv2d):
                folded = fuse_conv_bn_eval(layer, following) if isinstance(following, nn.BatchNorm2d) else layer
                value = self.convolution(folded, value)
        return value

    def convolution(self, layer: nn.Conv2d, value: str) -> str:
        assert layer.bias is not None
        kernel, padding = list(layer.kernel_size), [int(side) for side in layer.padding]
        return self.add(
            "Conv", value, self.weight(layer.weight.detach().numpy()), self.weight(layer.bias.detach().numpy()),
            kernel_shape=kernel, strides=list(layer.stride), pads=padding * 2, group=layer.groups,
        )  # fmt: skip

    def finish(self, value: str, name: str) -> None:
        """(n, values, height, width) as the output `name`: (n, cells, values), a score as a probability."""
        part = name[: name.find("_")]
        last = self.add("Transpose", value, perm=[0, 2, 3, 1])
        # 0: as it is, the batch.
        last = self.add("Reshape", last, self.weight(np.array([0, -1, PARTS[part]], np.int64)))
        self.add("Sigmoid" if part in ("cls", "obj") else "Identity", last, out=name)

    def add(self, operator: str, *values: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(values), [out], **attributes))
        return out

    def weight(self, values: NDArray[np.generic]) -> str:
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name


def _check(network: FaceDetector, data: bytes) -> None:
    session = open_session(data, device="cpu", threads=1, where="the exported detector")
    rng = np.random.default_rng(0)
    for count, height, width in _CHECKED:
        canvas = rng.uniform(0, 255, (count, 3, height, width)).astype(np.float32)
        with torch.no_grad():
            wanted = network(torch.from_numpy(canvas))
        for name, mine, theirs in zip(OUTPUTS, session.run(OUTPUTS, {"input": canvas}), wanted, strict=True):
            apart = np.abs(mine - theirs.numpy()) / np.maximum(1, np.abs(theirs.numpy()))
            if not apart.max() <= PARITY:
                raise Rejected(f"the exported detector differs from the network in {name} by {apart.max():.2g}")
