"""TorchScript to a graph of operators, by running it once: what the exporters and the trainer of torch still take.

The TorchScript interpreter is not used. Each operator is run here on a sample and written down; a branch is taken as
the sample takes it and a loop unrolled, but sizes stay sizes, so that the batch may be of any size afterwards.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from kith.errors import Rejected

#: Names of what is done with sizes, and how Python does it.
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "aten::add": operator.add,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::floordiv": operator.floordiv,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::neg": operator.neg,
}

#: Questions about sizes and options, answered for good by the sample: they decide which way a branch goes.
_QUESTIONS: dict[str, Callable[..., Any]] = {
    "aten::len": len,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__not__": operator.not_,
    "aten::__contains__": operator.contains,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::format": str.format,
}

#: A number taken for what it is: tracing wraps sizes in tensors and unwraps them.
_SAME = ("prim::NumToTensor", "aten::Int", "aten::Float", "aten::Bool", "prim::unchecked_cast", "aten::ScalarImplicit")

_MOST_TURNS = 10_000

#: Arguments of a convolution: input, weight, bias, stride, padding, dilation, transposed, output padding, groups.
_CONVOLUTION = 9


@dataclass(slots=True)
class _Value:
    """now: what it is for the sample. later: how the graph says it: a node, a list of such, or a constant."""

    now: Any
    later: Any


def graph_of(script: torch.jit.ScriptModule, sample: Tensor) -> fx.GraphModule:
    """`script` in eval mode as a graph of ATen operators on parameters of the same names, for inputs like `sample`.

    Shares its weights with `script`. Raises Rejected, naming the operator, for what cannot be said in such a graph.
    """
    script = script.eval()
    return _Translation(script).run(sample)


class _Translation:
    def __init__(self, script: torch.jit.ScriptModule) -> None:
        self._script = script
        # Read from a file they are plain tensors, and would not be trained.
        self._root: dict[str, Any] = {name: nn.Parameter(value) for name, value in script.named_parameters()}
        self._root |= dict(script.named_buffers())
        self._graph = fx.Graph()
        self._attributes: dict[str, fx.Node] = {}
        self._scope = ""

    def run(self, sample: Tensor) -> fx.GraphModule:
        graph = self._script.graph.copy()
        torch._C._jit_pass_inline(graph)
        inputs = list(graph.inputs())
        if len(inputs) != 2:
            raise Rejected(f"the TorchScript classifier takes {len(inputs) - 1} inputs; it must take one image batch")
        env = {
            inputs[0].debugName(): _Value(self._script, ""),
            inputs[1].debugName(): _Value(sample, self._graph.placeholder("pixels")),
        }
        with torch.no_grad():
            self._block(graph, env)
        found = [env[value.debugName()] for value in graph.outputs()]
        self._graph.output(found[0].later if len(found) == 1 else tuple(value.later for value in found))
        self._graph.eliminate_dead_code()
        self._graph.lint()
        used = {str(node.target) for node in self._graph.nodes if node.op == "get_attr"}
        return fx.GraphModule({name: value for name, value in self._root.items() if name in used}, self._graph)

    def _block(self, block: Any, env: dict[str, _Value]) -> None:
        for node in block.nodes():
            self._scope = node.scopeName().rpartition("/")[2].removeprefix("__module").removeprefix(".")
            self._node(node, [env[value.debugName()] for value in node.inputs()], env)

    def _node(self, node: Any, inputs: list[_Value], env: dict[str, _Value]) -> None:
        kind = node.kind()
        outputs = [value.debugName() for value in node.outputs()]
        if kind == "prim::If":
            taken = list(node.blocks())[0 if inputs[0].now else 1]
            self._block(taken, env)
            env.update(zip(outputs, [env[value.debugName()] for value in taken.outputs()], strict=True))
        elif kind == "prim::Loop":
            env.update(zip(outputs, self._loop(node, inputs, env), strict=True))
        elif kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            env.update(zip(outputs, _parts(inputs[0]), strict=True))
        elif kind == "prim::RaiseException":
            raise Rejected(f"the TorchScript classifier does not take this input: {inputs[0].now}")
        elif len(outputs) == 1:
            env[outputs[0]] = self._value(node, kind, inputs)
        elif kind not in ("aten::warn", "prim::Print"):
            env.update(zip(outputs, _parts(self._call(node, inputs)), strict=True))

    def _value(self, node: Any, kind: str, inputs: list[_Value]) -> _Value:
        if kind == "prim::Constant":
            value = node.output().toIValue()
            return _Value(value, self._stored(value, f"constant.{len(self._root)}") if _is_tensor(value) else value)
        if kind == "prim::GetAttr":
            return self._attribute(inputs[0], node.s("name"))
        if kind in ("prim::ListConstruct", "prim::TupleConstruct"):
            made = list if kind == "prim::ListConstruct" else tuple
            return _Value(made(value.now for value in inputs), made(value.later for value in inputs))
        if kind in _SAME and not _is_tensor(inputs[0].now):
            return inputs[0]
        if kind in ("prim::dtype", "prim::device", "prim::layout", "prim::is_cuda", "prim::requires_grad"):
            return _constant(getattr(inputs[0].now, kind.removeprefix("prim::")))
        if kind.startswith("prim::"):
            raise Rejected(f"the TorchScript classifier uses {kind}, which cannot be translated; export it again")
        return self._call(node, inputs)

    def _call(self, node: Any, inputs: list[_Value]) -> _Value:
        kind = node.kind()
        now, later = [value.now for value in inputs], [value.later for value in inputs]
        if kind == "aten::size":
            size = now[0].size(*now[1:])
            call = self._graph.call_method("size", tuple(later))
            return _Value(list(size) if isinstance(size, torch.Size) else size, call)
        if kind == "aten::__getitem__":
            return _Value(now[0][now[1]], self._emit(operator.getitem, later, {}))
        if kind in _ARITHMETIC and all(isinstance(value, int | float) for value in now):
            return _Value(_ARITHMETIC[kind](*now), self._emit(_ARITHMETIC[kind], later, {}))
        if kind in _QUESTIONS and (kind.startswith("aten::__is") or not _has_tensor(now)):
            return _constant(_QUESTIONS[kind](*now))
        target = _operator(node.schema())
        if kind == "aten::_convolution":
            # As tracing records it, with switches of the backend behind; exporters know the plain one only.
            target = torch.ops.aten.convolution.default
            now, later = now[:_CONVOLUTION], later[:_CONVOLUTION]
        arguments = target._schema.arguments
        keyword = [index for index, argument in enumerate(arguments) if argument.kwarg_only]
        split = min(keyword, default=len(inputs))
        names = [argument.name for argument in arguments]
        result = target(*now[:split], **dict(zip(names[split:], now[split:], strict=False)))
        if not _has_tensor(result):
            # A question about the input, as `x.dim() == 4`: answered for good by the sample.
            return _constant(result)
        return _Value(result, self._emit(target, later[:split], dict(zip(names[split:], later[split:], strict=False))))

    def _emit(self, target: Callable[..., Any], arguments: list[Any], named: dict[str, Any]) -> Any:
        call = self._graph.call_function(target, tuple(arguments), named)
        call.meta["layer"] = self._scope or next((path for path in map(self._path, arguments) if path), "")
        return call

    def _path(self, argument: Any) -> str:
        """The module that a stored tensor belongs to: what a layer is called where the file does not say."""
        if isinstance(argument, fx.Node) and argument.op == "get_attr":
            return str(argument.target).rpartition(".")[0]
        return ""

    def _loop(self, node: Any, inputs: list[_Value], env: dict[str, _Value]) -> list[_Value]:
        body = next(node.blocks())
        names = [value.debugName() for value in body.inputs()]
        going, carried = inputs[1].now, inputs[2:]
        for turn in range(min(inputs[0].now, _MOST_TURNS)):
            if not going:
                break
            env.update(zip(names, [_constant(turn), *carried], strict=True))
            self._block(body, env)
            first, *carried = [env[value.debugName()] for value in body.outputs()]
            going = first.now
        return carried

    def _attribute(self, owner: _Value, name: str) -> _Value:
        value = getattr(owner.now, name)
        path = f"{owner.later}.{name}" if owner.later else name
        if _is_tensor(value):
            return _Value(value, self._stored(value, path))
        return _Value(value, path if isinstance(value, nn.Module) or hasattr(value, "_c") else value)

    def _stored(self, value: Tensor, name: str) -> fx.Node:
        self._root.setdefault(name, value)
        if name not in self._attributes:
            # At the front, where every branch and every turn of a loop finds it.
            with self._graph.inserting_before(next(iter(self._graph.nodes))):
                self._attributes[name] = self._graph.get_attr(name)
        return self._attributes[name]


def _operator(schema: str) -> Any:
    name = schema.partition("(")[0]
    space, _, rest = name.partition("::")
    base, _, overload = rest.partition(".")
    try:
        return getattr(getattr(getattr(torch.ops, space), base), overload or "default")
    except AttributeError:
        raise Rejected(f"the TorchScript classifier uses {name}, which this torch does not have") from None


def _parts(value: _Value) -> list[_Value]:
    if isinstance(value.later, fx.Node):
        graph = value.later.graph
        later: list[Any] = [
            graph.call_function(operator.getitem, (value.later, index)) for index in range(len(value.now))
        ]
    else:
        later = list(value.later)
    return [_Value(*pair) for pair in zip(value.now, later, strict=True)]


def _constant(value: Any) -> _Value:
    return _Value(value, value)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _has_tensor(value: Any) -> bool:
    return _is_tensor(value) or (isinstance(value, list | tuple) and any(_has_tensor(part) for part in value))
