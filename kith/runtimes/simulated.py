"""A device that does not exist: equal crops give equal vectors, a forward call takes as long as the pack says.

For load tests: queue, batching, gallery and search run as they are, and the network's cost is a number one chooses. It
tells pictures apart, not people.
"""

import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from kith.checkpoints import Pack
from kith.embedder import stack, unit_rows
from kith.errors import InvalidPack

#: The crop is averaged over squares of this side, so that JPEG's noise does not move the vector.
_SQUARE_PX = 8

_SEED = 20_180_414


class SimulatedEmbedder:
    """Fixed random projection of the downsampled crop. `forward` sleeps `seconds_per_batch`; see kith.embedder."""

    def __init__(self, pack: Pack) -> None:
        simulation = pack.manifest.simulated
        if simulation is None:
            raise InvalidPack(f"{pack.path}: a simulated embedder needs `simulated`")
        self.dimension = pack.dimension
        self.model_id = pack.model_id
        self.runtime = "simulated"
        self.batch = simulation.batch
        self._seconds = simulation.seconds_per_batch
        self._size = pack.input_size
        self._side = pack.input_size // _SQUARE_PX
        # RandomState, not default_rng: its stream is frozen for ever, and so are the vectors under one model_id.
        features = self._side * self._side * 3 + 1
        self._projection = np.random.RandomState(_SEED).standard_normal((features, self.dimension)).astype(np.float32)

    def pack(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Crops to (n, features) float32."""
        size = (self._side, self._side)
        squares = [cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in stack(crops, self._size)]
        flat = np.stack(squares).reshape(len(crops), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        # + 1: an evenly grey crop has no contrast to divide by, and still gets a vector from the constant below.
        flat /= flat.std(axis=1, keepdims=True) + 1
        return np.concatenate([flat, np.full((len(crops), 1), 0.1, np.float32)], axis=1)

    def forward(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, features) to (n, dimension), not normalised."""
        if self._seconds:
            time.sleep(self._seconds)
        out: NDArray[np.float32] = batch @ self._projection
        return out

    def unpack(self, out: NDArray[np.float32], n: int) -> NDArray[np.float32]:
        """(n, dimension) float32 unit rows."""
        return unit_rows(out, n, self.dimension)
