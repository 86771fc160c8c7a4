"""Small ONNX networks with the interfaces of real ones, made by hand, whose answers a test can work out itself."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
WIDTHS = (1, 4, 10)

Side = int | str


def scrfd_weights(seed: int = 0) -> dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """For each stride and width (of score, box, landmarks): what a cell's mean colour (3,) is multiplied with,
    (2 · width, 3), and what is added, (2 · width,)."""
    random = np.random.default_rng(seed)
    found = {}
    for stride in STRIDES:
        for width in WIDTHS:
            weight = random.normal(0, 2 if width == 1 else 0.2, (2 * width, 3)).astype(np.float32)
            # Black, with which pictures are padded, gets a score of 0.02.
            bias = random.uniform(0.5, 1.5, 2 * width) if width > 1 else weight.sum(axis=1) - 4
            found[stride, width] = weight, bias.astype(np.float32)
    return found


def scrfd(
    seed: int = 0, sides: tuple[Side, Side] = ("h", "w"), batched: bool = False, order: Sequence[int] = range(9)
) -> bytes:
    """A network with the interface of SCRFD: each anchor of a cell answers with a linear function of the cell's mean
    colour (`scrfd_weights`), the score through a sigmoid.

    sides: of the input. batched: outputs have a batch axis. order: of the outputs; names are numbers.
    """
    nodes, constants, outputs = [], [], []
    for stride in STRIDES:
        window = [stride, stride]
        mean = helper.make_node("AveragePool", ["input.1"], [f"mean{stride}"], kernel_shape=window, strides=window)
        nodes.append(mean)
    weights = scrfd_weights(seed)
    for width in WIDTHS:
        for stride in STRIDES:
            name = str(400 + len(outputs))
            weight, bias = weights[stride, width]
            constants.append(numpy_helper.from_array(weight[:, :, None, None], f"weight{name}"))
            constants.append(numpy_helper.from_array(bias, f"bias{name}"))
            shape = [1, -1, width] if batched else [-1, width]
            constants.append(numpy_helper.from_array(np.array(shape, np.int64), f"shape{name}"))
            conv = [f"mean{stride}", f"weight{name}", f"bias{name}"]
            nodes.append(helper.make_node("Conv", conv, [f"conv{name}"]))
            nodes.append(helper.make_node("Transpose", [f"conv{name}"], [f"last{name}"], perm=[0, 2, 3, 1]))
            flat = f"flat{name}" if width == 1 else name
            nodes.append(helper.make_node("Reshape", [f"last{name}", f"shape{name}"], [flat]))
            if width == 1:
                nodes.append(helper.make_node("Sigmoid", [flat], [name]))
            axes: list[str | int | None] = ["one", f"n{name}", width] if batched else [f"n{name}", width]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, axes))
    taken = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, *sides])
    return _model(nodes, taken, [outputs[number] for number in order], constants)


def embedder(dimension: int = 8, seed: int = 0, batch: Side = "n") -> bytes:
    """A network (batch, 3, 112, 112) → (batch, dimension): a linear function of the mean colours of 16 × 16 squares."""
    random = np.random.default_rng(seed)
    weight = random.normal(0, 1, (3 * 7 * 7, dimension)).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "weight")]
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["means"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["means"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weight"], ["683"]),
    ]
    taken = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [batch, 3, 112, 112])
    given = helper.make_tensor_value_info("683", TensorProto.FLOAT, [batch, dimension])
    return _model(nodes, taken, [given], constants)


def _model(
    nodes: list[onnx.NodeProto],
    taken: onnx.ValueInfoProto,
    given: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(nodes, "made by hand", [taken], given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
