"""Who goes with whom at the least cost in all: the assignment problem.

The method of shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and
sparse linear assignment problems", Computing 1987), O(n³); a frame has a handful of faces.
"""

import numpy as np
from numpy.typing import NDArray


def assign(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) of `cost`, (n, m), so that as many as possible are paired and their sum is least.

    A cost of infinity is no pair at all. Sorted by row.
    """
    rows, columns = cost.shape
    if rows > columns:
        return sorted((row, column) for column, row in assign(cost.T))
    if not rows:
        return []
    finite = cost[np.isfinite(cost)]
    # Dearer than any way round it, so that it is taken only where there is nobody else.
    never = 1.0 + (rows + 1) * (float(np.abs(finite).max()) if finite.size else 0.0)
    bounded = np.where(np.isfinite(cost), cost, never)
    # Potentials of rows and columns, and who holds each column; column 0 and row 0 are nobody's.
    u, v, holder = np.zeros(rows + 1), np.zeros(columns + 1), np.zeros(columns + 1, np.int64)
    for row in range(1, rows + 1):
        holder[0] = row
        _augment(bounded, u, v, holder)
    pairs = [(int(holder[column]) - 1, column - 1) for column in range(1, columns + 1) if holder[column]]
    return sorted((row, column) for row, column in pairs if np.isfinite(cost[row, column]))


def _augment(
    cost: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64], holder: NDArray[np.int64]
) -> None:
    """Find a column for the row that holds column 0, moving others along the cheapest path."""
    count = len(v)
    least, before, used = np.full(count, np.inf), np.zeros(count, np.int64), np.zeros(count, bool)
    column = 0
    while holder[column]:
        used[column] = True
        row = int(holder[column])
        reduced = cost[row - 1] - u[row] - v[1:]
        nearer = ~used[1:] & (reduced < least[1:])
        least[1:][nearer], before[1:][nearer] = reduced[nearer], column
        free = np.where(used, np.inf, least)
        free[0] = np.inf
        following = int(np.argmin(free))
        step = free[following]
        u[holder[used]] += step
        v[used] -= step
        least[~used] -= step
        column = following
    while column:
        holder[column] = holder[before[column]]
        column = int(before[column])
