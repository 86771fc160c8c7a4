"""What a living process has in its memory: the private, writable mappings, as a core dump would hold them."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHUNK = 16 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: By how much pieces overlap, so that nothing is cut in two.
_OVERLAP = 4096

Words = NDArray[np.uint32]

#: A copy is so many bytes of a vector in a row. What has fewer is the unused end of a piece of memory that was handed
#: out again (glibc gives at most 24 bytes more than it was asked for), or a register that a library saved on a stack
#: (64 bytes with AVX-512).
RUN_BYTES = 80
#: Or so many of its numbers, in whatever order, so near one another: OpenBLAS and oneDNN weave rows into one another.
_WOVEN, _WOVEN_BYTES = 32, 16 << 10

#: Words are looked up by so many of their bits first. Those of floats that differ most from number to number.
_BITS, _SHIFT = 20, 2


def pieces(pid: int, around: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The memory of process `pid` piece by piece, with the address of each. around: only the mapping that holds this
    address. Pages that were never written are left out: to read them would make them."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory, Path(f"/proc/{pid}/pagemap").open("rb") as pages:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw.p", line)
            if found is None or "[vvar" in line:
                continue
            start, end = (int(each, 16) for each in found.groups())
            if around is not None and not start <= around < end:
                continue
            pages.seek(start // _PAGE * 8)
            # Bit 63: in memory; bit 62: swapped.
            there = np.frombuffer(pages.read((end - start) // _PAGE * 8), np.uint64) >> np.uint64(62) != 0
            edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]])))
            for first, last in edges.reshape(-1, 2).tolist():
                for at in range(start + first * _PAGE, start + last * _PAGE, _CHUNK):
                    try:
                        memory.seek(at)
                        yield at, memory.read(min(_CHUNK + _OVERLAP, start + last * _PAGE - at))
                    except OSError:
                        # Gone since we read the list.
                        continue


def count(pid: int, *needles: bytes, around: int | None = None) -> dict[bytes, int]:
    """How often the memory holds each of `needles`; around: as in `pieces`."""
    found = dict.fromkeys(needles, 0)
    for _, piece in pieces(pid, around):
        for needle in needles:
            found[needle] += piece.count(needle)
    return found


def forms(vector: NDArray[np.float32], scales: Mapping[str, float]) -> dict[str, Words]:
    """How a vector may lie in memory, as words of four bytes: float32; of each float64 the half that tells most; and
    int8 by each of `scales` (kith.searchers.int8)."""
    exact = vector.astype("<f8")
    found = {"float32": vector.astype("<f4").view("<u4"), "float64": exact.view("<u4")[1::2].copy()}
    for name, scale in scales.items():
        found[f"int8 {name}"] = np.rint(exact / scale).astype(np.int8).view("<u4")
    return found


def vectors_in(pid: int, vectors: Mapping[str, Mapping[str, Words]]) -> dict[str, list[str]]:
    """Copies in the memory of process `pid`: name → what was found of it and where. vectors: by name, in their
    `forms`. Copies may begin at any byte."""
    words = [(name, form, each) for name, known in vectors.items() for form, each in known.items()]
    every = np.concatenate([each for _, _, each in words])
    whose = np.repeat(np.arange(len(words)), [len(each) for _, _, each in words])
    number = np.concatenate([np.arange(len(each)) for _, _, each in words])
    order = np.argsort(every, kind="stable")
    # Zeros are nobody's.
    order = order[every[order] != 0]
    every, whose, number = every[order], whose[order], number[order]
    likely = np.zeros(1 << _BITS, bool)
    likely[_bits(every)] = True
    places: list[NDArray[np.int64]] = []
    for start, piece in pieces(pid):
        for shift in range(4):
            here = np.frombuffer(piece, "<u4", (len(piece) - shift) // 4, shift)
            at = np.flatnonzero(likely[_bits(here)])
            first, last = np.searchsorted(every, here[at], "left"), np.searchsorted(every, here[at], "right")
            hits = np.repeat(at, last - first)
            which = np.arange(len(hits)) - np.repeat(np.cumsum(last - first) - last, last - first)
            places.append(np.stack([whose[which], start + shift + 4 * hits, number[which]], axis=1))
    everywhere = np.concatenate(places)
    found: dict[str, list[str]] = {}
    for index, (name, form, each) in enumerate(words):
        mine = np.unique(everywhere[everywhere[:, 0] == index], axis=0)
        stride = 8 if form == "float64" else 4
        for address, what in _copies(mine[:, 1], mine[:, 2], len(each), stride):
            found.setdefault(name, []).append(f"{form} at {address:#x}: {what}")
    return found


def _bits(words: Words) -> Words:
    bits: Words = (words >> np.uint32(_SHIFT)) & np.uint32((1 << _BITS) - 1)
    return bits


def _copies(
    address: NDArray[np.int64], number: NDArray[np.int64], count: int, stride: int
) -> Iterator[tuple[int, str]]:
    """Where `count` words of a vector lie near one another; address ascending."""
    run = RUN_BYTES // 4
    # Words of one copy in order have the same distance from where its first word is, or would be.
    begin = address - stride * number
    order = np.lexsort((number, begin))
    for start in np.unique(begin):
        mine = number[order[np.searchsorted(begin[order], start) : np.searchsorted(begin[order], start, "right")]]
        ends = np.flatnonzero(np.diff(mine, append=-2) != 1)
        longest = int(np.diff(ends, prepend=-1).max())
        if longest >= run:
            yield int(start), f"{longest} of {count} in a row"
    woven = min(_WOVEN, count // 2)
    end = np.searchsorted(address, address + _WOVEN_BYTES)
    for at in np.flatnonzero(end - np.arange(len(address)) >= woven).tolist():
        near = len(np.unique(number[at : end[at]]))
        if near >= woven:
            yield int(address[at]), f"{near} of {count} within {_WOVEN_BYTES} bytes"
            return
