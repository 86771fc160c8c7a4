"""A trained network made ready to serve: fewer passes over memory, the same function.

A small network on a CPU waits for memory more than for arithmetic, so batch norms are folded into the convolutions
before them, and each convolution applies the activation behind it while its result is still in the cache (oneDNN's
post-ops, which torch's own compiler uses too; compiling itself takes longer than a worker may take to start).
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: Activation module → oneDNN's name and parameters.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, Callable[[Any], list[float]]]] = {
    nn.ReLU: ("relu", lambda _: []),
    nn.ReLU6: ("hardtanh", lambda relu6: [relu6.min_val, relu6.max_val]),
}


def fold_batch_norms(network: nn.Module) -> fx.GraphModule:
    """A copy of `network` (in eval mode) whose Conv2d → BatchNorm2d pairs are one convolution each; exact but for
    rounding. Shares no weights with `network`. Raises what torch.fx raises for a network it cannot trace."""
    # A traced graph shares its leaves with the network; changing their type later must not reach back.
    graph = fx.symbolic_trace(copy.deepcopy(network))
    for node in list(graph.graph.nodes):
        conv_node = node.args[0] if node.args else None
        if not isinstance(_module(graph, node), nn.BatchNorm2d) or not isinstance(conv_node, fx.Node):
            continue
        conv = _module(graph, conv_node)
        # A convolution somebody else reads too must stay as it is.
        if not isinstance(conv, nn.Conv2d) or len(conv_node.users) != 1:
            continue
        norm = _module(graph, node)
        assert isinstance(norm, nn.BatchNorm2d)
        graph.set_submodule(str(conv_node.target), fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(conv_node)
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph


def fuse_activations(
    graph: fx.GraphModule, sample: Tensor, dtype: torch.dtype = torch.float32, exact_above_px: int = 0
) -> fx.GraphModule:
    """`graph` (float32) changed so that its convolutions run in oneDNN with packed weights and their activation inside.

    sample: a float32 batch as it will be served; the packing is chosen for its shape and works for all. dtype: in what
    the convolutions compute, except those on maps of a side above `exact_above_px` pixels, which stay float32: what is
    rounded early every later layer works with. Everything else that has weights stays float32 as well.

    For inference on the CPU only. Raises NotImplementedError where this torch has no such operators.
    """
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        raise NotImplementedError("this torch has no fused convolutions")
    ShapeProp(graph).propagate(sample)
    for node in list(graph.graph.nodes):
        module = _module(graph, node)
        if not isinstance(module, nn.Conv2d) or module.padding_mode != "zeros" or isinstance(module.padding, str):
            if module is not None and any(True for _ in module.parameters()):
                graph.set_submodule(str(node.target), _InFloat32(module))
            continue
        shape = list(node.args[0].meta["tensor_meta"].shape)
        name, scalars = "none", list[float]()
        reader = next(iter(node.users))
        follower = _module(graph, reader)
        if len(node.users) == 1 and follower is not None and type(follower) in _ACTIVATIONS:
            name, parameters = _ACTIVATIONS[type(follower)]
            scalars = parameters(follower)
            reader.replace_all_uses_with(node)
            graph.graph.erase_node(reader)
        module.to(torch.float32 if max(shape[2:]) > exact_above_px > 0 else dtype)
        graph.set_submodule(str(node.target), _PackedConv(module, shape, name, scalars))
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return graph


class _PackedConv(nn.Module):
    def __init__(self, conv: nn.Conv2d, shape: list[int], activation: str, scalars: list[float]) -> None:
        super().__init__()
        self._dtype = conv.weight.dtype
        self._geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._activation = (activation, scalars, "")
        self._bias = None if conv.bias is None else conv.bias.detach()
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self._geometry, shape)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            maps.to(self._dtype), self._weight, self._bias, *self._geometry, *self._activation
        )
        return out


class _InFloat32(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = module

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self._module(maps.float())
        return out


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None
