"""Adding webhooks, trying them, pausing them and going back: what the command line and the HTTP door do for people.
Each change stands in the audit log."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from kith.audit import Action, AuditLog, Deed
from kith.errors import UnknownSubject
from kith.gallery import GalleryStore
from kith.jobs import now_ms
from kith.keys import KeyStore
from kith.outward.errors import InvalidWebhook
from kith.outward.messages import Stream, place, trial
from kith.outward.posting import Post, shown
from kith.outward.seals import Receiver, new_secret, opened, sealed
from kith.webhooks import Progress, Source, Wanted, Webhook, Webhooks, mark_of

#: Shorter ones can be guessed from one delivery.
_MIN_SECRET, _MAX_SECRET = 24, 200


class WebhookDesk:
    """by: who does it, in the audit log. Raises StateUnavailable, StateFull, KeysUnavailable."""

    def __init__(
        self,
        store: Webhooks,
        events: Stream,
        results: Stream,
        galleries: GalleryStore,
        keys: KeyStore,
        audit: AuditLog,
        post: Post,
        by: str,
    ) -> None:
        self.store, self._events, self._results, self._galleries = store, events, results, galleries
        self._keys, self._audit, self._post, self._by = keys, audit, post, by

    def add(self, name: str, url: str, wanted: Wanted, secret: str | None = None) -> tuple[Webhook, str]:
        """A webhook that is told what happens from now on, and its secret, which nothing can tell again.

        secret: one that the receiver has already. Raises InvalidWebhook, InvalidName.
        """
        self._post.check(url)
        if secret is not None and not (_MIN_SECRET <= len(secret) <= _MAX_SECRET and secret.isascii()):
            raise InvalidWebhook(f"the secret of a webhook is not {_MIN_SECRET}..{_MAX_SECRET} ASCII characters")
        webhook_id, secret = f"wh{secrets.token_hex(6)}", secret or new_secret()
        seal = sealed(Receiver(url, secret), webhook_id, self._keys)
        webhook = Webhook(webhook_id, name, shown(url), seal, wanted, now_ms(), self._by)
        start = Progress(events=self._events.position(), results=self._results.position())
        self.store.add(webhook, start, self._post.knobs.max_webhooks)
        self._record(webhook, "added")
        return webhook, secret

    def marks(self, names: Sequence[str], galleries: Sequence[str]) -> tuple[str, ...]:
        """People of these galleries as a filter keeps them. Raises UnknownGallery, and UnknownSubject for who is in
        none of them."""
        return tuple(mark for name in names for mark in self._marks(name, galleries))

    def _marks(self, name: str, galleries: Sequence[str]) -> list[str]:
        found, unknown = [], UnknownSubject(f"{name} is in none of {', '.join(galleries)}")
        for gallery in galleries:
            try:
                found.append(mark_of(self._galleries.show(gallery, name).subject_id))
            except UnknownSubject as absent:
                unknown = absent
        if not found:
            raise unknown
        return found

    def change(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        wanted: Callable[[Wanted], Wanted] | None = None,
    ) -> Webhook:
        """Another name, address (the secret stays the same) or filter, made of the one it has; what is None stays. Of a
        stream that it wanted nothing of before it is told from now on.

        Raises UnknownWebhook, InvalidWebhook, UnknownKey, SealBroken.
        """
        if url is not None:
            self._post.check(url)
        if wanted is not None:
            self._begin(webhook_id, wanted)

        def changed(it: Webhook) -> Webhook:
            if url is not None:
                secret = opened(it.sealed, webhook_id, self._keys).secret
                it = replace(it, shown=shown(url), sealed=sealed(Receiver(url, secret), webhook_id, self._keys))
            return replace(it, name=name or it.name, wanted=wanted(it.wanted) if wanted else it.wanted)

        webhook = self.store.change(webhook_id, changed)
        self._record(webhook, "changed")
        return webhook

    def _begin(self, webhook_id: str, wanted: Callable[[Wanted], Wanted]) -> None:
        # Before the filter: whoever delivers must not meet the new one with the old place, days back.
        before = self.store.get(webhook_id).wanted
        after = wanted(before)
        begun = [each for each in Source if after.reads(each) and not before.reads(each)]
        if Source.EVENTS in begun:
            events = self._events.position()
            self.store.replay(webhook_id, lambda seen: replace(seen, events=events))
        if Source.RESULTS in begun:
            results = self._results.position()
            self.store.replay(webhook_id, lambda seen: replace(seen, results=results))

    def remove(self, webhook_id: str) -> Webhook:
        """Tell it nothing more. Raises UnknownWebhook."""
        webhook = self.store.get(webhook_id)
        self.store.remove(webhook_id)
        self._record(webhook, "removed")
        return webhook

    def pause(self, webhook_id: str, why: str) -> Webhook:
        """Tell it nothing until it is resumed. Raises UnknownWebhook."""
        at_ms = now_ms()
        webhook = self.store.change(webhook_id, lambda it: replace(it, paused_why=why, paused_ms=at_ms))
        self._record(webhook, "paused")
        return webhook

    def resume(self, webhook_id: str) -> Webhook:
        """Go on where it was paused, at once, whatever failed before. Raises UnknownWebhook."""
        webhook = self.store.change(webhook_id, lambda it: replace(it, paused_why=None, paused_ms=0))
        at_ms = now_ms()
        self.store.replay(webhook_id, lambda seen: replace(seen, attempts=0, next_ms=0, since_ms=at_ms))
        self._record(webhook, "resumed")
        return webhook

    def test(self, webhook_id: str) -> int:
        """Deliver a trial from here, at once; the status of the answer. Raises UnknownWebhook, ReceiverAway,
        DeliveryRefused, UnknownKey, SealBroken."""
        webhook = self.store.get(webhook_id)
        self._record(webhook, "tested")
        headers, body = trial(webhook, now_ms())
        return self._post.send(opened(webhook.sealed, webhook_id, self._keys), headers, body)

    def replay(self, webhook_id: str, after: str) -> Webhook:
        """Tell again all that came after an entry (`milliseconds-number`), `0` for all that is kept.

        It may be an entry of either stream: both go back to that time. Raises UnknownWebhook.
        """
        webhook, at_ms = self.store.get(webhook_id), now_ms()

        def back(seen: Progress) -> Progress:
            # Never forward: that would leave out what was not told yet.
            events, results = (min(at, after, key=place) for at in (seen.events, seen.results))
            return replace(seen, events=events, results=results, head=None, attempts=0, next_ms=0, since_ms=at_ms)

        self.store.replay(webhook_id, back)
        self._record(webhook, "replayed")
        return webhook

    def redo(self, webhook_id: str) -> int:
        """Deliver the dead letters again; how many there are. Raises UnknownWebhook."""
        webhook, letters = self.store.get(webhook_id), self.store.dead(webhook_id)
        if letters:
            until_ms = max(now_ms(), letters[-1].died_ms)
            self.store.replay(webhook_id, lambda seen: replace(seen, redo_ms=until_ms))
            self._record(webhook, "dead letters again")
        return len(letters)

    def _record(self, webhook: Webhook, what: str) -> None:
        detail = {"webhook": webhook.webhook_id, "what": what, "to": webhook.shown[:200]}
        self._audit.record(Deed(self._by, Action.WEBHOOK_CHANGED, detail=detail))
