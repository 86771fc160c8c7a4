"""What a call left on the stack of a thread is gone once it is wiped."""

import ctypes
import os
import threading

from kith.stack_memory import wipe_stack
from tests.process_memory import count

MARK = 0x57AC_C0DE_0BAD_F00D


class Marks(ctypes.Structure):
    """As much as a deep call leaves."""

    _fields_ = (("marks", ctypes.c_uint64 * 8000),)


def test_what_a_call_left_on_the_stack_is_gone_once_it_is_wiped() -> None:
    marks = Marks()
    call = ctypes.PyDLL(None).getpid
    call.argtypes = [Marks]
    # Not written out: the text of the test is in the memory too.
    mark = 4 * MARK.to_bytes(8, "little")
    found: list[int] = []

    def work() -> None:
        for at in range(8000):
            marks.marks[at] = MARK
        call(marks)
        ctypes.memset(ctypes.addressof(marks), 0, ctypes.sizeof(marks))
        # A thread is known by an address within its stack.
        stack = threading.get_ident()
        found.append(count(os.getpid(), mark, around=stack)[mark])
        wipe_stack()
        found.append(count(os.getpid(), mark, around=stack)[mark])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before, after = found
    # Four marks are found at a time.
    assert before > 1900
    assert after == 0
