"""Webhooks in Redis. What each step does stands in outward.lua, with the key schema at its head."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import redis

from kith import wire
from kith.backends.outward_script import OutwardScript
from kith.backends.redis_errors import mapped_redis_errors
from kith.errors import StateUnavailable
from kith.outward.errors import InvalidWebhook, UnknownWebhook
from kith.webhooks import DeadLetter, Noted, Progress, Webhook

Kept = TypeVar("Kept", Webhook, Progress)

#: Each time somebody else changed it in between; a worker that delivers does so a thousand times a second at most.
_ATTEMPTS = 100


class RedisWebhooks:
    """Implements kith.webhooks.Webhooks."""

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self._script = OutwardScript(client, prefix)

    def add(self, webhook: Webhook, start: Progress, most: int) -> None:
        if not self._script.run("add", webhook.webhook_id, wire.to_json(webhook), wire.to_json(start), most):
            raise InvalidWebhook(f"there are {most} webhooks already (webhooks.max_webhooks); remove one first")

    def get(self, webhook_id: str) -> Webhook:
        return wire.from_json(Webhook, self._text("webhooks", webhook_id))

    def all(self) -> list[Webhook]:
        with mapped_redis_errors("webhooks"):
            texts = self._script.client.hvals(self._script.key("webhooks"))
        found = (wire.from_json(Webhook, text) for text in texts)
        return sorted(found, key=lambda each: (each.created_ms, each.webhook_id))

    def change(self, webhook_id: str, change: Callable[[Webhook], Webhook]) -> Webhook:
        return self._swapped(Webhook, "change", "webhooks", webhook_id, change)

    def remove(self, webhook_id: str) -> None:
        if not self._script.run("remove", webhook_id):
            raise _unknown(webhook_id)

    def progress(self) -> Mapping[str, Progress]:
        with mapped_redis_errors("webhooks"):
            texts = self._script.client.hgetall(self._script.key("webhooks", "progress"))
        return {webhook_id.decode(): wire.from_json(Progress, text) for webhook_id, text in texts.items()}

    def replay(self, webhook_id: str, change: Callable[[Progress], Progress]) -> Progress:
        def next_step(seen: Progress) -> Progress:
            return replace(change(seen), step=seen.step + 1)

        return self._swapped(Progress, "replay", "webhooks:progress", webhook_id, next_step)

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
        dead = ("", "", 0) if died is None else (died.delivery, wire.to_json(died), died.died_ms)
        step = seen.step, wire.to_json(now)
        return Noted(self._script.run("note", holder, webhook_id, *step, revived or "", *dead, most_dead))

    def dead(self, webhook_id: str) -> list[DeadLetter]:
        with mapped_redis_errors("webhooks"):
            texts = self._script.client.hvals(self._script.key("webhooks", "dead", webhook_id))
        found = (wire.from_json(DeadLetter, text) for text in texts)
        return sorted(found, key=lambda each: (each.died_ms, each.delivery))

    def _swapped(
        self, kind: type[Kept], operation: str, key: str, webhook_id: str, change: Callable[[Kept], Kept]
    ) -> Kept:
        for _ in range(_ATTEMPTS):
            seen = self._text(key, webhook_id)
            changed = change(wire.from_json(kind, seen))
            if self._script.run(operation, webhook_id, seen, wire.to_json(changed)) == Noted.DONE:
                return changed
        raise StateUnavailable(f"webhook {webhook_id} was changed by others {_ATTEMPTS} times; try again")

    def _text(self, key: str, webhook_id: str) -> str:
        with mapped_redis_errors("webhooks"):
            found = self._script.client.hget(self._script.key(key), webhook_id)
        if found is None:
            raise _unknown(webhook_id)
        return str(found.decode())


def _unknown(webhook_id: str) -> UnknownWebhook:
    return UnknownWebhook(f"there is no webhook {webhook_id[:40]} (kith webhook list)")
