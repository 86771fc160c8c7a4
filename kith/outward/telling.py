"""One webhook's deliveries, one after the other: find what is next, deliver it, note how that went.

    find ──▶ read as it stands ──▶ deliver ──▶ taken: go on
                  │                   ├──▶ not taken: the same again, later, until it is too old
                  └─ erased: go on    └──▶ refused, or too old: a dead letter, go on

The order of each stream is kept: nothing overtakes a delivery that failed. After each attempt the progress is written,
so that a worker that is killed leaves at most one delivery that will be made again: the one it did not hear the answer
of.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from kith.errors import KithError
from kith.jobs import now_ms
from kith.outward.errors import DeliveryRefused, ReceiverAway
from kith.outward.feed import Feed
from kith.outward.knobs import Webhooks as Knobs
from kith.outward.lease import Lease
from kith.outward.messages import Item, delivery, delivery_id, place
from kith.outward.pauses import pause_s
from kith.outward.posting import GONE, Post
from kith.outward.seals import Receiver
from kith.webhooks import DeadLetter, Noted, Progress, Source, Webhook, Webhooks

_log = logging.getLogger(__name__)

#: What is passed over without a word is written down after this, so that a restart does not read all of it again.
_NOTE_EVERY = 1000


class Attempt(StrEnum):
    """What became of an attempt to deliver. PUT_OFF: to be made again. BURIED: it was the last one."""

    DELIVERED = "delivered"
    PUT_OFF = "put_off"
    BURIED = "buried"


@dataclass(frozen=True, slots=True)
class Means:
    """What all webhooks are told with. feeds: the streams. reveal: webhook → where it goes; raises UnknownKey,
    SealBroken, KeysUnavailable. live_ms: how long an event may be acted on. clock: Unix milliseconds. attempted: told
    what became of each attempt."""

    store: Webhooks
    feeds: dict[Source, Feed]
    post: Post
    reveal: Callable[[Webhook], Receiver]
    knobs: Knobs
    lease: Lease
    live_ms: int
    clock: Callable[[], int] = now_ms
    attempted: Callable[[Attempt], None] = lambda _: None


class Teller:
    """Of one webhook. Used by one thread at a time."""

    def __init__(self, webhook: Webhook, progress: Progress, means: Means) -> None:
        self.webhook, self._means = webhook, means
        self.see(progress)

    def see(self, progress: Progress) -> None:
        """Go on from here: a replay was asked for, or another worker told meanwhile."""
        self.progress = progress
        #: How far was looked, ahead of what is written; of what was passed over.
        self._looked = {source: progress.at(source) for source in Source}
        self._passed = 0
        #: Dead letters that are to be delivered again, once they were looked up.
        self._letters: deque[DeadLetter] | None = None

    @property
    def next_ms(self) -> int:
        """Not before then."""
        return self.progress.next_ms

    def turn(self) -> bool:
        """One delivery at most; whether there may be more at once.

        Raises StateUnavailable, StateFull, KeysUnavailable, UnknownKey, SealBroken, InvalidWebhook.
        """
        if self.progress.redo_ms:
            return self._redo()
        item = self._head()
        if item is None:
            return False
        found = self._means.feeds[item.source].fetch(item.entry_id)
        if found is None or not self.webhook.wanted.takes(found.record):
            # Erased since, or the name that was asked for was taken out of it.
            return self._note(self._beyond(item))
        return self._deliver(found)

    def _head(self) -> Item | None:
        """What is to be delivered next."""
        if self.progress.head is not None:
            source, _, entry_id = self.progress.head.partition(":")
            found = self._means.feeds[Source(source)].fetch(entry_id)
            if found is not None:
                return found
            self._note(self._past(Source(source), entry_id))
        nearest: Item | None = None
        for source in Source:
            item = self._next(source) if self.webhook.wanted.reads(source) else None
            # Both streams are numbered by the clock of one server: the smaller number happened first.
            if item is not None and (nearest is None or place(item.entry_id) < place(nearest.entry_id)):
                nearest = item
        if nearest is None and self._passed >= _NOTE_EVERY:
            self._note(self._looked_at())
        return nearest

    def _next(self, source: Source) -> Item | None:
        while self._means.lease.held:
            page = self._means.feeds[source].after(self._looked[source])
            if not page:
                return None
            for item in page:
                if self.webhook.wanted.takes(item.record):
                    return item
                self._looked[source] = item.entry_id
                self._passed += 1
        return None

    def _deliver(self, item: Item) -> bool:
        if not self._means.lease.held:
            return False
        now = self._means.clock()
        try:
            status = self._send(item, now)
        except DeliveryRefused as refused:
            if refused.status == GONE:
                self._pause("the receiver says that it is gone (410)")
            return self._bury(item, refused, refused.status)
        except ReceiverAway as away:
            told_ms = max(item.told_ms, self.progress.since_ms)
            if self._means.clock() - told_ms >= self._means.knobs.give_up_s * 1000:
                return self._bury(item, away, away.status)
            return self._put_off(item, away)
        self._means.attempted(Attempt.DELIVERED)
        after = replace(self._beyond(item), delivered=self.progress.delivered + 1, last_ms=now, last_status=status)
        return self._note(after)

    def _send(self, item: Item, now: int) -> int:
        headers, body = delivery(self.webhook, item, item.late(now, self._means.live_ms))
        headers["Kith-Attempt"] = str(self.progress.attempts + 1)
        return self._means.post.send(self._means.reveal(self.webhook), headers, body)

    def _put_off(self, item: Item, away: ReceiverAway) -> bool:
        self._means.attempted(Attempt.PUT_OFF)
        knobs, attempts = self._means.knobs, self.progress.attempts + 1
        wait_s = pause_s(attempts, knobs.retry_s, knobs.retry_max_s)
        if away.after_s is not None:
            wait_s = min(max(wait_s, away.after_s), knobs.retry_max_s)
        now = self._means.clock()
        self._note(
            replace(
                self.progress,
                head=f"{item.source}:{item.entry_id}",
                attempts=attempts,
                next_ms=now + round(wait_s * 1000),
                last_ms=now,
                last_status=away.status,
                last_fault=str(away),
            )
        )
        return False

    def _bury(self, item: Item, fault: KithError, status: int | None) -> bool:
        self._means.attempted(Attempt.BURIED)
        now = self._means.clock()
        after = replace(
            self._beyond(item), dead=self.progress.dead + 1, last_ms=now, last_status=status, last_fault=str(fault)
        )
        letter = self._letter(item, fault, self.progress.attempts + 1)
        _log.warning("webhook %s: %s is given up: %s", self.webhook.name, letter.delivery, fault)
        return self._note(after, died=letter)

    def _letter(self, item: Item, fault: KithError, attempts: int) -> DeadLetter:
        name = delivery_id(self.webhook.webhook_id, item.source, item.entry_id)
        return DeadLetter(name, item.source, item.entry_id, self._means.clock(), attempts, str(fault))

    def _redo(self) -> bool:
        """Deliver one dead letter again; each is tried once."""
        if not self._means.lease.held:
            return False
        if self._letters is None:
            kept = self._means.store.dead(self.webhook.webhook_id)
            self._letters = deque(each for each in kept if each.died_ms <= self.progress.redo_ms)
        if not self._letters:
            left = len(self._means.store.dead(self.webhook.webhook_id))
            self._letters = None
            return self._note(replace(self.progress, redo_ms=0, dead=left))
        letter = self._letters.popleft()
        item = self._means.feeds[letter.source].fetch(letter.entry_id)
        now = self._means.clock()
        if item is None:
            return self._note(replace(self.progress, dead=self.progress.dead - 1), revived=letter.delivery)
        try:
            status = self._send(item, now)
        except (ReceiverAway, DeliveryRefused) as fault:
            self._means.attempted(Attempt.BURIED)
            # Past the time of asking, so that it is not tried again at once.
            later = max(self._means.clock(), self.progress.redo_ms + 1)
            died = replace(self._letter(item, fault, letter.attempts + 1), died_ms=later)
            return self._note(replace(self.progress, last_ms=now, last_fault=str(fault)), died=died)
        self._means.attempted(Attempt.DELIVERED)
        delivered, dead = self.progress.delivered + 1, self.progress.dead - 1
        after = replace(self.progress, delivered=delivered, dead=dead, last_ms=now, last_status=status)
        return self._note(after, revived=letter.delivery)

    def _pause(self, why: str) -> None:
        store, now = self._means.store, self._means.clock()
        self.webhook = store.change(self.webhook.webhook_id, lambda it: replace(it, paused_why=why, paused_ms=now))

    def _beyond(self, item: Item) -> Progress:
        return self._past(item.source, item.entry_id)

    def _past(self, source: Source, entry_id: str) -> Progress:
        self._looked[source] = entry_id
        return replace(self._looked_at(), head=None, attempts=0, next_ms=0, last_fault=None)

    def _looked_at(self) -> Progress:
        looked = self._looked
        return replace(self.progress, events=looked[Source.EVENTS], results=looked[Source.RESULTS])

    def _note(self, now: Progress, died: DeadLetter | None = None, revived: str | None = None) -> bool:
        now = replace(now, step=self.progress.step + 1)
        most = self._means.knobs.max_dead
        holder, webhook_id = self._means.lease.holder, self.webhook.webhook_id
        noted = self._means.store.note(
            holder, webhook_id, self.progress, now, died=died, revived=revived, most_dead=most
        )
        if noted is Noted.DONE:
            self.progress, self._passed = now, 0
            return True
        if noted is Noted.LOST:
            self._means.lease.drop()
        elif (current := self._means.store.progress().get(webhook_id)) is not None:
            self.see(current)
        return False
