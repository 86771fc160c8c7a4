"""How an embed worker's memory is handled: kept, not given back to the kernel after every batch.

Feature maps and decoded pictures take megabytes each and are allocated and freed hundreds of times a second, by threads
that are not the main one. glibc gives each such thread an arena of its own, whose memory goes back to the kernel as
soon as it is free; fetching it again, page by page, cleared, made every network call a third slower. With one arena for
all threads and high thresholds the memory stays.

Of small pieces glibc keeps some for each thread, where no other thread gets at them. What they still hold of somebody
forgotten would stay for as long as their thread waits, so there are none. A job takes no longer for it: Python has
small pieces of its own.

Nor is what was loaded at the start looked through for garbage again and again.
"""

import ctypes
import gc
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

#: The largest that glibc accepts (half of an arena's heap).
_MMAP_THRESHOLD_BYTES = 32 * 2**20
_TRIM_THRESHOLD_BYTES = 512 * 2**20

#: Where glibc reads, before anything runs, what `mallopt` cannot change.
_TUNABLES = "GLIBC_TUNABLES"
_ONE_HEAP = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0"


def restart_with_one_heap() -> None:
    """Start this program anew, as the same process, with one heap for all threads and nothing kept for single ones.

    Returns where that was done before, or where the C library is not glibc. For the first line of a program: nothing of
    what the process was doing is left. What is free in that heap any thread can take (kith.free_memory).
    """
    known = os.environ.get(_TUNABLES, "")
    if _ONE_HEAP in known or "CS_GNU_LIBC_VERSION" not in os.confstr_names or not os.confstr("CS_GNU_LIBC_VERSION"):
        return
    os.environ[_TUNABLES] = f"{known}:{_ONE_HEAP}" if known else _ONE_HEAP
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (itself, with its own arguments)


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
