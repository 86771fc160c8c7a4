"""The int8 search of a single probe in a gallery of moderate size: what one face at a door costs.

The same steps as in kith.searchers.int8_pass and kith.similarity.block_scores, in half the time: a gallery of ten
thousand is looked through in 20 µs, and to set up the arrays of a batch takes longer than that.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kith.journal import BLOCK_ROWS, Vectors
from kith.searchers.int8_group import Group
from kith.similarity.ranking import ROUNDING, Entry, Ranking, best_of, exact_score
from kith.similarity.rows import Indices, Rows

#: Blocks whose best row is looked at for a floor, for each of the k subjects. Where there are fewer, parts of them.
_LEADERS, _PARTS = 4, 16

#: Rows scored at once, and rows that this way is worth going for.
_FEW, _MANY = 24, 512

#: More than what float64 loses of the square of a length near 1.
_LOST = 1e-12

#: Between them are the scales of vectors of length 1; zeros and what is not a number are left to the general way.
_SCALES = 1e-6, 1.0


def nearest_to_one(group: Group, rows: Rows, probe: Vectors, k: int) -> list[Entry] | None:
    """The k best of `rows`, which `group` holds all of; None where it takes the general way. probe: float32 (1, d)."""
    both = np.empty((2, probe.shape[1]))
    exact, codes = both[0], both[1]
    exact[:] = probe[0]
    np.abs(exact, out=codes)
    scale = float(codes[codes.argmax()]) / group.levels
    if not _SCALES[0] < scale < _SCALES[1]:
        return None
    np.rint(np.multiply(exact, 1 / scale, out=codes), out=codes)
    raw = group.scores_of_one(codes)
    (length, likeness), (_, size) = (both @ both.T).tolist()
    # |p − t·r|², multiplied out.
    lost = abs(length - scale * (2 * likeness - scale * size)) + _LOST
    # In units of the probe's scale, as are all scores until rows are found.
    bound = math.sqrt(size) * group.most_off + (math.sqrt(lost) * group.most_norm + ROUNDING) / scale
    peak = _kth_peak(group, rows, raw, k)
    floor = peak - 2 * bound - group.most_scale
    if floor <= group.most_scale:
        # Zeros, which stand for nobody, would be found.
        return None
    # Cut off, by less than the scale that was taken off.
    least = (group.inverse * floor).astype(np.int32).astype(raw.dtype, copy=False)
    found = (raw >= least[:, np.newaxis]).reshape(-1).nonzero()[0]
    if len(found) <= _FEW:
        return _ranked(rows, found + group.blocks.start * BLOCK_ROWS, exact, k)
    if len(found) > _MANY:
        return None
    ranking = Ranking(rows, probe, k)
    ranking.floor[0], ranking.likely[0] = scale * (peak - bound), scale * peak
    score = raw.reshape(-1)[found] * (scale * group.scale[found // BLOCK_ROWS])
    found += group.blocks.start * BLOCK_ROWS
    ranking.consider(np.zeros(len(found), np.intp), found, score, score + scale * bound)
    ranking.settle()
    return ranking.best[0]


def _kth_peak(group: Group, rows: Rows, raw: NDArray[Any], k: int) -> float:
    """The least score among the best rows of blocks, best blocks first, that are of k subjects. −inf where there are
    not so many above 0."""
    scale, parts = group.scale, 1
    while parts < _PARTS and parts * len(scale) < _LEADERS * k:
        parts *= 2
    if parts > 1:
        raw, scale = raw.reshape(-1, BLOCK_ROWS // parts), np.repeat(scale, parts)
    peaks = np.maximum.reduce(raw, axis=1) * scale
    first, width = group.blocks.start * BLOCK_ROWS, raw.shape[1]
    owners: set[int] = set()
    for at in peaks.argsort()[: -_LEADERS * k - 1 : -1].tolist():
        best = int(raw[at].argmax())
        if raw[at, best] <= 0:
            break
        owners.add(rows.owner_of(first + at * width + best))
        if len(owners) == k:
            return float(peaks[at])
    return -math.inf


def _ranked(rows: Rows, found: Indices, probe: NDArray[np.float64], k: int) -> list[Entry] | None:
    """The k best of the few rows found; None where a template is not made of numbers. probe: (d,)."""
    templates = rows.exact(found)
    sums = templates @ probe
    if not math.isfinite(float(sums.sum())):
        return None
    near: list[Entry] = []
    owners: set[int] = set()
    least = -math.inf
    for at in sums.argsort()[::-1].tolist():
        about = float(sums[at])
        if about < least:
            break
        row = int(found[at])
        owner = rows.owner_of(row)
        near.append((-exact_score(about, templates[at], probe), rows.slot_of(row), owner))
        owners.add(owner)
        if len(owners) == k and least == -math.inf:
            # Those that round to the same score tie, and the lower slot wins.
            least = about - ROUNDING
    near.sort()
    # As in kith.similarity.ranking.
    templates.fill(0)
    return best_of(near, k)
