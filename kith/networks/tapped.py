"""Classifiers that are ordinary modules: their layers watched, and the network that ends at one of them."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from kith.networks.graphs import linear_of
from kith.networks.layers import Layer, pooled


class Tapped(nn.Module):
    """`network`, ended behind the module `layer`, whose output it returns: (n, dimension), maps averaged.

    call: which of its runs counts, where a module is used several times, 0 for the first.
    """

    def __init__(self, network: nn.Module, layer: str, call: int = 0) -> None:
        super().__init__()
        self.network = network
        self._layer, self._call = layer, call

    def forward(self, pixels: Tensor) -> Tensor:
        tapped: list[Tensor] = []

        def tap(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            # What comes after is nobody's business; but torch.export has to see every module end that it saw begin, and
            # one of those after may write in place.
            exporting = torch.compiler.is_exporting()
            tapped.append(output.clone() if exporting else output)
            if len(tapped) > self._call and not exporting:
                raise _Enough

        handle = self.network.get_submodule(self._layer).register_forward_hook(tap)
        try:
            self.network(pixels)
        except _Enough:
            pass
        finally:
            handle.remove()
        return pooled(tapped[self._call])


class _Enough(Exception):
    """The layer has run."""


class ModuleProbe:
    """Runs a module once and remembers what each of its modules gave. It is left as it was."""

    def __init__(self, network: nn.Module, sample: Tensor) -> None:
        self.network = network
        self.ran: list[Layer] = []
        counts: Counter[str] = Counter()
        handles = []

        def watch(name: str) -> Any:
            def note(module: nn.Module, _inputs: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.ndim >= 2:
                    # A copy: what comes next may write in place.
                    kept = output.detach().clone()
                    self.ran.append(Layer(name, type(module).__name__, counts[name], kept, _can_be_head(module)))
                    counts[name] += 1

            return note

        was_training = [module for module in network.modules() if module.training]
        for name, module in network.named_modules():
            if name:
                handles.append(module.register_forward_hook(watch(name)))
        try:
            with torch.no_grad():
                self.output = network.eval()(sample)
        finally:
            for handle in handles:
                handle.remove()
            for module in was_training:
                module.training = True

    def before(self, head: Layer) -> Tapped:
        """The network that ends with what goes into `head`."""
        network = copy.deepcopy(self.network).eval()
        network.set_submodule(head.name, nn.Identity())
        return Tapped(network, head.name, head.call).eval()

    def behind(self, layer: Layer) -> Tapped:
        """The network that ends with what comes out of `layer`."""
        return Tapped(copy.deepcopy(self.network).eval(), layer.name, layer.call).eval()

    def linear(self, head: Layer) -> nn.Linear:
        """A copy of `head` as a linear layer."""
        module = self.network.get_submodule(head.name)
        assert isinstance(module, nn.Linear | nn.Conv2d)
        return linear_of(module.weight.detach().flatten(1), module.bias)


def _can_be_head(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)
