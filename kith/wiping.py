"""Memory that held templates is zeroed before it is given back: what is freed keeps its content until it is used again.

A process that reads others' memory, a core dump or a swapped page would show vectors of people forgotten long ago.
"""

import ctypes
import sys
import weakref
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = TypeVar("Array", bound=NDArray[Any])


def wiped_when_dropped(array: Array) -> Array:
    """`array` itself; when it and all its views are gone, its memory is zeroed.

    The memory must be the array's own, or a buffer that nobody but the array looks at (a reply of the server). Windows
    of an array that is wiped need not be given here; giving the same array again changes nothing.
    """
    owner: Any = array
    # The last array in the chain: all views of the memory keep it alive, whoever made them.
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if owner.nbytes and not _is_watched(owner):
        # No race: numpy tells whoever watches an array before it frees its memory, or lets go of the buffer below it.
        weakref.finalize(owner, ctypes.memset, owner.ctypes.data, 0, owner.nbytes).atexit = False
    return array


def _is_watched(owner: NDArray[Any]) -> bool:
    return any(isinstance(ref.__callback__, weakref.finalize) for ref in weakref.getweakrefs(owner))


#: Sizes in which free memory is taken and zeroed, largest first, and how much at most.
_SIZES = (1 << 20, 1 << 16, 1 << 13, 1 << 11, 1 << 9, 1 << 8, 1 << 7, 1 << 6, 1 << 5)
_MOST_BYTES = 256 << 20
#: Pieces between two looks at how much is left, which walks over all that is free.
_BETWEEN_LOOKS = 64


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
    """Zero what the C library keeps for use again, as far as this thread is given it; bytes that were. 0 without glibc.

    For what passed through on its way: buffers of replies, arrays within libraries. Whole pages go back to the kernel,
    the rest is taken, zeroed and given back. What other threads have put by for themselves (a few pieces below 1 kB
    each) stays until they use it again.
    """
    library = _glibc()
    if library is None:
        return 0
    library.malloc_trim(0)
    taken: list[int] = []
    wiped = 0
    for size in _SIZES:
        while wiped < _MOST_BYTES and (left := _in_pieces(library)) >= size:
            for _ in range(_BETWEEN_LOOKS):
                piece = library.malloc(size)
                if not piece:
                    break
                taken.append(piece)
                ctypes.memset(piece, 0, size)
                wiped += size
            if _in_pieces(library) >= left:
                # Cut from untouched memory: of this size nothing is left.
                break
    for piece in taken:
        library.free(piece)
    return wiped


def _in_pieces(library: ctypes.CDLL) -> int:
    info = library.mallinfo2()
    return int(info.fordblks - info.keepcost)


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if library is None or not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Info
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    return library
