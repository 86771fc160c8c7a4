"""kith.remote.webhooks for asyncio."""

from collections.abc import Sequence

from kith.remote import webhook_verbs as verbs
from kith.remote.async_connection import AsyncConnection
from kith.remote.webhook_verbs import Trial, WebhookInfo
from kith.webhooks import DeadLetter


class AsyncWebhooks:
    """Made by `AsyncClient.webhooks`; as kith.remote.webhooks.Webhooks."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[WebhookInfo]:
        """All of them, oldest first."""
        return await self._connection.send(verbs.webhooks())

    async def get(self, webhook_id: str) -> WebhookInfo:
        """One, and how far it has been told."""
        return await self._connection.send(verbs.webhook(webhook_id))

    async def add(
        self,
        name: str,
        url: str,
        *,
        kinds: Sequence[str] | None = None,
        galleries: Sequence[str] | None = None,
        cameras: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
        secret: str | None = None,
    ) -> WebhookInfo:
        """Tell a receiver what happens from now on; its secret, which nothing tells again, unless it was given.

        kinds: of kith.webhooks.KINDS (default: `event`). subjects: names of people of the galleries. Raises
        UnknownSubject.
        """
        return await self._connection.send(verbs.add(name, url, kinds, galleries, cameras, subjects, secret))

    async def change(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        kinds: Sequence[str] | None = None,
        galleries: Sequence[str] | None = None,
        cameras: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
    ) -> WebhookInfo:
        """Another name, address (the secret stays the same) or filter; what is None stays, empty lets all through."""
        return await self._connection.send(verbs.change(webhook_id, name, url, kinds, galleries, cameras, subjects))

    async def remove(self, webhook_id: str) -> None:
        """Tell it nothing more; its dead letters go with it."""
        await self._connection.send(verbs.remove(webhook_id))

    async def pause(self, webhook_id: str, why: str = "paused over HTTP") -> WebhookInfo:
        """Tell it nothing; what happens meanwhile is told when it is resumed, as long as it is kept."""
        return await self._connection.send(verbs.pause(webhook_id, why))

    async def resume(self, webhook_id: str) -> WebhookInfo:
        """Go on where it was paused, or try again at once what failed."""
        return await self._connection.send(verbs.resume(webhook_id))

    async def test(self, webhook_id: str) -> Trial:
        """Have a trial delivered, and hear what the receiver answered."""
        return await self._connection.send(verbs.try_out(webhook_id))

    async def dead_letters(self, webhook_id: str) -> list[DeadLetter]:
        """What it could not be told, the one that died first first."""
        return await self._connection.send(verbs.dead_letters(webhook_id))

    async def replay(self, webhook_id: str, after: str) -> None:
        """Tell again all that came after an entry of either stream, `0` for all that is kept."""
        await self._connection.send(verbs.replay(webhook_id, after))

    async def redo(self, webhook_id: str) -> int:
        """Deliver the dead letters again; how many there are."""
        return await self._connection.send(verbs.redo(webhook_id))
