"""Which galleries exist, believed for a moment: submissions come by the hundred, and galleries hardly ever go."""

import time
from collections.abc import Callable

from kith.client import Client

#: A gallery that is gone is found to be so after this; a job that came meanwhile is a dead letter that says so.
_BELIEVED_S = 2.0


class Existing:
    """Safe to call from many threads."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._until_s: dict[str, float] = {}

    def check(self, gallery: str) -> None:
        """Raises UnknownGallery; one that was just made is found at once."""
        if self._until_s.get(gallery, 0.0) < self._clock():
            self._client.galleries.info(gallery)
            # No lock: two threads at once ask twice.
            self._until_s[gallery] = self._clock() + _BELIEVED_S
