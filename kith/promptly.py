"""Questions whose answer is not waited for: `Promptly`."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from kith.errors import StateUnavailable

Answer = TypeVar("Answer")

#: Supervisors wait for a second or a few; what works answers within milliseconds.
WITHIN_S = 2.0


class Promptly(Generic[Answer]):
    """`ask`, which may take long to fail: a server that hangs refuses nothing, and a client tries again and again. Safe
    to call from many threads.

    Whoever calls it has the answer, or its error, or after `within_s` seconds StateUnavailable: `who` has not answered.
    There is one question at a time: who asks meanwhile waits for the same answer, and not for long either.
    """

    def __init__(self, ask: Callable[[], Answer], who: str, within_s: float = WITHIN_S) -> None:
        self._ask, self._who, self._within_s = ask, who, within_s
        self._lock = threading.Lock()
        self._asked: Future[Answer] | None = None

    def __call__(self) -> Answer:
        with self._lock:
            asked = self._asked
            if asked is None:
                asked = Future()
                # Not a pool's thread: the process would wait for it before it ends.
                threading.Thread(target=self._answer, args=(asked,), name="kith-promptly", daemon=True).start()
                # Only now: one that could not be started would be waited for by all who ask later.
                self._asked = asked
        try:
            return asked.result(self._within_s)
        except TimeoutError:
            if asked.done():
                # It was the answer.
                raise
            raise StateUnavailable(f"{self._who} has not answered for {self._within_s:g} s") from None

    def _answer(self, asked: "Future[Answer]") -> None:
        try:
            answer = self._ask()
        except BaseException as wrong:  # noqa: BLE001 (it is raised where it is waited for)
            self._over()
            asked.set_exception(wrong)
        else:
            self._over()
            asked.set_result(answer)

    def _over(self) -> None:
        # Before it is told: whoever has the answer, and asks again, asks anew.
        with self._lock:
            self._asked = None
