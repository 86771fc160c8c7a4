"""Whether a process is live, and whether it is ready: what stands in the way, by name.

Live: it is worth keeping; what is not live is mended by starting it again. Ready: it could do its work now. A part
that is away makes a process unready, never unlive: starting it again would bring back neither Redis nor the broker.
"""

import time
from collections.abc import Callable

from kith.errors import KithError

#: Why not, None where nothing is wrong. May raise KithError: then that is why.
Check = Callable[[], str | None]


class LastDone:
    """A check: that something that is done again and again was done within the last `within_s`."""

    def __init__(self, what: str, within_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._what, self._within_s, self._clock_s = what, within_s, clock_s
        self._done_s = clock_s()

    def done(self) -> None:
        """It was done, just now."""
        self._done_s = self._clock_s()

    def __call__(self) -> str | None:
        since_s = self._clock_s() - self._done_s
        return f"{self._what} for {since_s:.0f} s" if since_s > self._within_s else None


_STARTING = {"start": "it is still starting"}


class Readiness:
    """Unready until `begin`. Asked by any thread; the checks are added before that."""

    def __init__(self) -> None:
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._begun = False

    def lives_by(self, what: str, check: Check) -> None:
        """It is live as long as `check` finds nothing wrong."""
        self._live[what] = check

    def needs(self, what: str, check: Check) -> None:
        """It is ready as long as `check` finds nothing wrong."""
        self._ready[what] = check

    def begin(self) -> None:
        """It has started: from now on it is ready when its needs are met."""
        self._begun = True

    def ailments(self) -> dict[str, str]:
        """Why it is not live; empty when it is."""
        return _troubles(self._live)

    def obstacles(self) -> dict[str, str]:
        """Why it is not ready; empty when it is."""
        return self.ailments() | (_troubles(self._ready) if self._begun else _STARTING)


def _troubles(checks: dict[str, Check]) -> dict[str, str]:
    return {what: trouble for what, check in dict(checks).items() if (trouble := _trouble(check)) is not None}


def _trouble(check: Check) -> str | None:
    try:
        return check()
    except KithError as wrong:
        return wrong.reason
