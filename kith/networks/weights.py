"""Weights in files: names to tensors and nothing else. A file that holds code, as a pickle can, is refused unread."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from kith.errors import InvalidPack

#: Where training scripts keep the weights among other things.
_INNER = ("state_dict", "model_state_dict", "model", "network", "weights")


def read_state(data: bytes, where: str, format_: str | None = None) -> dict[str, Tensor]:
    """Names to tensors, on the CPU, from the bytes of a safetensors file or of a state dict saved by torch.

    format_: `safetensors` or `torch`; None to tell from the bytes. A checkpoint that wraps the state dict in one of the
    usual keys is unwrapped. Nothing in the file is executed. Raises InvalidPack, naming `where`, when it holds anything
    else, or values that are not finite.
    """
    try:
        if format_ == "safetensors" or (format_ is None and not _by_torch(data)):
            state: Any = safetensors.torch.load(data)
        else:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as broken:  # noqa: BLE001 - a damaged file raises anything, from KeyError to the unpickler's own
        reason = str(broken).splitlines()[0] if str(broken) else type(broken).__name__
        raise InvalidPack(f"{where} is not a plain state dict ({reason}); files that hold code are refused") from None
    if isinstance(state, dict) and not _plain(state):
        state = next((state[key] for key in _INNER if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not _plain(state):
        raise InvalidPack(f"{where} is not a plain state dict: names to tensors and nothing else")
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise InvalidPack(f"{where}: {name} holds values that are not finite")
    return dict(state)


def load_into(network: nn.Module, state: Mapping[str, Tensor], where: str, called: str) -> nn.Module:
    """`network`, in eval mode, with the weights of `state`. Raises InvalidPack when names or shapes differ.

    called: what to call the network in the message. The prefix that DataParallel puts before all names is dropped.
    """
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as unfit:
        raise InvalidPack(f"{where} does not fit the network {called}: {unfit}") from None
    return network.eval()


def save_state(network: nn.Module) -> bytes:
    """The weights of `network` as a safetensors file."""
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in _own(network).items()})


def _own(network: nn.Module) -> dict[str, Tensor]:
    # safetensors refuses two names for one memory; a copy of each is what loading them gives anyway.
    seen: set[int] = set()
    state = {}
    for name, value in network.state_dict().items():
        state[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return state


def _plain(state: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())


def _by_torch(data: bytes) -> bool:
    # torch writes a zip, and before version 1.6 bare pickles, which begin with their protocol.
    return zipfile.is_zipfile(io.BytesIO(data)) or data[:1] == b"\x80"
