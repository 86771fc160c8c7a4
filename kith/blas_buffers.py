"""What numpy's matrix products leave behind is zeroed: `wipe_blas_buffers`. OpenBLAS copies what it multiplies, panel
by panel, into buffers of its own, and keeps them.

A buffer is lent to whoever multiplies, the first that is free, and stays as it was when it comes back. So all that are
free are taken (nobody else can then have them), zeroed and given back. Each of OpenBLAS's own threads keeps one for
good; those are written over by a product of zeros that is large enough to fill in every thread what any product does.
"""

import ctypes
import mmap
import os
import re
from functools import cache
from pathlib import Path

import numpy as np

#: Of a buffer, what is zeroed: more than the panels of float32 products with some hundred probes, and less than a
#: buffer has on any machine (BUFFER_SIZE in OpenBLAS's sources).
_BYTES = 16 << 20

#: Of the product of zeros. Rows for each thread and columns: twice what OpenBLAS cuts a matrix into at most
#: (SGEMM_DEFAULT_P and _Q in its sources), so that each thread fills a whole panel.
_ROWS, _COLUMNS = 2048, 1024
#: As many probes as a search multiplies with, or more.
_PROBES = 256
#: Buffers taken at once, at most: half of those that OpenBLAS has (NUM_BUFFERS in its sources). Whoever multiplies
#: meanwhile must find one, and leaves one further on touched; without a bound, a few such turns would take them all.
_MOST_BUFFERS = 64
#: Threads of OpenBLAS at most, as it is built for numpy.
_MOST_THREADS = 64


def wipe_blas_buffers() -> int:
    """Zero the buffers that nobody uses just now; how many. 0 where numpy multiplies by something else.

    Takes some tens of milliseconds of every core. Products that run meanwhile leave theirs as it is.
    """
    library = _openblas()
    if library is None:
        return 0
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    # Untouched, zeros cost no memory.
    np.matmul(np.zeros((threads * _ROWS, _COLUMNS), np.float32), np.zeros((_COLUMNS, _PROBES), np.float32))
    taken: list[int] = []
    try:
        while len(taken) < _MOST_BUFFERS:
            buffer = library.blas_memory_alloc(0)
            if not buffer:
                break
            taken.append(buffer)
            # They are lent in order. One that nobody has written to since it was made, or zeroed by us, is the last
            # that need be looked at: whoever uses a later one found this one in use.
            if not _is_touched(buffer):
                break
            _zero(buffer)
    finally:
        for buffer in taken:
            library.blas_memory_free(buffer)
    return len(taken)


def _is_touched(buffer: int) -> bool:
    pages = (ctypes.c_ubyte * 16)()
    start = buffer // mmap.PAGESIZE * mmap.PAGESIZE
    return bool(_libc().mincore(start, len(pages) * mmap.PAGESIZE, pages)) or any(page & 1 for page in pages)


def _zero(buffer: int) -> None:
    # To the kernel, which gives back zeros: written, all buffers together would be hundreds of megabytes.
    if buffer % mmap.PAGESIZE == 0 and _is_private(buffer):
        _libc().madvise(buffer, _BYTES, mmap.MADV_DONTNEED)
    else:
        ctypes.memset(buffer, 0, _BYTES)


def _is_private(address: int) -> bool:
    """Whether it lies in memory that is backed by nothing: only that comes back zeroed."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    for start, end in re.findall(r"^(\w+)-(\w+) rw-p 0+ 00:00 0\s*$", "\n".join(lines), re.MULTILINE):
        if int(start, 16) <= address and address + _BYTES <= int(end, 16):
            return True
    return False


@cache
def _openblas() -> ctypes.PyDLL | None:
    """The library that numpy multiplies with, where it is an OpenBLAS that lends its buffers to others."""
    maps = Path("/proc/self/maps")
    loaded = maps.read_text() if maps.exists() else ""
    # cv2 and others may have loaded another one; numpy's wheel brings its own, a distribution's has no folder.
    paths = sorted(set(re.findall(r"/\S*openblas\S*\.so\S*", loaded)), key=lambda path: "numpy" not in path)
    for path in paths:
        library = ctypes.PyDLL(path)
        if hasattr(library, "blas_memory_alloc"):
            library.blas_memory_alloc.restype, library.blas_memory_alloc.argtypes = ctypes.c_void_p, [ctypes.c_int]
            library.blas_memory_free.restype, library.blas_memory_free.argtypes = None, [ctypes.c_void_p]
            return library
    return None


@cache
def _libc() -> ctypes.PyDLL:
    library = ctypes.PyDLL(None)
    library.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library
