"""Freed memory of Python's own small objects is overwritten: `wipe_python_blocks`.

Python takes objects of up to 512 bytes not from the C library but from pools of its own, one size to a pool, and what
is freed there keeps its content until it is used again: a name as the journal brought it, hours after it was forgotten.
No call zeroes it, and no list says where it is. So it is taken as anybody takes it, size by size, until what is handed
out was never anybody's: Python asks for more memory only when nothing is left of that size, nor a whole pool of any.

Not reached is what nobody is handed: the end of a pool in use that is too short for another of its size, as a pool of
another size left it, and what the owner of a block does not use of it, fewer than 16 bytes of most.
"""

import ctypes
import logging
import os
import sys
from functools import cache
from itertools import compress, repeat

_log = logging.getLogger(__name__)

#: Sizes that Python tells apart, in the order in which they are taken. The first takes pools that are free, whole: of
#: the large sizes it leaves the least at the end of one. Strings and bytes begin at 48; below are numbers, and what C
#: asked to have of a short string. There is no end there, as we make numbers ourselves.
_SIZES = (480, 512, 496, *range(464, 32, -16))

#: Bytes taken at a time. When the second half of them was never anybody's, nothing else is left: for the first size it
#: is as long as an arena (1 MiB), which Python asks for only when all others have no pool left; then, as a pool
#: (16 KiB), as all of those that are free are taken by then. And so many blocks that the list of them, while it grows,
#: takes and drops small ones in the first half only.
_ARENAS, _POOLS, _BLOCKS = 2 << 20, 32 << 10, 256
#: Bytes taken at most: a second or two. An interpreter may have another allocator, whose memory is never new.
_MOST = 128 << 20

#: What is written into it. Not zeros: those tell what was never anybody's.
_FILLER = 0x55


def wipe_python_blocks() -> int:
    """Overwrite what is free in Python's pools for small objects; bytes overwritten.

    Takes 10 to 50 ms, or 15 ms for each further megabyte that is free; other threads go on meanwhile. 0 where Python
    has no such pools: what small objects left is in the C library's heap then (kith.free_memory), or was overwritten
    when it was freed (`-X dev`).
    """
    if sys.flags.dev_mode or os.environ.get("PYTHONMALLOC", "pymalloc") not in ("", "default", "pymalloc"):
        return 0
    python = _python()
    blank = ctypes.create_string_buffer(max(_SIZES))
    taken: list[int] = []
    wiped, left = 0, _MOST
    try:
        for size in _SIZES:
            at_once = max(_BLOCKS, (_POOLS if taken else _ARENAS) // size)
            while left > 0:
                left -= at_once * size
                # None where there is no memory left.
                blocks = list(filter(None, map(python.PyObject_Malloc, repeat(size, at_once))))
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
    if left <= 0:
        _log.warning("of what small objects left in memory %d MB were overwritten, there may be more", wiped >> 20)
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
