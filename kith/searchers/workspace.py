"""Memory that passes on the CPU work in, kept from search to search by each thread: `workspace`."""

import math
import threading
from weakref import WeakSet

import torch


class Workspace:
    """Memory that a thread uses again and again: fresh pages for each product would cost as much as the product."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._tensors: dict[str, torch.Tensor] = {}
        _workspaces.add(self)

    def tensor(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised tensor, the same memory for the same name."""
        size = math.prod(shape)
        known = self._tensors.get(name)
        if known is None or known.shape[0] < size:
            known = self._tensors[name] = torch.empty(size, dtype=dtype)
        return known[:size].view(shape)

    def wipe(self) -> None:
        """Zero the copies of codes."""
        with self.lock:
            if "codes" in self._tensors:
                self._tensors["codes"].zero_()


_workspaces: WeakSet[Workspace] = WeakSet()
_of_this_thread = threading.local()


def workspace() -> Workspace:
    """This thread's own. Its lock is held while vectors are in it."""
    mine: Workspace | None = getattr(_of_this_thread, "workspace", None)
    if mine is None:
        mine = _of_this_thread.workspace = Workspace()
    return mine


def wipe_workspaces() -> None:
    """Zero what searches have left of codes in the memory they work in; waits for passes that are running."""
    for each in list(_workspaces):
        each.wipe()
