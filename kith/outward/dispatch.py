"""Whose turn it is: all webhooks share a few threads, one delivery of each at a time.

Who is slow holds up nobody else: webhooks whose receiver took long the last time, or has not been met yet, have half of
the threads at most. Those that wait for their next attempt have none.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from kith.errors import Rejected, Retryable
from kith.outward.telling import Means, Teller
from kith.webhooks import Source, Webhook

_log = logging.getLogger(__name__)

#: A turn that took this long was of a slow receiver.
_SLOW_S = 0.5
#: How often it is looked which webhooks there are, and whether a replay was asked for.
_LOOK_EVERY_S = 0.5
#: Pause of a webhook in trouble that is not its receiver's: the keys are away, or Redis is.
_REST_MS = 2_000


class _Desk:
    """A webhook with what is known of its turns."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.under_way = False
        self.slow = True
        #: Nothing is to be done until something new was told.
        self.idle = False
        self.rests_until_ms = 0


class Dispatcher:
    """`round` is called again and again by one thread; `news` by whoever saw that something was told."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._most = means.knobs.at_once
        self._pool = ThreadPoolExecutor(self._most, "webhook")
        self._desks: dict[str, _Desk] = {}
        self._order: list[str] = []
        # Entered again by a turn that is over before it was watched.
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._look_at_s = float("-inf")

    def reads(self, source: Source) -> bool:
        """Whether any webhook can want anything of a stream."""
        with self._lock:
            return any(desk.teller.webhook.wanted.reads(source) for desk in self._desks.values())

    def news(self) -> None:
        """Something was told."""
        with self._lock:
            for desk in self._desks.values():
                desk.idle = False
        self._wake.set()

    def round(self, wait_s: float = 0.25) -> None:
        """Give those their turn who have something to deliver; then wait for news, so long at most.

        Raises StateUnavailable.
        """
        if not self._means.lease.held:
            with self._lock:
                # What another has told meanwhile is looked up when this one leads again.
                self._desks = {name: desk for name, desk in self._desks.items() if desk.under_way}
                for desk in self._desks.values():
                    desk.idle = False
            self._look_at_s = float("-inf")
            time.sleep(wait_s)
            return
        if time.monotonic() >= self._look_at_s:
            self._look()
            self._look_at_s = time.monotonic() + _LOOK_EVERY_S
        self._wake.clear()
        wait_s = min(wait_s, self._begin_turns())
        self._wake.wait(wait_s)

    def close(self) -> None:
        """Begin nothing more; what is under way is over within `webhooks.timeout_s`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _look(self) -> None:
        webhooks, progress = self._means.store.all(), self._means.store.progress()
        with self._lock:
            there = {each.webhook_id: each for each in webhooks if each.webhook_id in progress}
            for gone in self._desks.keys() - there.keys():
                del self._desks[gone]
            for webhook_id, webhook in there.items():
                desk = self._desks.get(webhook_id)
                if desk is None:
                    self._desks[webhook_id] = _Desk(Teller(webhook, progress[webhook_id], self._means))
                elif not desk.under_way:
                    if desk.teller.webhook != webhook:
                        # What was passed by before it was wanted may be wanted now.
                        desk.teller.webhook, desk.idle = webhook, False
                    if desk.teller.progress.step < progress[webhook_id].step:
                        desk.teller.see(progress[webhook_id])
                        desk.idle = False
            # Those who had their turn last come last.
            self._order = [each for each in self._order if each in self._desks]
            self._order += [each for each in self._desks if each not in self._order]

    def _begin_turns(self) -> float:
        """Begin what can begin; seconds until something else can."""
        now_ms, wait_ms = self._means.clock(), 60_000
        with self._lock:
            under_way = [desk for desk in self._desks.values() if desk.under_way]
            free, free_slow = self._most - len(under_way), self._most // 2 - sum(desk.slow for desk in under_way)
            for webhook_id in list(self._order):
                desk = self._desks.get(webhook_id)
                if desk is None or desk.under_way or desk.idle or desk.teller.webhook.paused_why is not None:
                    continue
                due_ms = max(desk.teller.next_ms, desk.rests_until_ms)
                if due_ms > now_ms:
                    wait_ms = min(wait_ms, due_ms - now_ms)
                elif free > 0 and (free_slow > 0 or not desk.slow):
                    free, free_slow = free - 1, free_slow - desk.slow
                    self._begin(webhook_id, desk)
        return wait_ms / 1000

    def _begin(self, webhook_id: str, desk: _Desk) -> None:
        desk.under_way = True
        # Before it looks: what is told from here on makes it look again.
        desk.idle = True
        self._order.remove(webhook_id)
        self._order.append(webhook_id)
        self._pool.submit(self._turn, desk).add_done_callback(lambda done: self._over(desk, done))

    def _turn(self, desk: _Desk) -> bool:
        started_s, before_ms = time.monotonic(), desk.teller.progress.last_ms
        try:
            return desk.teller.turn()
        finally:
            # A turn without a delivery says nothing about the receiver.
            if desk.teller.progress.last_ms != before_ms:
                desk.slow = time.monotonic() - started_s > _SLOW_S

    def _over(self, desk: _Desk, done: "Future[bool]") -> None:
        again, rests_until_ms = False, 0
        fault = None if done.cancelled() else done.exception()
        if done.cancelled():
            pass
        elif fault is None:
            # Who waits for the next attempt is not idle: its time comes.
            again = done.result() or desk.teller.next_ms > 0
        else:
            again, rests_until_ms = True, self._means.clock() + _REST_MS
            self._explain(desk.teller.webhook, fault)
        with self._lock:
            desk.under_way, desk.rests_until_ms = False, rests_until_ms
            desk.idle = desk.idle and not again
        self._wake.set()

    def _explain(self, webhook: Webhook, fault: BaseException) -> None:
        if isinstance(fault, Retryable):
            _log.warning("webhook %s waits: %s", webhook.name, fault)
        elif isinstance(fault, Rejected):
            _log.error("webhook %s is paused: %s", webhook.name, fault)
            self._pause(webhook, fault)
        else:
            # One webhook's record must not keep the others from theirs.
            _log.error("webhook %s led to something nobody foresaw", webhook.name, exc_info=fault)

    def _pause(self, webhook: Webhook, fault: Rejected) -> None:
        now_ms = self._means.clock()
        try:
            self._means.store.change(
                webhook.webhook_id, lambda it: replace(it, paused_why=fault.reason, paused_ms=now_ms)
            )
        except (Retryable, Rejected) as failed:
            _log.warning("webhook %s could not be paused: %s", webhook.name, failed)
