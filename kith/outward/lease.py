"""Who of several outward workers tells: the one that holds the lease. Threads that tell ask here before each word."""

import time
from collections.abc import Callable

from kith.outward.places import Places

#: Of the lease's time, after which it counts as lost unless it was renewed: what one began must be over before another
#: begins.
_MARGIN = 0.8


class Lease:
    """holder: who this is. Renewed by one thread, asked by all."""

    def __init__(
        self, places: Places, holder: str, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places, self.holder, self._lease_s, self._clock = places, holder, lease_s, clock
        self._until_s = float("-inf")

    @property
    def held(self) -> bool:
        """Whether this worker tells, as far as it knows."""
        return self._clock() < self._until_s

    @property
    def every_s(self) -> float:
        """How often it is to be renewed."""
        return self._lease_s / 4

    def renew(self) -> bool:
        """Hold it, or go on holding it, if nobody else does. Raises StateUnavailable, StateFull."""
        # From before the question: however long the answer took, the server counts from no earlier.
        asked_s = self._clock()
        if self._places.lead(self.holder, self._lease_s):
            self._until_s = asked_s + self._lease_s * _MARGIN
        else:
            self.drop()
        return self.held

    def drop(self) -> None:
        """Tell nobody any more; another wrote where this one would have."""
        self._until_s = float("-inf")

    def leave(self) -> None:
        """Give it back, so that another takes over at once. Raises StateUnavailable."""
        self.drop()
        self._places.leave(self.holder)
