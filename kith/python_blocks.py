"""Freed memory of Python's own small objects is overwritten: `wipe_python_blocks`.

Python takes objects of up to 512 bytes not from the C library but from pools of its own, one size to a pool, and what
is freed there keeps its content until it is used again: a name as the journal brought it, hours after it was forgotten.
No call zeroes it, and no list says where it is. So it is taken as anybody takes it, size by size, until what is handed
out was never anybody's: Python asks for more memory only when nothing is left of that size, nor a whole pool of any.
What the next owner of a block does not use of it stays: of most, fewer than 16 bytes.
"""

import ctypes
import os
import sys
from functools import cache
from itertools import compress, repeat

#: Sizes that Python tells apart. Largest first: while whole pools are free, that one takes them in the fewest calls.
#: Strings and bytes begin at 48. Below are numbers; and there is no end there, as we make numbers ourselves.
_SIZES = range(512, 32, -16)

#: Bytes taken at a time. When the second half of them was never anybody's, nothing else is left: for the first size it
#: is as long as an arena (1 MiB), which Python asks for only when all others have no pool left; then, as a pool
#: (16 KiB), as all of those that are free are taken by then. And so many blocks that the list of them, while it grows,
#: takes and drops small ones in the first half only.
_ARENAS, _POOLS, _BLOCKS = 2 << 20, 32 << 10, 128
#: Bytes taken of each size at most, should an interpreter have another allocator, whose memory is never new.
_MOST = 64 << 20

#: What is written into it. Not zeros: those tell what was never anybody's.
_FILLER = 0x55


def wipe_python_blocks() -> int:
    """Overwrite what is free in Python's pools for small objects; bytes overwritten.

    Takes some milliseconds, in which other threads go on. 0 where Python has no such pools: what small objects left is
    in the C library's heap then (kith.free_memory), or was overwritten when it was freed (`-X dev`).
    """
    if sys.flags.dev_mode or os.environ.get("PYTHONMALLOC", "pymalloc") not in ("", "default", "pymalloc"):
        return 0
    python = _python()
    blank = ctypes.create_string_buffer(_SIZES[0])
    taken: list[int] = []
    wiped = 0
    try:
        for size in _SIZES:
            at_once = max(_BLOCKS, (_POOLS if taken else _ARENAS) // size)
            for _ in range(0, _MOST, at_once * size):
                blocks = list(map(python.PyObject_Malloc, repeat(size, at_once)))
                taken += blocks
                # Compared where they lie: to look at their bytes from Python would make copies of them.
                used = list(map(python.memcmp, blocks, repeat(blank), repeat(size)))
                for block in compress(blocks, used):
                    python.memset(block, _FILLER, size)
                    wiped += size
                if not any(used[at_once // 2 :]):
                    break
    finally:
        for block in taken:
            python.PyObject_Free(block)
    return wiped


@cache
def _python() -> ctypes.PyDLL:
    # PyDLL: whoever has the interpreter's lock may take from the pools.
    library = ctypes.PyDLL(None)
    # No types of arguments: for each one that is converted, ctypes itself takes a block and drops it.
    library.PyObject_Malloc.restype = ctypes.c_void_p
    library.PyObject_Free.restype, library.PyObject_Free.argtypes = None, [ctypes.c_void_p]
    library.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    library.memset.restype, library.memset.argtypes = None, [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    return library
