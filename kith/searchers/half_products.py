"""The arithmetic of a search in half precision: `Products`, by Triton kernels on a GPU, by torch anywhere."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kith.errors import Misconfigured
from kith.searchers.half import ADDING, GROUP_ROWS, PROBES
from kith.similarity.ranking import float32_slack

#: Rows of one product where there is no kernel: its scores stay in the cache.
_ROWS_AT_ONCE = 1 << 15

#: What a device was asked for: the call waits for it.
Answer = Callable[[], NDArray[np.float32]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Rows of several forms in groups of GROUP_ROWS, which are numbered on and on. forms: float16
    (groups · GROUP_ROWS, d) each. offsets: on the device, int64, how many numbers after the first one of forms[0] (or
    before, then negative) each group begins."""

    forms: Sequence[Tensor]
    offsets: Tensor

    @classmethod
    def of(cls, forms: Sequence[Tensor]) -> "Groups":
        """Those of `forms`, which are looked up."""
        first, size = forms[0].data_ptr(), forms[0].element_size()
        starts = [
            torch.arange(0, form.numel(), GROUP_ROWS * form.shape[1]) + (form.data_ptr() - first) // size
            for form in forms
        ]
        return cls(forms, torch.cat(starts).to(forms[0].device))


class Products(Protocol):
    """All vectors are float16, their products added in float32: float16 sums would be off by more than all the rest."""

    def maxima(self, groups: Groups, probes: Tensor, into: Tensor) -> None:
        """The greatest product of each probe with any row of each group. probes: (P, d), P a power of two of at least
        16; into: float32 (P, groups)."""
        ...

    def scores(self, groups: Groups, which: Tensor, probes: Tensor) -> Tensor:
        """The products of probe i with the rows of the groups which[i]: float32 (B, n, GROUP_ROWS). which: int64
        (B, n)."""
        ...

    def best(self, groups: Groups, maxima: Tensor, probes: Tensor, looked: int, kept: int) -> Answer:
        """The rows with the greatest products in those `looked` groups that have the greatest maxima of a probe. Asked
        for at once, and answered when it is called.

        maxima: (B, groups), see `maxima`. Float32 (B, kept + n + n + kept), n = looked + 1 where there are so many
        groups, `looked` else: of each probe the products of `kept` rows, best first; the maxima of n groups, best
        first; the numbers of those groups; and of the rows, their place in the first `looked` groups, one after the
        other. In one piece, for each that is fetched is waited for. The numbers are exact in float32: a device on which
        2²⁴ groups have room would be another one.
        """
        ...


class TorchProducts:
    """Products on any device."""

    def maxima(self, groups: Groups, probes: Tensor, into: Tensor) -> None:
        """See Products."""
        step = _ROWS_AT_ONCE // GROUP_ROWS
        start = 0
        for form in groups.forms:
            mine = into[:, start : start + len(form) // GROUP_ROWS]
            for first in range(0, mine.shape[1], step):
                some = form[first * GROUP_ROWS : (first + step) * GROUP_ROWS]
                if some.is_cuda:
                    scores = torch.mm(some, probes.t(), out_dtype=torch.float32)
                else:
                    scores = some.float() @ probes.float().t()
                mine[:, first : first + step] = scores.view(-1, GROUP_ROWS, len(probes)).amax(dim=1).t()
            start += mine.shape[1]

    def scores(self, groups: Groups, which: Tensor, probes: Tensor) -> Tensor:
        """See Products."""
        scores = torch.empty((*which.shape, GROUP_ROWS), device=probes.device)
        start = 0
        for form in groups.forms:
            count = len(form) // GROUP_ROWS
            probe, at = ((which >= start) & (which < start + count)).nonzero(as_tuple=True)
            rows = form.view(count, GROUP_ROWS, form.shape[1])[which[probe, at] - start].float()
            scores[probe, at] = (rows @ probes[probe].float().unsqueeze(2)).squeeze(2)
            start += count
        return scores

    def best(self, groups: Groups, maxima: Tensor, probes: Tensor, looked: int, kept: int) -> Answer:
        """See Products."""
        value, group = torch.topk(maxima, min(looked + 1, maxima.shape[1]))
        raw, at = torch.topk(self.scores(groups, group[:, :looked], probes).view(len(maxima), -1), kept)
        answer = torch.cat((raw, value, group, at), dim=1)
        return lambda: answer.cpu().numpy()


def open_products(device: torch.device) -> Products:
    """The fastest arithmetic of `device` that is as exact as `bounds` says. Raises Misconfigured where none is."""
    allowed = ADDING * float32_slack(512)
    off = []
    for way in ways(device):
        try:
            off.append(_error(way, device))
        except Exception as cannot:  # noqa: BLE001 (a compiler's errors are of any kind, and another way may go)
            _log.info("one way to search on %s is left out: %s", device, cannot)
            continue
        if off[-1] <= allowed:
            return way
    if not off:
        raise Misconfigured(f"{device} multiplies no matrices of float16")
    raise Misconfigured(f"{device} adds products of float16 with errors up to {min(off):.2g}, {allowed:.2g} allowed")


def ways(device: torch.device) -> list[Products]:
    """What might do on `device`, the fastest first."""
    every: list[Products] = [TorchProducts()]
    if device.type == "cuda":
        try:
            from kith.searchers.half_kernel import SHAPES, KernelProducts  # noqa: PLC0415 (needs Triton, CPUs lack it)
        except ImportError:
            _log.warning("no Triton is installed: searches on the GPU take several times as long")
        else:
            every = [*(KernelProducts(device, *shape) for shape in SHAPES), *every]
    return every


def _error(way: Products, device: torch.device) -> float:
    """The greatest error of `way` on random unit vectors."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn((4 * GROUP_ROWS, 512), generator=generator)).half().to(device)
    probes = vectors[:PROBES].clone()
    exact = (probes.double() @ vectors.double().t()).view(PROBES, 4, GROUP_ROWS)
    groups = Groups.of([vectors[:GROUP_ROWS], vectors[GROUP_ROWS:]])
    maxima = torch.empty((PROBES, 4), device=device)
    way.maxima(groups, probes, maxima)
    singly = way.scores(groups, torch.arange(4, device=device).expand(PROBES, 4).contiguous(), probes)
    return float(torch.maximum((maxima - exact.amax(dim=2)).abs().max(), (singly - exact).abs().max()))
