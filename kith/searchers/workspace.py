"""Memory that passes on the CPU work in, kept from search to search by each thread: `workspace`."""

import math
import threading
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray


class Workspace:
    """Memory that a thread uses again and again: fresh pages for each product would cost as much as the product.

    lock: held while codes are in it that will be read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._memory: dict[torch.dtype, torch.Tensor] = {}
        self._scores: tuple[torch.Tensor, NDArray[np.int32]] | None = None
        self._probe: tuple[torch.Tensor, NDArray[np.uint8]] | None = None
        _workspaces.add(self)

    def scores(self, batch: int, rows: int) -> tuple[torch.Tensor, NDArray[np.int32]]:
        """Memory for int32 (batch, rows), as a tensor and as an array. Good until the next call."""
        known = self._scores
        if known is None or known[0].shape != (batch, rows):
            tensor = self._window(torch.int32, (batch, rows))
            known = self._scores = tensor, tensor.numpy()
        return known

    def probe(self, width: int) -> tuple[torch.Tensor, NDArray[np.uint8]]:
        """Memory for the codes of a probe, uint8 (1, width), as a tensor and as an array."""
        known = self._probe
        if known is None or known[0].shape[1] != width:
            tensor = torch.zeros((1, width), dtype=torch.uint8)
            known = self._probe = tensor, tensor.numpy()
        return known

    def copy(self, codes: torch.Tensor) -> torch.Tensor:
        """A copy of int8 codes. Good until the next one."""
        return self._window(torch.int8, tuple(codes.shape)).copy_(codes)

    def wipe(self) -> None:
        """Zero the codes."""
        with self.lock:
            if torch.int8 in self._memory:
                self._memory[torch.int8].zero_()
            if self._probe is not None:
                self._probe[0].zero_()

    def _window(self, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        size = math.prod(shape)
        known = self._memory.get(dtype)
        if known is None or known.shape[0] < size:
            # Zeros once: memory that is not all used would keep what was in it when somebody else freed it.
            known = self._memory[dtype] = torch.zeros(size, dtype=dtype)
        return known[:size].view(shape)


_workspaces: WeakSet[Workspace] = WeakSet()
_of_this_thread = threading.local()


def workspace() -> Workspace:
    """This thread's own."""
    mine: Workspace | None = getattr(_of_this_thread, "workspace", None)
    if mine is None:
        mine = _of_this_thread.workspace = Workspace()
    return mine


def wipe_workspaces() -> None:
    """Zero what searches have left of codes in the memory they work in; waits for passes that are running."""
    for each in list(_workspaces):
        each.wipe()
