"""The int8 pass: products of codes, a few megabytes at a time."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kith.errors import Misconfigured
from kith.journal import BLOCK_ROWS
from kith.searchers.arrangement import Arrangement, Piece
from kith.searchers.int8 import LEVELS, SHIFT, Codes, Stretch
from kith.searchers.int8_group import Group, StretchGroup, WovenGroup
from kith.searchers.int8_woven import Woven
from kith.similarity.block_scores import BlockScores
from kith.similarity.ranking import Ranking
from kith.similarity.rows import Indices, Rows

#: What one stretch is packed into.
Packing = Stretch | Woven

#: Codes of a gallery that stay in the cache from one search to the next.
_CACHED_BYTES = 8 << 20

#: Scores of one pass: few enough to stay in the cache, enough to be worth a look.
_SCORES_AT_ONCE = 1 << 19


class Int8Pass:
    """Scores the blocks of a group for the probes it was made for."""

    def __init__(self, group: Group, probes: Codes) -> None:
        self._group, self._probes = group, probes

    def offer(self, rows: Rows, ranking: Ranking, without: Mapping[int, Indices], fallback: NDArray[np.int64]) -> None:
        """See kith.similarity.passes.Pass."""
        coded, group = self._probes, self._group
        raw, peaks = group.scores(coded.codes, without)
        bound = coded.size * group.off + coded.off * group.norm
        BlockScores(group.blocks, raw, peaks, coded.scale * group.scale, bound).name(rows, ranking, fallback)


def grouped(arrangement: Arrangement[Packing], batch: int) -> list[Group]:
    """The pieces of `arrangement` in groups, several pieces in each where a small batch makes few scores of a piece."""
    # Powers of two: so that there are few ways to group, each made once.
    blocks = 1 << (_SCORES_AT_ONCE // (batch * BLOCK_ROWS)).bit_length() >> 1
    groups: list[Group] | None = arrangement.made.get(blocks)
    if groups is None:
        groups = arrangement.made[blocks] = _grouped(arrangement.pieces, blocks)
    return groups


def _grouped(pieces: Sequence[Piece[Packing]], most: int) -> list[Group]:
    groups: list[list[Piece[Packing]]] = []
    for piece in pieces:
        mine = groups[-1] if groups else []
        joins = mine and mine[-1].blocks.stop == piece.blocks.start
        if joins and piece.blocks.stop - mine[0].blocks.start <= most:
            mine.append(piece)
        else:
            groups.append([piece])
    cold = sum(piece.form.nbytes for piece in pieces) > _CACHED_BYTES
    return [
        WovenGroup(group) if isinstance(group[0].form, Woven) else StretchGroup(group, cold=cold) for group in groups
    ]


def check_products() -> None:
    """Raises Misconfigured where torch does not multiply int8 exactly: some CPUs add in 16 bits, which overflow."""
    generator = torch.Generator().manual_seed(0)
    for width in (64, 128, 512):
        rows = torch.randint(-LEVELS, LEVELS + 1, (2 * BLOCK_ROWS, width), dtype=torch.int8, generator=generator)
        rows[0], rows[1] = LEVELS, -LEVELS
        for batch in (1, 2, 5, 16, 64):
            probes = torch.randint(-LEVELS, LEVELS + 1, (batch, width), dtype=torch.int8, generator=generator)
            probes[0] = LEVELS
            products = torch._int_mm(probes, rows.t(), out=torch.empty((batch, len(rows)), dtype=torch.int32))
            # float32 is exact here: the sums are below 2²⁴.
            exact = torch.equal(products.float(), probes.float() @ rows.float().t())
            unsigned = (probes[:1].short() + SHIFT).to(torch.uint8)
            products = torch._int_mm(unsigned, rows.t(), out=torch.empty((1, len(rows)), dtype=torch.int32))
            if not exact or not torch.equal(products.float(), unsigned.float() @ rows.float().t()):
                raise Misconfigured("torch multiplies int8 inexactly on this CPU")
