"""What calls leave on the stack of their thread is zeroed: `wipe_stack`.

Products and copies save their registers there, 64 bytes of a vector in each. A thread that then waits for its next job
does not come as deep again for days, and no other thread may write to its stack.
"""

import ctypes
from collections.abc import Callable
from functools import cache

#: Deeper than any call of ours goes. The kernel gives a thread's stack page by page, and keeps what it gave.
_BYTES = 128 << 10


class _Zeros(ctypes.Structure):
    _fields_ = (("zeros", ctypes.c_char * _BYTES),)


def wipe_stack() -> None:
    """Zero what lies below the caller on his stack. Takes some microseconds: for the end of a piece of work that had
    vectors in its hands."""
    _take()(_Zeros())


@cache
def _take() -> Callable[[_Zeros], int]:
    # A structure that is handed over whole lies on the stack while the call lasts. Which call, is all the same.
    take = ctypes.PyDLL(None).getpid
    take.argtypes = [_Zeros]
    return take
