"""Sessions within one process: for tests, and for what runs without Redis."""

import threading
import time
from collections.abc import Callable

from kith.sessions import Session, digest_of, new_token


class MemorySessions:
    """Implements kith.sessions.Sessions. clock: seconds, never backwards."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[Session, float]] = {}
        self._lock = threading.Lock()

    def begin(self, session: Session, lifetime_s: int) -> str:
        token = new_token()
        with self._lock:
            self._held[digest_of(token)] = session, self._clock() + lifetime_s
        return token

    def get(self, token: str) -> Session | None:
        with self._lock:
            session, until_s = self._held.get(digest_of(token), (None, 0.0))
            return session if self._clock() < until_s else None

    def end(self, token: str) -> None:
        with self._lock:
            self._held.pop(digest_of(token), None)
