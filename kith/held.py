"""Nobody else forgets the same gallery meanwhile: `Held`."""

import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Self

from kith.errors import KithError, Retryable
from kith.gone import GoneGalleries

#: How long others are kept away after somebody was heard of last.
_LEASE_S = 15.0


def _now_s() -> float:
    # A laptop's sleep counts: to Redis it does.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


class ForgottenBySomebody(Retryable):
    """Somebody else is forgetting the gallery just now."""


class Held:
    """A context. Raises ForgottenBySomebody where another one is at it.

    A process that slept longer than its lease (a laptop, Ctrl-Z) may wake when another one has gone on and ended, and
    the name is somebody else's: so `check` is asked before whatever is erased by the name.
    """

    def __init__(self, gone: GoneGalleries, gallery: str) -> None:
        self._gone, self._gallery, self.holder = gone, gallery, uuid.uuid4().hex
        self._done = threading.Event()
        self._heard_s = _now_s()
        self._thread = threading.Thread(target=self._go_on, name="kith-forgetting", daemon=True)

    def check(self) -> None:
        """Raises ForgottenBySomebody when others may be at it by now."""
        if _now_s() - self._heard_s > _LEASE_S:
            raise ForgottenBySomebody(
                f"forgetting gallery {self._gallery} was held up for longer than {_LEASE_S:.0f} seconds, and somebody "
                "else may have gone on with it; the same call goes on from there"
            )

    def __enter__(self) -> Self:
        # From before it is asked for: later it could end sooner than is thought here.
        self._heard_s = _now_s()
        if not self._gone.hold(self._gallery, self.holder, _LEASE_S):
            raise ForgottenBySomebody(
                f"gallery {self._gallery} is being forgotten by somebody else just now; should that have been broken "
                f"off, the same call goes on {_LEASE_S:.0f} seconds later"
            )
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        with suppress(KithError):
            self._gone.release(self._gallery, self.holder)

    def _go_on(self) -> None:
        while not self._done.wait(_LEASE_S / 5):
            asked_s = _now_s()
            if asked_s - self._heard_s > _LEASE_S:
                # Taken up again it would look as if nobody had been there meanwhile.
                return
            with suppress(KithError):
                if not self._gone.hold(self._gallery, self.holder, _LEASE_S):
                    return
                self._heard_s = asked_s
