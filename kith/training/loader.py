"""Batches of augmented crops, made ahead by threads, the same ones whatever the threads do.

The randomness of each picture comes from (seed, epoch, batch, place in it) alone: a run that was killed and resumed
sees what an undisturbed one sees.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kith.training.augment import Augmentation, augment

Indices = NDArray[np.int64]

#: Batches made before they are asked for, at least; and one for each thread.
_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """pixels: (n, 112, 112, 3) uint8 RGB. labels: (n,) int64. indices: (n,) rows of the training set."""

    pixels: Tensor
    labels: Tensor
    indices: Tensor


class Loader:
    """pixels: (N, 112, 112, 3) uint8, in memory or mapped. labels: (N,)."""

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        augmentation: Augmentation,
        seed: int,
        threads: int = 2,
    ) -> None:
        self._pixels = pixels
        self._labels = labels
        self._augmentation = augmentation
        self._seed = seed
        self._threads = threads

    def load(self, plan: Sequence[Indices], epoch: int, first: int = 0) -> Iterator[tuple[int, Batch]]:
        """(number, batch) for plan[first:]; `plan` holds the rows of each batch of `epoch`."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="augment") as pool:
            waiting: deque[tuple[int, Future[Batch]]] = deque()
            try:
                for number in range(first, len(plan)):
                    waiting.append((number, pool.submit(self._make, plan[number], epoch, number)))
                    if len(waiting) > max(_AHEAD, self._threads):
                        done, batch = waiting.popleft()
                        yield done, batch.result()
                while waiting:
                    done, batch = waiting.popleft()
                    yield done, batch.result()
            finally:
                # Whoever stops half-way must not wait for batches nobody wants.
                pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, rows: Indices, epoch: int, number: int) -> Batch:
        crops = np.empty((len(rows), *self._pixels.shape[1:]), np.uint8)
        for place, row in enumerate(rows):
            rng = np.random.default_rng((self._seed, epoch, number, place))
            crops[place] = augment(np.asarray(self._pixels[row]), self._augmentation, rng)
        return Batch(torch.from_numpy(crops), torch.from_numpy(self._labels[rows]), torch.from_numpy(rows))
