"""A stack for as long as a command runs, taken down in order however the command ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from kith.cli.exits import Exit
from kith.stack import Stack

#: What ends a command: Ctrl-C, `kill`, a terminal that is closed.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asked the command to end. Not an Exception: nothing that handles errors may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED


@contextlib.contextmanager
def ending_raises() -> Iterator[None]:
    """Within, the first ending signal raises Ended in the main thread; the handlers before come back afterwards."""

    def end(number: int, _: FrameType | None) -> None:
        _ignore_endings()
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    """`stack`, started; stopped at the end. Raises what Stack.start raises, and Ended.

    It starts in a thread of its own. A signal's exception strikes the main thread between any two instructions, also
    between the birth of a process and the note of its id; in the other thread none is ever forgotten.
    """
    starting = _Starting(stack)
    try:
        starting.start()
        # A wait without a timeout could not be interrupted on every platform. Not a join: one that a signal's exception
        # breaks off takes the thread for ended in Python 3.11, and what it was starting would be left behind.
        while not starting.over.wait(0.1):
            pass
        if starting.fault is not None:
            raise starting.fault
        yield stack
    finally:
        # From here on a second Ctrl-C would only turn an orderly end into an orphaned server.
        _ignore_endings()
        stack.cancel()
        # Struck before it had begun, it never will be over.
        while not starting.over.wait(1.0) and starting.is_alive():
            pass
        stack.stop()


class _Starting(threading.Thread):
    def __init__(self, stack: Stack) -> None:
        super().__init__(name="start", daemon=True)
        self._stack = stack
        self.fault: BaseException | None = None
        #: Set when the start has ended, well or not.
        self.over = threading.Event()

    def run(self) -> None:
        try:
            self._stack.start()
        except BaseException as fault:  # noqa: BLE001 (handed to the main thread, which raises it)
            self.fault = fault
        finally:
            self.over.set()


def _ignore_endings() -> None:
    # A handler that does nothing, not SIG_IGN, which a worker started in this very moment would inherit.
    for number in _ENDINGS:
        signal.signal(number, lambda *_: None)
