"""Classifiers that are a graph of operators (an ExportedProgram, a TorchScript file that was translated): their
classification layer found and cut off.

Such a graph was recorded in eval mode and stays so: training moves its weights, not the statistics of its batch norms.
"""

import copy
import operator
from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from kith.networks.layers import Layer

#: What can be a classification layer, and where in its arguments the weights and the bias stand (None: added outside).
_LINEAR: dict[str, tuple[int, int, int | None]] = {
    # operator: input, weight, bias
    "aten::linear": (0, 1, 2),
    "aten::addmm": (1, 2, 0),
    "aten::mm": (0, 1, None),
    "aten::matmul": (0, 1, None),
    "aten::conv2d": (0, 1, 2),
    "aten::convolution": (0, 1, 2),
    "aten::_convolution": (0, 1, 2),
}

#: Operators whose weight is stored transposed: (dimension, classes).
_TRANSPOSED = ("aten::addmm", "aten::mm", "aten::matmul")


def plain_graph(program: ExportedProgram) -> fx.GraphModule:
    """`program` as a graph of its own weights, without the checks of its input's shape; shares none with `program`."""
    unlifted = program.module()
    assert isinstance(unlifted, fx.GraphModule)
    graph = unlifted.graph
    # One tensor in, its outputs out: without the containers that the program's caller saw.
    graph.set_codegen(fx.graph.CodeGen())
    for node in reversed(list(graph.nodes)):
        checks = node.op == "call_module" and "guards" in str(node.target)
        if checks or (node.op == "call_function" and "assert" in str(node.target)):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    # A GraphModule of our own: that of torch.export refuses train() and eval().
    network = copy.deepcopy(fx.GraphModule(unlifted, graph))
    for node in network.graph.nodes:
        node.meta["layer"] = _path_of(node)
    return network


class GraphProbe:
    """Runs a graph once and remembers each layer.

    network: a GraphModule of ATen operators; node.meta["layer"] names the module each came from. An operator that
    stands in no module is called by what it does, as `op:relu_1`.
    """

    def __init__(self, network: fx.GraphModule, sample: Tensor) -> None:
        self.network = network
        self.ran: list[Layer] = []
        self._nodes: list[fx.Node] = []
        recorder = _Recorder(network)
        with torch.no_grad():
            self.output = recorder.run(sample)
        last = {_name(node): node for node in recorder.values}
        counts: Counter[str] = Counter()
        for node, value in recorder.values.items():
            name = _name(node)
            # A layer of several operators is known by what comes out of the last.
            if last[name] is node or self._is_final(node):
                self.ran.append(Layer(name, _kind(node), counts[name], value, self._is_final(node)))
                self._nodes.append(node)
                counts[name] += 1

    def before(self, head: Layer) -> fx.GraphModule:
        """The network that ends with what goes into `head`."""
        node = self._node(head)
        return self._ending(node.args[_LINEAR[_operator(node)][0]])

    def behind(self, layer: Layer) -> fx.GraphModule:
        """The network that ends with what comes out of `layer`."""
        return self._ending(self._node(layer))

    def linear(self, head: Layer) -> nn.Linear:
        """A copy of `head` as a linear layer."""
        node = self._node(head)
        _, at_weight, at_bias = _LINEAR[_operator(node)]
        weight = self._tensor(node.args[at_weight])
        assert weight is not None
        weight = weight.T if _operator(node) in _TRANSPOSED else weight.flatten(1)
        return linear_of(weight, self._tensor(_argument(node, at_bias)))

    def _node(self, layer: Layer) -> fx.Node:
        return next(node for node, ran in zip(self._nodes, self.ran, strict=True) if ran is layer)

    def _ending(self, end: Any) -> fx.GraphModule:
        network = copy.deepcopy(self.network)
        nodes = {node.name: node for node in network.graph.nodes}
        output = next(node for node in reversed(network.graph.nodes) if node.op == "output")
        output.args = (nodes[end.name],)
        # Not only what is dead: an operator that writes in place would be kept, and spoil what it was given.
        after = list(network.graph.nodes)[list(network.graph.nodes).index(nodes[end.name]) + 1 : -1]
        for node in reversed(after):
            network.graph.erase_node(node)
        network.graph.eliminate_dead_code()
        network.graph.lint()
        ended = fx.GraphModule(network, network.graph)
        ended.delete_all_unused_submodules()
        return ended

    def _is_final(self, node: fx.Node) -> bool:
        if node.op != "call_function" or _operator(node) not in _LINEAR:
            return False
        _, at_weight, at_bias = _LINEAR[_operator(node)]
        weight = self._tensor(node.args[at_weight])
        flat = weight is not None and (weight.ndim == 2 or tuple(weight.shape[2:]) == (1, 1))
        bias = _argument(node, at_bias)
        return flat and (bias is None or self._tensor(bias) is not None)

    def _tensor(self, argument: Any) -> Tensor | None:
        """The stored tensor that `argument` of a node is; a transposition on the way is followed."""
        if not isinstance(argument, fx.Node):
            return None
        if argument.op == "call_function" and _operator(argument) in ("aten::t", "aten::permute", "aten::transpose"):
            stored = self._tensor(argument.args[0])
            return None if stored is None or stored.ndim != 2 else stored.T
        if argument.op != "get_attr":
            return None
        value = operator.attrgetter(str(argument.target))(self.network)
        return value if isinstance(value, Tensor) else None


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer with copies of `weight` (classes, dimension) and `bias` (classes,)."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear


class _Recorder(fx.Interpreter):
    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.values: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op in ("call_function", "call_method", "call_module") and isinstance(value, Tensor):
            # A copy: operators that write in place come after.
            self.values[n] = value.clone()
        return value


def _argument(node: fx.Node, at: int | None) -> Any:
    return None if at is None or len(node.args) <= at else node.args[at]


def _operator(node: fx.Node) -> str:
    return node.target._schema.name if isinstance(node.target, torch._ops.OpOverload) else ""


def _name(node: fx.Node) -> str:
    return str(node.meta.get("layer") or f"op:{node.name}")


def _kind(node: fx.Node) -> str:
    return _operator(node).removeprefix("aten::") or str(node.target)


def _path_of(node: fx.Node) -> str:
    """The module that `node` was recorded in, when it was none but the whole."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()] if stack else []
    path = str(paths[-1]) if paths else ""
    return "" if path.startswith("_empty") else path
