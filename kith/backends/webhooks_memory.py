"""Webhooks, and who tells them, within one process: for tests, and for what runs without Redis."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from kith.outward.errors import InvalidWebhook, UnknownWebhook
from kith.webhooks import DeadLetter, Noted, Progress, Webhook


class MemoryPlaces:
    """Implements kith.outward.places.Places. clock: seconds, for the lease."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.RLock()
        self._leader: tuple[str, float] | None = None
        self._places: dict[str, str] = {}

    def lead(self, holder: str, lease_s: float) -> bool:
        with self._lock:
            if self.leader() not in (None, holder):
                return False
            self._leader = holder, self._clock() + lease_s
            return True

    def leave(self, holder: str) -> None:
        with self._lock:
            if self.leader() == holder:
                self._leader = None

    def leader(self) -> str | None:
        with self._lock:
            return self._leader[0] if self._leader is not None and self._clock() < self._leader[1] else None

    def place(self, name: str) -> str | None:
        return self._places.get(name)

    def move(self, holder: str, name: str, seen: str | None, text: str) -> Noted:
        with self._lock:
            if self.leader() != holder:
                return Noted.LOST
            if self._places.get(name) not in (seen, text):
                return Noted.CHANGED
            self._places[name] = text
            return Noted.DONE


class MemoryWebhooks:
    """Implements kith.webhooks.Webhooks. places: says who leads."""

    def __init__(self, places: MemoryPlaces) -> None:
        self._places, self._lock = places, threading.RLock()
        self._webhooks: dict[str, Webhook] = {}
        self._progress: dict[str, Progress] = {}
        self._dead: dict[str, dict[str, DeadLetter]] = {}

    def add(self, webhook: Webhook, start: Progress, most: int) -> None:
        with self._lock:
            if webhook.webhook_id in self._webhooks:
                return
            if len(self._webhooks) >= most:
                raise InvalidWebhook(f"there are {most} webhooks already (webhooks.max_webhooks); remove one first")
            self._webhooks[webhook.webhook_id], self._progress[webhook.webhook_id] = webhook, start

    def get(self, webhook_id: str) -> Webhook:
        try:
            return self._webhooks[webhook_id]
        except KeyError:
            raise _unknown(webhook_id) from None

    def all(self) -> list[Webhook]:
        with self._lock:
            return sorted(self._webhooks.values(), key=lambda each: (each.created_ms, each.webhook_id))

    def change(self, webhook_id: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        with self._lock:
            self._webhooks[webhook_id] = change(self.get(webhook_id))
            return self._webhooks[webhook_id]

    def remove(self, webhook_id: str) -> None:
        with self._lock:
            self.get(webhook_id)
            del self._webhooks[webhook_id], self._progress[webhook_id]
            self._dead.pop(webhook_id, None)

    def progress(self) -> Mapping[str, Progress]:
        with self._lock:
            return dict(self._progress)

    def replay(self, webhook_id: str, change: Callable[[Progress], Progress]) -> Progress:
        with self._lock:
            self.get(webhook_id)
            seen = self._progress[webhook_id]
            self._progress[webhook_id] = replace(change(seen), step=seen.step + 1)
            return self._progress[webhook_id]

    def note(
        self,
        holder: str,
        webhook_id: str,
        seen: Progress,
        now: Progress,
        *,
        died: DeadLetter | None = None,
        revived: str | None = None,
        most_dead: int = 10_000,
    ) -> Noted:
        with self._lock:
            if self._places.leader() != holder:
                return Noted.LOST
            found = self._progress.get(webhook_id)
            if found != now and (found is None or found.step != seen.step):
                return Noted.CHANGED
            self._progress[webhook_id] = now
            dead = self._dead.setdefault(webhook_id, {})
            if revived is not None:
                dead.pop(revived, None)
            if died is not None:
                dead[died.delivery] = died
                for oldest in self.dead(webhook_id)[: max(0, len(dead) - most_dead)]:
                    del dead[oldest.delivery]
            return Noted.DONE

    def dead(self, webhook_id: str) -> list[DeadLetter]:
        with self._lock:
            found = self._dead.get(webhook_id, {}).values()
            return sorted(found, key=lambda each: (each.died_ms, each.delivery))


def _unknown(webhook_id: str) -> UnknownWebhook:
    return UnknownWebhook(f"there is no webhook {webhook_id[:40]} (kith webhook list)")
