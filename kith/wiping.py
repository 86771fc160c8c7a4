"""Memory that held templates is zeroed: our own arrays when they are dropped; on a forget, what vectors left elsewhere.

What is freed keeps its content until it is used again. A process that reads others' memory, a core dump or a swapped
page would show vectors of people forgotten long ago.
"""

import ctypes
import gc
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kith.blas_buffers import wipe_blas_buffers
from kith.free_memory import overwriting_freed, wipe_free_memory
from kith.python_blocks import wipe_python_blocks
from kith.stack_memory import wipe_stack

Array = TypeVar("Array", bound=NDArray[Any])


def wiped_when_dropped(array: Array) -> Array:
    """The same numbers, in the same memory; when the array returned and all its views are gone, that is zeroed.

    The memory must be the array's own, or a buffer that nobody else looks at (a reply of the server), and `array`
    itself must not be used any more. Windows of an array that is wiped need not be given here; giving the array
    returned, or a window of it, again changes nothing.
    """
    owner: Any = array
    # The last array in the chain: all views of the memory keep it alive, whoever made them.
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if not array.nbytes or isinstance(owner.base, _Memory):
        return array
    wiped: Any = np.asarray(_Memory(array))
    return wiped  # type: ignore[no-any-return]


class _Memory:
    """What lies below an array that is wiped: it keeps the memory, and zeroes it before it lets go.

    Not a weak reference to the array, whose callback some releases of numpy and Python (2.5 on 3.12) run when the
    memory has been freed already: a finaliser runs while its object, and with it the memory, is still there (PEP 442).
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        # Asked for now: `__del__` may run when the interpreter ends, and numpy is in pieces.
        self._address, self._nbytes = array.ctypes.data, array.nbytes
        self.__array_interface__ = array.__array_interface__

    def __del__(self, memset: Any = ctypes.memset) -> None:
        memset(self._address, 0, self._nbytes)


def wipe_leftovers() -> None:
    """Zero what vectors and names left behind in memory that is nobody's now: buffers of matrix products, all that is
    free, and the stack of the calling thread (of theirs others take care: kith.stack_memory).

    For after a forget, once what held the person is dropped. Takes up to a tenth of a second, in which others go on.
    Not reached is memory in use: a piece that somebody was given meanwhile has an end that he may not need, and a few
    numbers of a vector stay there.
    """
    # Cycles first: what only a cycle holds is not free yet. Overwritten at once: the next line may load a library, and
    # the loader keeps small pieces of memory for good.
    with overwriting_freed():
        gc.collect()
    wipe_blas_buffers()
    wipe_python_blocks()
    wipe_free_memory()
    wipe_stack()
