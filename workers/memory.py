"""How an embed worker's memory is handled: kept, not given back to the kernel after every batch.

Feature maps and decoded pictures take megabytes each and are allocated and freed hundreds of times a second, by threads
that are not the main one. glibc gives each such thread an arena of its own, whose memory goes back to the kernel as
soon as it is free; fetching it again, page by page, cleared, made every network call a third slower. With one arena for
all threads and high thresholds the memory stays. Small allocations come from per-thread caches and do not meet at the
arena.

Nor is what was loaded at the start looked through for garbage again and again.
"""

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

#: The largest that glibc accepts (half of an arena's heap).
_MMAP_THRESHOLD_BYTES = 32 * 2**20
_TRIM_THRESHOLD_BYTES = 512 * 2**20


def keep_memory() -> bool:
    """Tell the C library so, before any other thread allocates; False where it is not glibc and nothing is changed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return False
    return all(
        (
            mallopt(_M_ARENA_MAX, 1),
            mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES),
            mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES),
        )
    )


def spare_what_is_loaded() -> None:
    """Tell Python's garbage collector, once everything is loaded, that it stays.

    torch and a network are half a million objects. To look through them all took 110 ms, in which no thread did
    anything, once in a few thousand jobs.
    """
    gc.collect()
    gc.freeze()
