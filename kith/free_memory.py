"""Freed memory is zeroed, all that there is: `wipe_free_memory`; or overwritten when it is freed: `overwriting_freed`.

What is freed keeps its content until it is used again, and a vector leaves copies on its way that nobody can name:
replies of the server as they were received, arrays within libraries. The way to get at them is to take what is free,
which nobody else can then have, zero it, and give it back:

- whole pages of glibc's heap go to the kernel, which gives back zeros;
- the rest of the heap is taken piece by piece, largest first, until none is left;
- numpy keeps a few small arrays of each size, for all threads. (Python's own small blocks: kith.python_blocks.)

Not reached is what glibc keeps for other threads, which embed workers do without (workers.memory). Nor is what was
handed out again before: its new owner may leave gaps in it for as long as he has it, as oneDNN does in every product
that it prepares. Hence the second way, for the moments in which many vectors pass through.
"""

import ctypes
import mmap
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

#: Requests in which the heap is taken, largest first. From 1 kB down every size there is, so that no remainder of a
#: larger one is left.
_SIZES = (1 << 20, 1 << 17, 1 << 14, 1 << 12, 1 << 11, *range(1032, 23, -16))

#: Pieces in a row that come from untouched memory: then nothing else is as large. More than one, because other threads
#: may take from the end of the heap and give back while we are at it; and more than glibc keeps for this thread.
_FRESH_IN_A_ROW = 8
#: Bytes taken beyond what was free at first, should others free as fast as we take.
_MORE_BYTES = 64 << 20

#: numpy keeps arrays of fewer bytes, so many of each size.
_SMALL_ARRAY, _SMALL_EACH = 1024, 7

#: glibc's M_PERTURB: the byte that freed memory is filled with, and what is handed out with its complement. 0: neither.
_M_PERTURB, _FILLER = -6, 0x55

_overwriting = 0
_overwriting_lock = threading.Lock()


class _Info(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def wipe_free_memory() -> int:
    """Zero what is free in the heap and in numpy's store of small arrays; bytes taken and zeroed piece by piece.

    0 without glibc: nothing is done then. All of the heap is reached where there is one for all threads
    (workers.memory). Takes some tens of milliseconds, in which other threads go on.
    """
    library = _glibc()
    if library is None:
        return 0
    # First, so that what it gives up is taken with the rest.
    _wipe_small_arrays()
    library.malloc_trim(0)
    info = library.mallinfo2()
    # Where memory begins that was never given to anybody, or came from the kernel zeroed again just now.
    untouched = (library.sbrk(0) or 0) - info.keepcost
    taken: list[int] = []
    wiped, most = 0, info.fordblks + _MORE_BYTES
    for size in _SIZES:
        fresh = 0
        while fresh < _FRESH_IN_A_ROW and wiped < most:
            piece = library.malloc(size)
            if not piece:
                break
            taken.append(piece)
            zeroed = _zero(library, piece)
            # The smallest piece that fits is given, and one of untouched memory only when none does.
            if piece >= untouched:
                fresh += 1
            else:
                fresh, wiped = 0, wiped + zeroed
    for piece in taken:
        library.free(piece)
    library.malloc_trim(0)
    return wiped


@contextmanager
def overwriting_freed() -> Iterator[None]:
    """While it lasts, what any thread frees is overwritten at once, and so is what it is given. Without glibc nothing.

    For milliseconds: all day, it would make a network an eighth slower. An exception that ends it keeps no variable of
    the functions it came through up to here.
    """
    library = _glibc()
    if library is None:
        yield
        return
    handled = sys.exc_info()[1]
    _overwrite(library, 1)
    try:
        yield
    except BaseException as fault:
        # What was read so far would live as long as its traceback, and be freed when nobody overwrites it any more.
        _clear_frames(fault, handled)
        raise
    finally:
        _overwrite(library, -1)


def _clear_frames(fault: BaseException, handled: BaseException | None) -> None:
    """Of functions that are over, and of those that `fault` came from, up to what was being handled before."""
    passed: BaseException | None = fault
    while passed is not None and passed is not handled:
        traceback.clear_frames(passed.__traceback__)
        passed = passed.__cause__ or passed.__context__


def _overwrite(library: ctypes.PyDLL, change: int) -> None:
    global _overwriting  # noqa: PLW0603 (it is the process's: there is one heap)
    with _overwriting_lock:
        _overwriting += change
        if _overwriting == max(change, 0):
            library.mallopt(_M_PERTURB, _FILLER if _overwriting else 0)


def _wipe_small_arrays() -> None:
    for size in range(1, _SMALL_ARRAY):
        # Held together, or it would be the same one each time.
        held = [np.zeros(size, np.uint8) for _ in range(_SMALL_EACH)]
        del held


def _zero(library: ctypes.PyDLL, piece: int) -> int:
    """Zero a piece we were given, all that there is of it; its bytes."""
    size = int(library.malloc_usable_size(piece))
    first, last = -(-piece // mmap.PAGESIZE) * mmap.PAGESIZE, (piece + size) // mmap.PAGESIZE * mmap.PAGESIZE
    # Most of the pages of a large piece went to the kernel a moment ago; to write to them would fetch them again.
    if last - first > 4 * mmap.PAGESIZE and not library.madvise(first, last - first, mmap.MADV_DONTNEED):
        ctypes.memset(piece, 0, first - piece)
        ctypes.memset(last, 0, piece + size - last)
    else:
        ctypes.memset(piece, 0, size)
    return size


@cache
def _glibc() -> ctypes.PyDLL | None:
    # PyDLL: thousands of calls of a fraction of a microsecond. To let go of the interpreter in each, and wait for it
    # again, would take far longer beside a busy thread.
    library = ctypes.PyDLL(None) if sys.platform.startswith("linux") else None
    if library is None or not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Info
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.malloc_usable_size.restype, library.malloc_usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    library.sbrk.restype, library.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return library
