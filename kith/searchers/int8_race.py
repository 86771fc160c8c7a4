"""Which form of codes this CPU searches fastest: `empty_form`.

Nobody's advice holds on all processors: which library is quickest depends on what it can add in one step, on how wide
the rows are, on whether there is one probe or many, and on how it reads memory. So they race, once for each width, in a
gallery too large for the caches nearest to the processor, just as they would be searched.
"""

import threading
import time
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch

from kith.free_memory import overwriting_freed
from kith.journal import BLOCK_ROWS
from kith.searchers.arrangement import Arrangement, Piece
from kith.searchers.int8 import Stretch, code_width
from kith.searchers.int8_group import Group
from kith.searchers.int8_pass import Packing, grouped
from kith.searchers.int8_products import EIGHT_BITS, SEVEN_BITS, Product, contenders
from kith.searchers.int8_woven import woven, woven_anew

#: Bytes of codes: pieces as a searcher makes them (kith.searchers.searcher), and so many.
_PIECE_BYTES, _PIECES = 4 << 20, 4

#: Probes at a time: one face at a door, and a batch. The first is the cheaper one: those who are so many times as slow
#: as the quickest there do not come to the second.
_BATCHES, _HOPELESS = (1, 16), 4

#: Turns of each, or fewer that last so many seconds. The quickest counts: whatever else goes on only makes it slower.
_TURNS, _ENOUGH_S = 9, 0.1

#: How much faster than `torch._int_mm` a winner must be in the mean, by the greatest code of a probe: seven bits leave
#: more templates to score exactly than eight.
_FASTER = {SEVEN_BITS: 1.2, EIGHT_BITS: 1.15}

#: For a thousandth of a gallery of a million and one probe; the quick ones take a twentieth of it. See `contenders`.
_PATIENCE_S = 2e-3

_racing = threading.Lock()


def empty_form(blocks: int, dimension: int) -> Packing:
    """No vectors yet, in whatever this CPU searches fastest."""
    product = fastest_product(code_width(dimension))
    return Stretch.empty(blocks, dimension) if product is None else woven_anew(product, blocks, dimension)


def fastest_product(width: int) -> Product | None:
    """Whose products are the fastest of rows of `width` numbers; None: those of `torch._int_mm`."""
    # The second thread waits for the first one's answer, rather than race beside it.
    with _racing:
        return _fastest(width)


@cache
def _fastest(width: int) -> Product | None:
    # What the libraries prepare for good is not to lie where vectors were: see Weights.times.
    with overwriting_freed():
        others = contenders(width, patience_s=_PATIENCE_S)
    if not others:
        return None
    stretches = _stretches(width)
    spans: dict[Product | None, float] = {}
    galleries: dict[Product | None, Arrangement[Packing]] = {}
    for each in (None, *others):
        forms = [stretch if each is None else woven(each, stretch) for stretch in stretches]
        spans[each], galleries[each] = 1 if each is None else _FASTER[each.levels] ** len(_BATCHES), _searched(forms)
    for batch in _BATCHES:
        took = {each: _quickest(partial(_search, grouped(galleries[each], batch), batch)) for each in spans}
        least = min(took.values())
        spans = {each: spans[each] * span for each, span in took.items() if span <= _HOPELESS * least}
    return min(spans, key=spans.__getitem__)


def _stretches(width: int) -> list[Stretch]:
    rng, blocks = np.random.default_rng(0), max(1, _PIECE_BYTES // (BLOCK_ROWS * width))
    unit = np.ones(blocks)
    codes = [rng.integers(-127, 128, (blocks * BLOCK_ROWS, width), np.int8) for _ in range(_PIECES)]
    return [Stretch(torch.from_numpy(each), np.zeros(len(each), np.int32), unit, unit, unit) for each in codes]


def _searched(forms: list[Packing]) -> Arrangement[Packing]:
    blocks = len(forms[0].scale)
    pieces = (Piece(form, range(at * blocks, (at + 1) * blocks), []) for at, form in enumerate(forms))
    return Arrangement(tuple(pieces), (), {})


def _search(groups: list[Group], batch: int) -> None:
    codes = np.arange(-SEVEN_BITS, batch * groups[0].width - SEVEN_BITS) % (2 * SEVEN_BITS) - SEVEN_BITS
    probes = codes.reshape(batch, -1)
    for group in groups:
        if batch == 1:
            group.scores_of_one(probes[0].astype(np.float64))
        else:
            group.scores(probes.astype(np.int8), {})


def _quickest(run: Callable[[], object]) -> float:
    # The first time a library prepares itself: for torch's own product as in any search, for the others see Weights.
    run()
    spans: list[float] = []
    while len(spans) < _TURNS and sum(spans) < _ENOUGH_S:
        began = time.perf_counter()
        run()
        spans.append(time.perf_counter() - began)
    return min(spans)
