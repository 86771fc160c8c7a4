"""The views of all strangers of one model, as one matrix: a face is compared with thousands of them in one product.

Changed in place, row by row: strangers are learnt from as fast as people walk by.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

_NOBODY = -1
#: Scores that differ by less are equal: they depend on where a row lies.
_SAME = 1e-6


class Views:
    """Unit vectors and whose they are."""

    def __init__(self) -> None:
        self._rows: Vector = np.zeros((0, 0), np.float32)
        self._owners: NDArray[np.int64] = np.zeros(0, np.int64)
        self._places: dict[int, list[int]] = {}
        self._free: list[int] = []
        self._used = 0

    def put(self, number: int, views: Vector) -> None:
        """These are the views of stranger `number` now, (n, d); none takes them away."""
        for place in self._places.pop(number, []):
            self._owners[place] = _NOBODY
            self._rows[place] = 0
            self._free.append(place)
        for view in views:
            place = self._free.pop() if self._free else self._added(len(view))
            self._rows[place], self._owners[place] = view, number
            self._places.setdefault(number, []).append(place)

    def nearest(self, vector: Vector, but: int | None = None) -> tuple[int, float, float] | None:
        """Of all but one: who is nearest, the cosine, and that of the next; None where there is nobody. Of equals, the
        lowest number."""
        owners = self._owners[: self._used]
        counts = (owners != _NOBODY) if but is None else (owners != _NOBODY) & (owners != but)
        if not counts.any():
            return None
        scores = np.where(counts, self._rows[: self._used] @ vector, -2.0)
        score = float(scores.max())
        number = int(owners[scores >= score - _SAME].min())
        others = counts & (owners != number)
        return number, score, float(scores[others].max()) if others.any() else -1.0

    def _added(self, size: int) -> int:
        if self._used == len(self._rows):
            # Doubled, so that a crowd costs one copy in all and not one each.
            room = max(64, 2 * self._used)
            rows, owners = np.zeros((room, size), np.float32), np.full(room, _NOBODY, np.int64)
            if self._used:
                rows[: self._used], owners[: self._used] = self._rows, self._owners
            self._rows, self._owners = rows, owners
        self._used += 1
        return self._used - 1
