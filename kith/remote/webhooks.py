"""Webhooks, over HTTP: who is told what happens, how that goes, and what could not be delivered."""

from collections.abc import Sequence

from kith.remote import webhook_verbs as verbs
from kith.remote.connection import Connection
from kith.remote.webhook_verbs import Trial, WebhookInfo
from kith.webhooks import DeadLetter


class Webhooks:
    """Made by `Client.webhooks`; the key needs the scope admin, for all galleries. Raises UnknownWebhook, and
    InvalidWebhook for an address or filter that no webhook may have."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> list[WebhookInfo]:
        """All of them, oldest first."""
        return self._connection.send(verbs.webhooks())

    def get(self, webhook_id: str) -> WebhookInfo:
        """One, and how far it has been told."""
        return self._connection.send(verbs.webhook(webhook_id))

    def add(
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
        return self._connection.send(verbs.add(name, url, kinds, galleries, cameras, subjects, secret))

    def change(
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
        return self._connection.send(verbs.change(webhook_id, name, url, kinds, galleries, cameras, subjects))

    def remove(self, webhook_id: str) -> None:
        """Tell it nothing more; its dead letters go with it."""
        self._connection.send(verbs.remove(webhook_id))

    def pause(self, webhook_id: str, why: str = "paused over HTTP") -> WebhookInfo:
        """Tell it nothing; what happens meanwhile is told when it is resumed, as long as it is kept."""
        return self._connection.send(verbs.pause(webhook_id, why))

    def resume(self, webhook_id: str) -> WebhookInfo:
        """Go on where it was paused, or try again at once what failed."""
        return self._connection.send(verbs.resume(webhook_id))

    def test(self, webhook_id: str) -> Trial:
        """Have a trial delivered, and hear what the receiver answered."""
        return self._connection.send(verbs.try_out(webhook_id))

    def dead_letters(self, webhook_id: str) -> list[DeadLetter]:
        """What it could not be told, the one that died first first."""
        return self._connection.send(verbs.dead_letters(webhook_id))

    def replay(self, webhook_id: str, after: str) -> None:
        """Tell again all that came after an entry of either stream, `0` for all that is kept."""
        self._connection.send(verbs.replay(webhook_id, after))

    def redo(self, webhook_id: str) -> int:
        """Deliver the dead letters again; how many there are."""
        return self._connection.send(verbs.redo(webhook_id))
